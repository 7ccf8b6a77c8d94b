"""Mide cuánto tarda el taller y lo compara, en la misma tanda, con lo de siempre.

    make bench
    python benchmarks/bench.py --repeats 5 --rows 10000 100000 1000000 10000000

Escribe docs/rendimiento.md y docs/img/rendimiento.png. Los tiempos cambian de un ordenador a otro
y de un minuto a otro: lo que vale son las razones, así que las dos partes se miden por turnos.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.csv
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
IMPORT_TORCH = [PYTHON, "-c", "import torch"]
IMPORT_SKLEARN = [PYTHON, "-c", "import pandas, sklearn.preprocessing"]
USUAL = ROOT / "benchmarks" / "usual.py"


def measure(command, folder):
    """Ejecuta `command` en `folder`. Devuelve `(segundos, MB)`: el tiempo y el pico de memoria."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], cwd=folder, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"Error: ha fallado {command}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS da bytes y Linux, KiB
    return seconds, usage.ru_maxrss / unit


def in_turns(repeats, **sides):
    """Llama a cada función por turnos. Devuelve `dict` de nombre a lista de lo que devuelven."""
    results = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            results[name].append(side())
    return results


def script(name, *options):
    return [PYTHON, ROOT / f"{name}.py", *options]


def start_up(folder, repeats):
    """Cada script con los datos del taller, contra importar lo que nadie se ahorra."""
    commands = {
        "train": script("train"),
        "eval": script("eval"),
        "prepare_data": script("prepare_data"),
        "torch": IMPORT_TORCH,
        "sklearn": IMPORT_SKLEARN,
    }
    measure(commands["prepare_data"], folder)  # y la primera vez no cuenta: llena la caché de disco
    measure(commands["train"], folder)
    measure(commands["eval"], folder)
    sides = {
        name: lambda command=command: measure(command, folder)[0]
        for name, command in commands.items()
    }
    times = in_turns(repeats, **sides)
    return [
        ("train.py / import torch", times["train"], times["torch"], 1.6),
        ("eval.py / import torch", times["eval"], times["torch"], 1.6),
        ("prepare_data.py / import pandas, sklearn", times["prepare_data"], times["sklearn"], 1.3),
    ]


def repro(folder, repeats):
    """`dvc repro` desde cero contra sus mismas órdenes a mano, una detrás de otra."""
    dvc = Path(PYTHON).with_name("dvc")
    lock = (folder / "dvc.lock").read_text(encoding="utf-8")
    listing = subprocess.run(
        [PYTHON, "-c", "import sys, yaml, json; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"],
        input=lock,
        capture_output=True,
        check=True,
        text=True,
    )
    stages = json.loads(listing.stdout)["stages"]
    order = sorted(
        stages, key=lambda name: ("prepare", "train", "evaluate").index(name.split("@")[0])
    )
    commands = [[PYTHON, *stages[name]["cmd"].split()[1:]] for name in order]

    def clean():
        for name in ("partitions", "models", "metrics", "evaluations"):
            for path in (folder / name).glob("[!.]*"):
                path.unlink()

    def by_dvc():
        clean()
        shutil.rmtree(folder / ".dvc" / "cache" / "runs", ignore_errors=True)
        (folder / "dvc.lock").unlink()
        return measure([dvc, "repro", "--quiet"], folder)[0]

    def by_hand():
        clean()
        return sum(measure(command, folder)[0] for command in commands)

    times = in_turns(repeats, dvc=by_dvc, hand=by_hand)
    return [("dvc repro / sus órdenes a mano", times["dvc"], times["hand"], 1.15)]


def least_squares(folder):
    """La recta de mínimos cuadrados, en float64 y en °F, de la partición de entrenamiento."""
    metadata = json.loads((folder / "partitions" / "metadata.json").read_text(encoding="utf-8"))
    table = pyarrow.csv.read_csv(folder / "partitions" / "train.csv")
    x, y = (
        table[name].to_numpy() * metadata["columns"][name]["scale"]
        + metadata["columns"][name]["mean"]
        for name in ("celsius", "fahrenheit")
    )
    dx = x - x.mean()
    slope = dx @ (y - y.mean()) / (dx @ dx)
    return slope, y.mean() - slope * x.mean()


def size(rows, folder, repeats):
    """Los tres scripts contra el de siempre, con `rows` filas. Devuelve un `dict`."""
    data = folder / f"{rows}.csv"
    maker = ROOT / "benchmarks" / "make_data.py"
    measure([PYTHON, maker, "--rows", rows, "--output", data], folder)
    steps = [
        script("prepare_data", "--input", data),
        script("train", "--epochs", "100"),
        script("eval"),
    ]

    def ours():
        return [measure(step, folder) for step in steps]

    def usual():
        return [measure([PYTHON, USUAL, "--input", data, "--output", "usual"], folder)]

    runs = in_turns(repeats, ours=ours, usual=usual)
    slope, intercept = least_squares(folder)
    learned = json.loads((folder / "evaluations" / "rapido.json").read_text(encoding="utf-8"))
    data.unlink()
    error = max(abs(learned["slope"]["celsius"] - slope), abs(learned["intercept"] - intercept))
    return {
        "rows": rows,
        **{side: [sum(seconds for seconds, _ in run) for run in runs[side]] for side in runs},
        "memory": max(megabytes for run in runs["ours"] for _, megabytes in run),
        "error": error,
    }


def spread(values):
    """Mediana y, entre paréntesis, el menor y el mayor."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} a {max(values):.2f})"


def page(ratios, sizes):
    """El texto de docs/rendimiento.md."""
    lines = [
        "# Cuánto tarda",
        "",
        f"Esta página la escribe `make bench`. Medido el {datetime.date.today():%Y-%m-%d}, "
        f"con {os.cpu_count()} núcleos, sin GPU y con Python {sys.version.split()[0]}.",
        "",
        "En clase se nota el arranque, que `dvc repro` paga siete veces. Cada razón es la "
        "de dos órdenes medidas por turnos: la mediana y, entre paréntesis, la menor y la mayor.",
        "",
        "| razón | medida | tope |",
        "| --- | --- | --- |",
    ]
    for name, ours, theirs, limit in ratios:
        each = [a / b for a, b in zip(ours, theirs, strict=True)]
        lines.append(f"| {name} | {spread(each)} | {limit:.2f} |")
    lines += [
        "",
        "Con ficheros grandes se comparan `prepare_data.py`, `train.py --epochs 100` y `eval.py`, "
        "uno detrás de otro, con el script de siempre (`benchmarks/usual.py`: pandas y "
        "scikit-learn en un solo proceso). La última columna es lo que se separan la pendiente y "
        "la ordenada de las de mínimos cuadrados en float64, sobre la misma partición.",
        "",
        "| filas | los tres scripts (s) | el de siempre (s) | razón | memoria (MB) | error |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in sizes:
        each = [a / b for a, b in zip(case["ours"], case["usual"], strict=True)]
        lines.append(
            f"| {case['rows']:,} | {spread(case['ours'])} | {spread(case['usual'])} "
            f"| {spread(each)} | {case['memory']:.0f} | {case['error']:.0e} |".replace(",", " ")
        )
    lines += ["", "![Tiempo según las filas, con ejes logarítmicos](img/rendimiento.png)", ""]
    return "\n".join(lines)


def plot(sizes):
    """Tiempo contra filas, con los dos ejes logarítmicos. Devuelve la `Figure`."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    rows = [case["rows"] for case in sizes]
    for side, label, color in (
        ("usual", "el script de siempre", "gray"),
        ("ours", "los tres del taller", "blue"),
    ):
        axes.loglog(
            rows, [statistics.median(case[side]) for case in sizes], "o-", label=label, color=color
        )
    axes.set(title="Preparar, entrenar y evaluar", xlabel="filas", ylabel="segundos")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="veces que se mide cada cosa")
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "rendimiento.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "taller"
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        subprocess.run([Path(PYTHON).with_name("dvc"), "pull", "--quiet"], cwd=folder, check=True)
        ratios = start_up(folder, args.repeats) + repro(folder, args.repeats)
        sizes = [size(rows, folder, args.repeats) for rows in args.rows]
    text = page(ratios, sizes)
    print(text)
    picture = args.output.parent / "img" / "rendimiento.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text, encoding="utf-8", newline="\n")
    plot(sizes).savefig(picture)


if __name__ == "__main__":
    main()
