"""Dibuja en docs/img las imágenes del README, con lo que ha dejado `dvc repro`.

Lee dvc.lock, metrics/NAME.csv y evaluations/NAME.png, y escribe:
    pipeline.png                las stages y los ficheros que pasan de una a otra
    perdida.png                 las curvas de pérdida de todas las ejecuciones, juntas
    evaluacion-NAME.png         la evaluación de dos ejecuciones, tal como la dibujó eval.py
    donde-esta-cada-cosa.png    carpeta, caché, remote y Git, después de cada orden

    python tools/pictures.py
"""

import argparse
import shutil
from pathlib import Path

import pandas as pd
import yaml
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

STAGE, DATA = "#dbeafe", "#fef3c7"
COLUMNS = ("data", "prepare", "partitions", "train", "models", "evaluate", "evaluations")


def new_axes(width, height, xlim, ylim):
    """Una figura sin ejes a la vista. Devuelve `(Figure, Axes)`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=xlim, ylim=ylim)
    axes.set_axis_off()
    return figure, axes


def box(axes, x, y, text, color, width, height):
    shape = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="round,pad=0.02,rounding_size=0.08",
        facecolor=color,
        edgecolor="#475569",
    )
    axes.add_patch(shape)
    axes.text(x, y, text, ha="center", va="center", fontsize=9)


def arrow(axes, start, end, color="#475569"):
    style = {"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def draw_pipeline(stages):
    """Las stages en azul y sus ficheros en amarillo, de izquierda a derecha.

    Args:
        stages: el `dict` «stages» de dvc.lock.
    """
    runs = [name.split("@")[1] for name in stages if name.startswith("train@")]
    rows = {run: -1.6 * number for number, run in enumerate(runs)}
    middle = sum(rows.values()) / len(rows)
    x = dict(zip(COLUMNS, (0, 2.1, 4.2, 6.5, 8.6, 10.8, 13.0), strict=True))
    figure, axes = new_axes(12, 4.6, (-0.9, 14.0), (min(rows.values()) - 0.8, 1.1))

    def files(stage, kind, folder):
        paths = [Path(entry["path"]) for entry in stages[stage].get(kind, [])]
        return "\n".join(path.name for path in paths if path.parts[0] == folder)

    def put(column, y, text, color, height):
        box(axes, x[column], y, text, color, 1.7, height)

    def link(left, left_y, right, right_y):
        arrow(axes, (x[left] + 0.87, left_y), (x[right] - 0.87, right_y))

    put("data", middle, "data/\n" + files("prepare", "deps", "data"), DATA, 0.7)
    put("prepare", middle, "prepare", STAGE, 0.6)
    put("partitions", middle, "partitions/\n" + files("prepare", "outs", "partitions"), DATA, 1.1)
    link("data", middle, "prepare", middle)
    link("prepare", middle, "partitions", middle)
    for run, y in rows.items():
        put("train", y, f"train@{run}", STAGE, 0.6)
        train = f"train@{run}"
        put("models", y, "models/\n" + files(train, "outs", "models"), DATA, 0.7)
        put("evaluate", y, f"evaluate@{run}", STAGE, 0.6)
        outs = files(f"evaluate@{run}", "outs", "evaluations")
        put("evaluations", y, "evaluations/\n" + outs, DATA, 1.2)
        link("partitions", middle, "train", y)
        link("train", y, "models", y)
        link("models", y, "evaluate", y)
        link("evaluate", y, "evaluations", y)
    axes.text(
        x["train"],
        min(rows.values()) - 0.68,
        "Cada train@… escribe además metrics/…: .json, .csv y .png. "
        "Cada evaluate@… lee también las particiones.",
        ha="center",
        fontsize=9,
    )
    axes.text(x["data"] - 0.8, 0.75, "azul: una stage, con su orden", fontsize=9)
    axes.text(x["data"] - 0.8, 0.45, "amarillo: los ficheros que lee y escribe", fontsize=9)
    return figure


def draw_losses(tables):
    """La pérdida de validación por época de cada ejecución. `tables`: nombre a `DataFrame`."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, table in tables.items():
        axes.plot(table["epoch"], table["validation_loss"], label=name)
    axes.set_yscale("log")
    axes.set(
        title="Pérdida de validación por época",
        xlabel="época",
        ylabel="error cuadrático medio (datos tipificados)",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


PLACES = ("Git (.git)", "tu carpeta", "caché (.dvc/cache)", "remote")
GIT, FOLDER, CACHE, REMOTE = range(4)
COLORS = {"código": "#e2e8f0", "data.dvc": "#fdba74", "datos": "#93c5fd"}

# Orden, de dónde a dónde mueve algo, y qué hay al acabar en cada sitio. «2» es la segunda versión.
STORY = [
    ("(al empezar)", [], ["", "código, datos", "", ""]),
    ("dvc add data", [(FOLDER, CACHE)], ["", "código, data.dvc, datos", "datos", ""]),
    (
        "git add y git commit",
        [(FOLDER, GIT)],
        ["código, data.dvc", "código, data.dvc, datos", "datos", ""],
    ),
    (
        "dvc push",
        [(CACHE, REMOTE)],
        ["código, data.dvc", "código, data.dvc, datos", "datos", "datos"],
    ),
    (
        "cambias los datos,\ndvc add, git commit,\ndvc push",
        [(FOLDER, GIT), (FOLDER, CACHE), (CACHE, REMOTE)],
        [
            "código, data.dvc, data.dvc 2",
            "código, data.dvc 2, datos 2",
            "datos, datos 2",
            "datos, datos 2",
        ],
    ),
    (
        "git checkout …\n(el commit de antes)",
        [(GIT, FOLDER)],
        [
            "código, data.dvc, data.dvc 2",
            "código, data.dvc, datos 2",
            "datos, datos 2",
            "datos, datos 2",
        ],
    ),
    (
        "dvc checkout",
        [(CACHE, FOLDER)],
        [
            "código, data.dvc, data.dvc 2",
            "código, data.dvc, datos",
            "datos, datos 2",
            "datos, datos 2",
        ],
    ),
    None,  # aquí cambia de ordenador
    (
        "git clone",
        [(GIT, FOLDER)],
        ["código, data.dvc, data.dvc 2", "código, data.dvc 2", "", "datos, datos 2"],
    ),
    (
        "dvc pull",
        [(REMOTE, CACHE), (CACHE, FOLDER)],
        [
            "código, data.dvc, data.dvc 2",
            "código, data.dvc 2, datos 2",
            "datos 2",
            "datos, datos 2",
        ],
    ),
]


def draw_places():
    """Qué hay en Git, en la carpeta, en la caché y en el remote, una fila por orden."""
    step = 1.25
    xs = [4.6 + 3.6 * place for place in range(4)]
    bottom = -step * len(STORY) + 0.5
    figure, axes = new_axes(12, 9, (-0.2, 17.4), (bottom, 1.1))
    for x, title in zip(xs, PLACES, strict=True):
        axes.text(x, 0.72, title, ha="center", va="center", fontsize=11, fontweight="bold")
        axes.plot([x - 1.75] * 2, [0.5, bottom], color="#e2e8f0", zorder=0)
    for row, entry in enumerate(STORY):
        y = -step * row
        axes.plot([-0.1, 17.2], [y - step / 2] * 2, color="#e2e8f0", zorder=0)
        if entry is None:
            text = (
                "en otro ordenador, u otra persona, con la misma dirección de Git y el mismo remote"
            )
            axes.text(8.5, y, text, ha="center", va="center", fontsize=10.5, style="italic")
            continue
        command, moves, contents = entry
        axes.text(0, y, command, va="center", fontsize=10, family="monospace")
        for x, content in zip(xs, contents, strict=True):
            items = content.split(", ") if content else []
            for number, item in enumerate(items):
                height = 0.3
                item_y = y + 0.34 * ((len(items) - 1) / 2 - number)
                color = COLORS[item.removesuffix(" 2")]
                box(axes, x, item_y, item, color, 1.5, height - 0.06)
        for start, end in moves:
            side = 1 if end > start else -1
            arrow(axes, (xs[start] + 0.9 * side, y), (xs[end] - 0.9 * side, y), "#dc2626")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/img"), help="carpeta de salida")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)

    stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    runs = [name.split("@")[1] for name in stages if name.startswith("train@")]
    losses = {name: pd.read_csv(f"metrics/{name}.csv") for name in runs}
    for name, figure in {
        "pipeline": draw_pipeline(stages),
        "perdida": draw_losses(losses),
        "donde-esta-cada-cosa": draw_places(),
    }.items():
        # Sin la versión de matplotlib en los metadatos, la imagen solo cambia si cambia algo.
        figure.savefig(output / f"{name}.png", dpi=100, metadata={"Software": None})
    for name in (runs[0], runs[-1]):  # la que no llega y la que mejor acaba
        shutil.copyfile(f"evaluations/{name}.png", output / f"evaluacion-{name}.png")


if __name__ == "__main__":
    main()
