"""Inventa un CSV como data/training.csv con las filas que se pidan: °C con un decimal y °F enteros.

python benchmarks/make_data.py --rows 10000000 --output grande.csv
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv


def readings(rows, seed):
    """Temperaturas con la media y la desviación de las de verdad. Devuelve una tabla de Arrow."""
    celsius = np.random.default_rng(seed).normal(12.3, 7.6, rows).round(1)
    fahrenheit = (celsius * 1.8 + 32).round().astype(int)
    return pa.table({"celsius": celsius, "fahrenheit": fahrenheit})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    with args.output.open("wb") as file:
        file.write(b"celsius,fahrenheit\n")
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
        pyarrow.csv.write_csv(readings(args.rows, args.seed), file, options)


if __name__ == "__main__":
    main()
