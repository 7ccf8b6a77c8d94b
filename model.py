"""El modelo: una regresión lineal, y = w · x + b.

Lo importan train.py, que aprende los pesos, y eval.py, que los usa.
"""

from torch import nn


class LinearRegression(nn.Module):
    """Capa lineal de `in_features` entradas y `out_features` salidas.

    `forward` recibe un tensor de forma (filas, in_features) y devuelve (filas, out_features).
    """

    def __init__(self, in_features, out_features):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, x):
        return self.linear(x)
