"""La aritmética de los cuatro scripts, y cada uno ejecutado como orden."""

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from sklearn.linear_model import LinearRegression as LeastSquares
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.preprocessing import StandardScaler

OUTPUTS = {
    "partitions": {"metadata.json", "train.csv", "validation.csv"},
    "models": {"rapido.pt"},
    "metrics": {"rapido.csv", "rapido.json", "rapido.png"},
    "evaluations": {"rapido.csv", "rapido.json", "rapido.png"},
}


@pytest.fixture(scope="module")
def scripts():
    """Los scripts como módulos. `checks` cambia Ctrl-C al importarse: aquí se deja como estaba."""
    previous, hook = signal.getsignal(signal.SIGINT), sys.excepthook
    sys.path.insert(0, str(ROOT))
    try:
        names = ("prepare_data", "train", "eval", "model", "checks")
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(ROOT))
        signal.signal(signal.SIGINT, previous)
        sys.excepthook = hook


@pytest.fixture(scope="module")
def made(tmp_path_factory, finished, run):
    """Una carpeta con los datos y lo que escriben los tres scripts sin opciones ni DVC."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "data").mkdir()
    (folder / "data" / "training.csv").write_bytes((finished / "data/training.csv").read_bytes())
    for script in ("prepare_data", "train", "eval"):
        run("python", ROOT / f"{script}.py", cwd=folder)
    return folder


def original(folder, part):
    """La partición `part`, devuelta a sus unidades. `DataFrame`."""
    metadata = json.loads((folder / "partitions" / "metadata.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / "partitions" / f"{part}.csv")
    columns = metadata["columns"]
    return table.apply(lambda x: x * columns[x.name]["scale"] + columns[x.name]["mean"])


# --- La aritmética -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.01, 0.1, 0.2, 0.25, 1 / 3, 0.5, 0.75, 0.9])
def test_the_split_takes_the_part_it_is_asked_for(scripts, size):
    chosen = scripts["prepare_data"].split(10_000, size, seed=0)
    assert chosen.sum() == pytest.approx(10_000 * size, rel=0.02)


@pytest.mark.parametrize("size", [0.05, 0.2, 0.3, 0.6])
@pytest.mark.parametrize("rows", [2, 7, 20, 333])
def test_rows_added_at_the_end_move_no_other(scripts, size, rows):
    split = scripts["prepare_data"].split
    assert np.array_equal(split(5000, size, seed=1)[:rows], split(rows, size, seed=1))


def test_the_split_depends_on_the_seed_and_has_no_period(scripts):
    split = scripts["prepare_data"].split
    first, second = split(1000, 0.2, seed=1), split(1000, 0.2, seed=2)
    assert not np.array_equal(first, second)
    assert len(set(np.diff(np.flatnonzero(first)))) > 4


def test_the_scaler_sees_the_training_rows_alone(scripts):
    rng = np.random.default_rng(0)
    train, validation = rng.normal(5, 3, (200, 2)), rng.normal(50, 1, (40, 2))
    scaled, other, *_ = scripts["prepare_data"].standardize(train, validation)
    mean, scale = train.mean(axis=0), train.std(axis=0)
    assert scaled == pytest.approx((train - mean) / scale, abs=1e-9)
    assert other == pytest.approx((validation - mean) / scale, abs=1e-9)


def descend(x, y, weight, bias, epochs, lr):
    """Descenso de gradiente con la derivada escrita a mano, en float64. Da las dos pérdidas."""
    losses = []
    for _ in range(epochs):
        errors = x @ weight + bias - y
        losses.append(np.mean(errors**2))
        weight = weight - lr * 2 * x.T @ errors / len(x)
        bias = bias - lr * 2 * errors.mean()
    return losses, weight, bias


def test_the_loss_follows_its_closed_form(scripts, monkeypatch):
    train, model_module = scripts["train"], scripts["model"]
    monkeypatch.setattr(train, "BATCH", 64)  # varios lotes, y el último a medias
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = x @ [0.7, -0.2] + 0.3 + rng.normal(0, 0.1, 300)
    torch.manual_seed(0)
    model = model_module.LinearRegression(2, 1)
    weight, bias = model.linear.weight.detach().double().numpy()[0], model.linear.bias.item()
    expected, weight, bias = descend(x, y, weight, bias, epochs=30, lr=0.1)
    pair = [torch.tensor(array, dtype=torch.float32) for array in (x, y.reshape(-1, 1))]
    history = train.train(model, pair, pair, epochs=30, lr=0.1)
    assert [loss for loss, _ in history] == pytest.approx(expected, rel=1e-4)
    assert history[-1][1] == pytest.approx(np.mean((x @ weight + bias - y) ** 2), rel=1e-4)
    assert model.linear.weight.detach().numpy()[0] == pytest.approx(weight, rel=1e-4)


def test_the_metrics_are_those_of_scikit_learn(scripts):
    rng = np.random.default_rng(0)
    labels = rng.normal(50, 10, 100)
    predictions = labels + rng.normal(0, 1, 100)
    metrics = scripts["eval"].evaluate(labels, predictions)
    assert metrics["mae"] == pytest.approx(mean_absolute_error(labels, predictions))
    assert metrics["rmse"] == pytest.approx(mean_squared_error(labels, predictions) ** 0.5)
    assert metrics["r2"] == pytest.approx(r2_score(labels, predictions))


def test_r2_of_equal_labels_is_null_and_not_nan(scripts):
    assert scripts["eval"].evaluate(np.full(3, 7.0), np.array([6.0, 7, 8]))["r2"] is None


def test_the_line_is_the_model_in_real_units(scripts):
    model = scripts["model"].LinearRegression(2, 1)
    x = np.random.default_rng(0).normal(20, 5, (50, 2))
    means, scales = np.array([20.0, 19, 60]), np.array([5.0, 4, 14])
    scaled = torch.tensor((x - means[:-1]) / scales[:-1], dtype=torch.float32)
    with torch.no_grad():
        predictions = model(scaled).numpy()[:, 0] * scales[-1] + means[-1]
    slope, intercept = scripts["eval"].to_line(model, means, scales)
    assert x @ slope + intercept == pytest.approx(predictions, abs=1e-3)


@pytest.mark.parametrize(
    ("slope", "intercept", "names", "text"),
    [
        ([1.8], 32, ["celsius", "fahrenheit"], "fahrenheit = 1.8000 · celsius + 32.00"),
        ([-1], -2.5, ["x", "y"], "y = -1.0000 · x − 2.50"),
        ([1, -2], 0, ["a", "b", "y"], "y = 1.0000 · a − 2.0000 · b + 0.00"),
    ],
)
def test_the_equation_reads_as_it_is_written_by_hand(scripts, slope, intercept, names, text):
    assert scripts["eval"].equation(slope, intercept, names) == text


# --- Los scripts como órdenes ------------------------------------------------------------------


def test_each_script_writes_its_files_and_no_other(made):
    found = {name: {path.name for path in (made / name).iterdir()} for name in OUTPUTS}
    assert found == OUTPUTS


def test_partitions_hold_every_row_once_in_standard_units(made):
    raw = pd.read_csv(made / "data/training.csv")
    train = pd.read_csv(made / "partitions/train.csv")
    assert list(train) == ["celsius", "fahrenheit"]
    assert train.mean().abs().max() < 1e-6
    assert train.std(ddof=0).to_numpy() == pytest.approx(1, abs=1e-6)
    both = pd.concat([original(made, "train"), original(made, "validation")]).round(6)
    columns = list(raw)
    assert both.sort_values(columns).to_numpy() == pytest.approx(
        raw.sort_values(columns).to_numpy()
    )


def test_metadata_are_those_of_the_scaler(made):
    metadata = json.loads((made / "partitions/metadata.json").read_text(encoding="utf-8"))
    scaler = StandardScaler().fit(original(made, "train"))
    assert metadata["features"] == ["celsius"]
    assert metadata["target"] == "fahrenheit"
    assert metadata["rows"] == {"train": 2338, "validation": 584}
    columns = metadata["columns"]
    assert [columns[c]["mean"] for c in columns] == pytest.approx(scaler.mean_)
    assert [columns[c]["scale"] for c in columns] == pytest.approx(scaler.scale_)
    assert [columns[c]["unit"] for c in columns] == ["°C", "°F"]


def test_the_model_ends_where_least_squares_do(made):
    train = original(made, "train")
    line = LeastSquares().fit(train[["celsius"]].to_numpy(), train["fahrenheit"])
    learned = json.loads((made / "evaluations/rapido.json").read_text(encoding="utf-8"))
    assert set(learned) == {"intercept", "mae", "r2", "rmse", "slope"}
    assert learned["slope"]["celsius"] == pytest.approx(line.coef_[0], abs=1e-3)
    assert learned["intercept"] == pytest.approx(line.intercept_, abs=1e-3)
    assert learned["slope"]["celsius"] == pytest.approx(1.8, abs=0.01)
    assert learned["intercept"] == pytest.approx(32, abs=0.2)


def test_the_evaluation_table_is_what_the_metrics_measure(made):
    table = pd.read_csv(made / "evaluations/rapido.csv")
    metrics = json.loads((made / "evaluations/rapido.json").read_text(encoding="utf-8"))
    assert list(table) == ["celsius", "fahrenheit", "prediction"]
    assert len(table) == 584
    errors = table["prediction"] - table["fahrenheit"]
    assert metrics["mae"] == pytest.approx(errors.abs().mean(), rel=1e-4)
    assert metrics["rmse"] == pytest.approx((errors**2).mean() ** 0.5, rel=1e-4)


def test_metrics_end_with_the_last_loss_of_the_curve(made):
    metrics = json.loads((made / "metrics/rapido.json").read_text(encoding="utf-8"))
    curve = pd.read_csv(made / "metrics/rapido.csv")
    assert list(curve) == ["epoch", "train_loss", "validation_loss"]
    assert list(curve["epoch"]) == list(range(1, 101))
    assert (metrics["epochs"], metrics["lr"]) == (100, 0.1)
    assert metrics["train_loss"] == pytest.approx(curve["train_loss"].iloc[-1], rel=1e-4)
    assert metrics["validation_loss"] == pytest.approx(curve["validation_loss"].iloc[-1], rel=1e-4)


def test_twice_the_same_data_give_twice_the_same_bytes(made, finished):
    for folder, names in OUTPUTS.items():
        for name in names:
            assert (made / folder / name).read_bytes() == (finished / folder / name).read_bytes()


def test_text_files_end_their_lines_with_a_newline_alone(made):
    for folder, names in OUTPUTS.items():
        for name in names:
            if name.endswith((".csv", ".json")):
                content = (made / folder / name).read_bytes()
                assert b"\r" not in content
                assert content.endswith(b"\n")


def test_options_choose_every_path(made, run, tmp_path):
    data = made / "data" / "training.csv"
    out = tmp_path / "con espacios y ñ"
    run("python", ROOT / "prepare_data.py", "--input", data, "--output", out / "p",
        "--features", "fahrenheit", "--target", "celsius", "--validation-size", "0.5",
        "--seed", "7", cwd=tmp_path)  # fmt: skip
    run("python", ROOT / "train.py", "--name", "al-revés", "--epochs", "50", "--lr", "0.2",
        "--seed", "1", "--partitions", out / "p", "--models", out / "m", "--metrics", out / "l",
        cwd=tmp_path)  # fmt: skip
    run("python", ROOT / "eval.py", "--name", "al-revés", "--partitions", out / "p",
        "--models", out / "m", "--evaluations", out / "e", cwd=tmp_path)  # fmt: skip
    learned = json.loads((out / "e" / "al-revés.json").read_text(encoding="utf-8"))
    assert learned["slope"]["fahrenheit"] == pytest.approx(5 / 9, abs=0.01)
    assert len(pd.read_csv(out / "p" / "validation.csv")) == pytest.approx(1461, abs=1)
    assert (out / "l" / "al-revés.png").exists()


def test_a_new_column_is_one_more_input(made, run, tmp_path):
    table = pd.read_csv(made / "data/training.csv")
    table.insert(0, "kelvin", table["celsius"] + 273.15)
    (tmp_path / "data").mkdir()
    table.to_csv(tmp_path / "data" / "training.csv", index=False)
    for script in ("prepare_data", "train", "eval"):
        run("python", ROOT / f"{script}.py", cwd=tmp_path)
    learned = json.loads((tmp_path / "evaluations/rapido.json").read_text(encoding="utf-8"))
    before = json.loads((made / "evaluations/rapido.json").read_text(encoding="utf-8"))
    assert set(learned["slope"]) == {"kelvin", "celsius"}
    assert sum(learned["slope"].values()) == pytest.approx(1.8, abs=0.01)
    assert learned["mae"] == pytest.approx(before["mae"], abs=1e-3)


def test_a_rate_that_is_too_large_says_so_and_writes_nothing(made, run, tmp_path):
    done = run("python", ROOT / "train.py", "--name", "loco", "--lr", "5", "--partitions",
               made / "partitions", cwd=tmp_path, status=1)  # fmt: skip
    assert "diverge" in done.stderr
    assert "--lr" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_a_log_has_no_progress_bar(made, run, tmp_path):
    done = run("python", ROOT / "train.py", "--epochs", "8000", "--partitions",
               made / "partitions", cwd=tmp_path)  # fmt: skip
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_a_terminal_has_one(made, env, tmp_path):
    pty = pytest.importorskip("pty", reason="en Windows no hay pty")
    terminal, its_end = pty.openpty()
    pytest.importorskip("termios").tcsetwinsize(its_end, (24, 80))
    command = [sys.executable, ROOT / "train.py", "--epochs", "1000000", "--partitions",
               made / "partitions"]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=its_end, stderr=its_end)
    os.close(its_end)
    shown, limit = b"", time.monotonic() + 60
    while b"Entrenando" not in shown and time.monotonic() < limit:
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 4096)
    process.send_signal(signal.SIGINT)
    status = process.wait(timeout=30)
    os.close(terminal)
    assert b"Entrenando" in shown
    assert status == 130
