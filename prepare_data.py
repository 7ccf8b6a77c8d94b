"""Prepara los datos: los lee, los reparte en dos particiones, los tipifica y los escribe.

Lee el CSV en crudo y escribe, en la carpeta de las particiones:
    train.csv, validation.csv   columnas tipificadas (media 0, desviación 1); el objetivo, la última
    metadata.json               lo que hace falta para volver de ahí a las unidades de verdad

    python prepare_data.py
    python prepare_data.py --target fahrenheit --validation-size 0.2 --seed 42
"""

import checks  # el primero, para que Ctrl-C responda mientras se carga lo demás

# isort: split
from pathlib import Path

import numpy as np

UNITS = {"celsius": "°C", "fahrenheit": "°F", "kelvin": "K"}


def split(rows, validation_size, seed):
    """Elige qué filas van a validación: una al azar de cada grupo de 1 / validation_size seguidas.

    La suerte de una fila depende de su posición y de la semilla, no de cuántas haya: al añadir
    filas al final, las de antes se quedan en la partición en que estaban.

    Args:
        rows: número de filas.
        validation_size: parte que va a validación, entre 0 y 1.
        seed: semilla del generador.

    Returns:
        Vector booleano de forma (rows,): `True` en las filas de validación.
    """
    smaller = min(validation_size, 1 - validation_size)
    groups = np.arange(int(np.ceil(rows * smaller)))
    position = np.random.default_rng(seed).random(len(groups))
    chosen = (groups + position) / smaller
    is_chosen = np.zeros(rows, dtype=bool)
    is_chosen[chosen[chosen < rows].astype(int)] = True
    return is_chosen if smaller == validation_size else ~is_chosen


def take(columns, names, rows):
    """Junta las filas elegidas de unas columnas.

    Args:
        columns: `dict` de nombre a vector de forma (n,).
        names: las columnas que se quieren, en orden.
        rows: vector booleano de forma (n,), con las filas que se quieren.

    Returns:
        Matriz de forma (filas elegidas, columnas).
    """
    table = np.empty((len(names), np.count_nonzero(rows)))
    for name, column in zip(names, table, strict=True):
        np.compress(rows, columns[name], out=column)
    return table.T


def standardize(train, validation):
    """Tipifica las dos particiones con la media y la desviación de la de entrenamiento.

    Args:
        train, validation: matrices de forma (filas, columnas), en sus unidades.

    Returns:
        `(train, validation, mean, scale)`: las matrices sin unidades, y dos vectores de forma
        (columnas,) en las unidades de cada columna.
    """
    # Es lo que hace StandardScaler. Importar scikit-learn tarda más que todo lo demás junto.
    mean, scale = train.mean(axis=0), train.std(axis=0)
    # Nueve decimales sobran, y el fichero se lee y se escribe antes que con diecisiete.
    train, validation = ((rows - mean) / scale for rows in (train, validation))
    return train.round(9, out=train), validation.round(9, out=validation), mean, scale


def describe(names, mean, scale, train_rows, validation_rows):
    """Reúne en un `dict` los metadatos: columnas, media y escala de cada una, filas y unidades."""
    return {
        "features": names[:-1],
        "target": names[-1],
        "columns": {
            name: {"mean": float(mean[i]), "scale": float(scale[i]), "unit": UNITS.get(name, "")}
            for i, name in enumerate(names)
        },
        "rows": {"train": train_rows, "validation": validation_rows},
    }


def parse_args():
    parser = checks.Parser(__doc__)
    parser.add_argument(
        "--input", type=Path, default=Path("data/training.csv"), help="CSV en crudo"
    )
    parser.add_argument("--output", type=Path, default=Path("partitions"), help="carpeta de salida")
    parser.add_argument(
        "--features", nargs="+", help="columnas de entrada; si no, todas las numéricas"
    )
    parser.add_argument("--target", default="fahrenheit", help="columna que se quiere predecir")
    parser.add_argument(
        "--validation-size", type=checks.fraction, default=0.2, help="parte que va a validación"
    )
    parser.add_argument("--seed", type=checks.seed, default=42, help="semilla del reparto")
    args = parser.parse_args()
    checks.check_columns(parser, args.features, args.target)
    return args


def main():
    args = parse_args()
    required = [*(args.features or []), args.target]
    columns = checks.read_columns(args.input, required, others=not args.features)
    features = args.features or [name for name in columns if name != args.target]
    names = [*features, args.target]
    is_validation = split(len(columns[args.target]), args.validation_size, args.seed)
    train, validation = (take(columns, names, rows) for rows in (~is_validation, is_validation))
    checks.check_partitions(args.input, names, train, validation)
    train, validation, mean, scale = standardize(train, validation)
    metadata = describe(names, mean, scale, len(train), len(validation))

    outputs = [args.output / file for file in ("train.csv", "validation.csv", "metadata.json")]
    with checks.whole_files(*outputs) as (train_path, validation_path, metadata_path):
        checks.write_csv(train_path, dict(zip(names, train.T, strict=True)))
        checks.write_csv(validation_path, dict(zip(names, validation.T, strict=True)))
        checks.write_json(metadata_path, metadata)
    print(f"{args.output}: {len(train)} filas para entrenar y {len(validation)} para validar.")


if __name__ == "__main__":
    checks.run(main)
