"""Entrena una regresión lineal con descenso de gradiente.

Lee las particiones que escribe prepare_data.py y escribe:
    models/single.pt      los pesos
    metrics/single.json   la pérdida final, con las épocas y la tasa de aprendizaje
    metrics/single.csv    la pérdida de cada época
    metrics/single.png    la curva de pérdida

    python train_single.py
"""

import checks  # el primero, para que Ctrl-C responda mientras se carga lo demás

# isort: split
import io
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure  # sin pyplot, que tarda el doble y aquí no hay ventanas
from torch.nn.functional import mse_loss
from tqdm import tqdm

from model import LinearRegression

BATCH = 2**18  # filas por lote: caben en la caché del procesador, y así va el doble de deprisa
torch.set_num_threads(1)  # con lotes así, más hilos no ganan nada y se estorban unos a otros
NAME = "single"  # ejecución
EPOCHS = 100  # épocas
LR = 0.1  # tasa de aprendizaje
SEED = 42  # semilla de los pesos
PARTITIONS = Path("partitions")
MODELS = Path("models")
METRICS = Path("metrics")


def batch_losses(model, features, target):
    """Da lo que pone cada lote de filas en el error cuadrático medio: sumados, son la pérdida."""
    for x, y in zip(features.split(BATCH), target.split(BATCH), strict=True):
        yield mse_loss(model(x), y, reduction="sum") / len(target)


def train(model, train_set, validation_set, epochs, lr):
    """Ajusta `model` con descenso de gradiente: un paso por época, con todas las filas.

    Args:
        model: `LinearRegression`; se modifica.
        train_set, validation_set: pares (features, target) de tensores float32 tipificados, de
            forma (filas, columnas) y (filas, 1).
        epochs: número de pasos.
        lr: tasa de aprendizaje.

    Returns:
        Lista de pares (train_loss, validation_loss), uno por época: error cuadrático medio de los
        datos tipificados, sin unidades. El de entrenamiento es el de antes de dar el paso.

    Raises:
        checks.InputError: si la pérdida deja de ser un número finito.
    """
    history = []
    for epoch in tqdm(range(1, epochs + 1), desc="Entrenando", disable=None, delay=1, leave=False):
        model.zero_grad()
        train_loss = 0.0
        for loss in batch_losses(model, *train_set):
            loss.backward()  # suma al gradiente lo que pone este lote
            train_loss += loss.item()
        with torch.no_grad():
            # Es el paso de torch.optim.SGD. Escrito así no se carga torch.optim, que tarda más
            # que todo el entrenamiento.
            for parameter in model.parameters():
                parameter -= lr * parameter.grad
            validation_loss = sum(loss.item() for loss in batch_losses(model, *validation_set))
        history.append((train_loss, validation_loss))
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            raise checks.InputError(
                f"la pérdida ya no es un número en la época {epoch}: el entrenamiento diverge. "
                f"Prueba con una tasa de aprendizaje (LR) menor que {lr:g}."
            )
    return history


def plot_loss(history, title):
    """Dibuja la curva de pérdida. Devuelve la `Figure`."""
    figure = Figure(figsize=(6.4, 4.8))
    axes = figure.add_axes((0.13, 0.11, 0.84, 0.8))
    steps = range(1, len(history) + 1)
    axes.plot(steps, [loss for loss, _ in history], label="entrenamiento", color="tab:blue")
    axes.plot(steps, [loss for _, loss in history], "--", label="validación", color="tab:orange")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set(title=title, xlabel="época", ylabel="error cuadrático medio (datos tipificados)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main():
    metadata = checks.read_metadata(PARTITIONS)
    train_set, validation_set = (
        [torch.from_numpy(array) for array in partition]
        for partition in checks.read_partitions(PARTITIONS, metadata, np.float32)
    )

    torch.manual_seed(SEED)
    model = LinearRegression(in_features=len(metadata["features"]), out_features=1)
    history = train(model, train_set, validation_set, EPOCHS, LR)
    train_loss, validation_loss = history[-1]
    weights = io.BytesIO()  # con una ruta, torch.save guardaría dentro el nombre provisional
    torch.save(model.state_dict(), weights)
    title = f"Pérdida de «{NAME}» ({EPOCHS} épocas, lr {LR:g})"

    with checks.whole_files(
        MODELS / f"{NAME}.pt",
        METRICS / f"{NAME}.json",
        METRICS / f"{NAME}.csv",
        METRICS / f"{NAME}.png",
    ) as (model_path, json_path, csv_path, png_path):
        model_path.write_bytes(weights.getvalue())
        metrics = {"epochs": EPOCHS, "lr": LR}
        metrics |= {"train_loss": train_loss, "validation_loss": validation_loss}
        checks.write_metrics(json_path, metrics)
        losses = np.array(history, dtype=np.float32)
        epoch = np.arange(1, EPOCHS + 1)
        table = {"epoch": epoch, "train_loss": losses[:, 0], "validation_loss": losses[:, 1]}
        checks.write_csv(csv_path, table)
        plot_loss(history, title).savefig(png_path, format="png")
    print(f"{NAME}: pérdida {train_loss:.6g} al entrenar, {validation_loss:.6g} al validar.")


if __name__ == "__main__":
    checks.run(main)
