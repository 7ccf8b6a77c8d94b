"""Evalúa un modelo con la partición de validación, en las unidades de verdad.

Lee las particiones y models/NAME.pt, y escribe:
    evaluations/NAME.json   mae, rmse, r2, y la recta aprendida: slope e intercept
    evaluations/NAME.csv    cada fila de validación con su predicción
    evaluations/NAME.png    las etiquetas en azul y las predicciones en rojo

    python eval.py
    python eval.py --name rapido
"""

import checks  # el primero, para que Ctrl-C responda mientras se carga lo demás

# isort: split
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure  # sin pyplot, que tarda el doble y aquí no hay ventanas

from model import LinearRegression

MAX_POINTS = 2000  # los que se dibujan: con más, la gráfica tarda y no se ve nada nuevo


def load_model(path, in_features):
    """Carga los pesos que guardó train.py. Devuelve un `LinearRegression` de una salida.

    Raises:
        checks.InputError: si el fichero falta, está dañado o es de un modelo con otras entradas.
    """
    model = LinearRegression(in_features, out_features=1)
    again = "Ejecuta otra vez train.py (o «dvc repro»)."
    try:
        state = torch.load(path, weights_only=True)  # sin weights_only, abrirlo ejecutaría código
        model.load_state_dict(state)
    except OSError as error:
        raise checks.InputError(f"{checks.os_error(error)} {again}") from None
    except Exception:  # según dónde esté el daño, torch.load lanza una cosa u otra
        raise checks.InputError(
            f"{path} está dañado, o no es una regresión lineal de tantas entradas como columnas "
            f"hay en las particiones ({in_features}). {again}"
        ) from None
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        raise checks.InputError(f"{path} tiene pesos que no son números finitos. {again}")
    return model


def evaluate(labels, predictions):
    """Mide el error. Se escribe aquí porque importar sklearn.metrics tarda más que evaluar.

    Args:
        labels, predictions: vectores de forma (filas,), en las unidades del objetivo.

    Returns:
        `dict` con `mae` y `rmse`, en esas unidades, y `r2`, que no tiene; es `None` si todas las
        etiquetas son iguales, porque entonces no está definido.
    """
    errors = predictions - labels
    squares = float(np.sum(errors**2))
    total = float(np.sum((labels - labels.mean()) ** 2))
    return {
        "mae": float(np.mean(np.abs(errors))),
        "rmse": (squares / len(errors)) ** 0.5,
        "r2": 1 - squares / total if total > 0 else None,
    }


def to_line(model, means, scales):
    """Pasa los pesos, que son de datos tipificados, a la recta en las unidades de verdad.

    Args:
        model: `LinearRegression` de una salida.
        means, scales: vectores de forma (features + 1,); el objetivo, el último.

    Returns:
        `(slope, intercept)`: vector de forma (features,) y número.
    """
    weight = model.linear.weight.detach().double().numpy()[0]
    bias = model.linear.bias.item()
    slope = weight * scales[-1] / scales[:-1]
    return slope, float(means[-1] + scales[-1] * bias - slope @ means[:-1])


def equation(slope, intercept, names):
    """La recta, como «fahrenheit = 1.8000 · celsius + 32.00». El objetivo es el último nombre."""
    terms = [f"{value:.4f} · {name}" for value, name in zip(slope, names[:-1], strict=True)]
    return f"{names[-1]} = {' + '.join([*terms, f'{intercept:.2f}'])}".replace("+ -", "− ")


def plot_predictions(x, labels, predictions, axis_names, lines):
    """Dibuja etiquetas y predicciones frente a la primera columna. Devuelve la `Figure`.

    Args:
        x, labels, predictions: vectores de forma (filas,), en sus unidades.
        axis_names: textos; el primero es el del eje x y el último, el del eje y.
        lines: líneas del título.
    """
    shown = np.linspace(0, len(x) - 1, min(len(x), MAX_POINTS)).astype(int)
    note = "" if len(shown) == len(x) else f" ({len(shown)} de {len(x)})"
    figure = Figure(figsize=(6.4, 4.8))
    axes = figure.add_axes((0.13, 0.11, 0.84, 0.74))
    axes.plot(x[shown], labels[shown], "o", color="blue", markersize=5, label=f"etiquetas{note}")
    axes.plot(x[shown], predictions[shown], ".", color="red", markersize=3, label="predicciones")
    axes.set_title("\n".join(lines), fontsize=10)
    axes.set(xlabel=axis_names[0], ylabel=axis_names[-1])
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def parse_args():
    parser = checks.Parser(__doc__)
    parser.add_argument("--name", type=checks.run_name, default="rapido", help="ejecución")
    parser.add_argument("--partitions", type=Path, default=Path("partitions"), help="carpeta")
    parser.add_argument("--models", type=Path, default=Path("models"), help="carpeta")
    parser.add_argument("--evaluations", type=Path, default=Path("evaluations"), help="carpeta")
    return parser.parse_args()


def main():
    args = parse_args()
    metadata = checks.read_metadata(args.partitions)
    features, target = checks.read_partition(args.partitions, "validation", metadata)
    names = [*metadata["features"], metadata["target"]]
    columns = [metadata["columns"][name] for name in names]
    means, scales = (np.array([column[key] for column in columns]) for key in ("mean", "scale"))

    model = load_model(args.models / f"{args.name}.pt", len(metadata["features"]))
    with torch.no_grad():
        outputs = model(torch.tensor(features, dtype=torch.float32)).double().numpy()
    features = features * scales[:-1] + means[:-1]
    labels = target[:, 0] * scales[-1] + means[-1]
    predictions = outputs[:, 0] * scales[-1] + means[-1]
    slope, intercept = to_line(model, means, scales)
    metrics = evaluate(labels, predictions)
    metrics |= {"intercept": intercept, "slope": dict(zip(names[:-1], slope.tolist(), strict=True))}

    lines = [f"Evaluación de «{args.name}»", f"aprendida: {equation(slope, intercept, names)}"]
    if names == ["celsius", "fahrenheit"]:
        lines.append(f"verdadera: {equation([1.8], 32, names)}")
    axis_names = [f"{n} ({c['unit'] or 'sin unidad'})" for n, c in zip(names, columns, strict=True)]
    figure = plot_predictions(features[:, 0], labels, predictions, axis_names, lines)

    outputs = [args.evaluations / f"{args.name}.{suffix}" for suffix in ("json", "csv", "png")]
    with checks.whole_files(*outputs) as (json_path, csv_path, png_path):
        checks.write_metrics(json_path, metrics)
        values = np.round([*features.T, labels, predictions], 6)
        table = dict(zip([*names, "prediction"], values, strict=True))
        checks.write_csv(csv_path, table)
        figure.savefig(png_path, format="png")
    print(f"{args.name}: {equation(slope, intercept, names)}; error medio, {metrics['mae']:.4g}.")


if __name__ == "__main__":
    checks.run(main)
