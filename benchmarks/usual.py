"""El script de siempre, con el que se compara: pandas y scikit-learn, sin más.

python benchmarks/usual.py --input data/training.csv --output salida
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    table = pd.read_csv(args.input)
    train, validation = train_test_split(table, test_size=0.2, random_state=42)
    scaler = StandardScaler().fit(train)
    train = pd.DataFrame(scaler.transform(train), columns=table.columns)
    validation = pd.DataFrame(scaler.transform(validation), columns=table.columns)
    train.to_csv(args.output / "train.csv", index=False)
    validation.to_csv(args.output / "validation.csv", index=False)

    model = LinearRegression().fit(train[["celsius"]], train["fahrenheit"])
    mean, scale = scaler.mean_[1], scaler.scale_[1]
    labels = validation["fahrenheit"] * scale + mean
    predictions = model.predict(validation[["celsius"]]) * scale + mean
    metrics = {
        "mae": mean_absolute_error(labels, predictions),
        "rmse": mean_squared_error(labels, predictions) ** 0.5,
        "r2": r2_score(labels, predictions),
    }
    (args.output / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


if __name__ == "__main__":
    main()
