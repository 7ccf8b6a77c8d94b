"""Reconstruye data/training.csv desde las lecturas de Seattle (NOAA) que trae vega_datasets 0.9.0.

Escribe dos filas por día, de 2012 a 2015: la máxima y la mínima. La estación anota grados
Fahrenheit enteros, así que `fahrenheit` es `celsius * 1.8 + 32` redondeado: el residuo que ve el
modelo es el redondeo de un instrumento de verdad.

    pip install vega_datasets==0.9.0
    python tools/training_data.py --output data/training.csv
"""

import argparse
import csv
from importlib.resources import files
from pathlib import Path


def readings(rows):
    """Pasa de un registro por día a pares (celsius, fahrenheit), la máxima primero."""
    for row in rows:
        for celsius in (row["temp_max"], row["temp_min"]):
            yield celsius, round(float(celsius) * 1.8 + 32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("data/training.csv"))
    args = parser.parse_args()
    source = files("vega_datasets").joinpath("_data/seattle-weather.csv")
    with source.open(encoding="utf-8", newline="") as lines:
        table = list(readings(csv.DictReader(lines)))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["celsius", "fahrenheit"])
        writer.writerows(table)


if __name__ == "__main__":
    main()
