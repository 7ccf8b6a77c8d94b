"""Que lo que mide `make bench` funciona y mide lo mismo. Aquí no se mide ningún tiempo."""

import json

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def big(tmp_path_factory, run):
    """Una carpeta con 300.000 filas inventadas, que no caben en un lote, y lo que sale de ellas."""
    folder = tmp_path_factory.mktemp("bench")
    for name in ("uno.csv", "dos.csv"):
        run("python", ROOT / "benchmarks/make_data.py", "--rows", "300000", "--output", name,
            cwd=folder)  # fmt: skip
    run("python", ROOT / "prepare_data.py", "--input", "uno.csv", "--validation-size", "0.1",
        cwd=folder)  # fmt: skip
    run("python", ROOT / "train.py", cwd=folder)
    run("python", ROOT / "eval.py", cwd=folder)
    run("python", ROOT / "benchmarks/usual.py", "--input", "uno.csv", "--output", "usual",
        cwd=folder)  # fmt: skip
    return folder


def test_the_data_are_always_the_same(big):
    assert (big / "uno.csv").read_bytes() == (big / "dos.csv").read_bytes()
    assert (big / "uno.csv").read_bytes().count(b"\n") == 300_001


def test_several_batches_end_where_least_squares_do(big, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import bench

    slope, intercept = bench.least_squares(big)
    learned = json.loads((big / "evaluations/rapido.json").read_text(encoding="utf-8"))
    assert learned["slope"]["celsius"] == pytest.approx(slope, abs=1e-3)
    assert learned["intercept"] == pytest.approx(intercept, abs=1e-3)


def test_both_sides_measure_the_same_task(big):
    learned = json.loads((big / "evaluations/rapido.json").read_text(encoding="utf-8"))
    usual = json.loads((big / "usual/metrics.json").read_text(encoding="utf-8"))
    for name in ("mae", "rmse"):
        assert learned[name] == pytest.approx(usual[name], rel=0.02)


def test_the_picture_thins_out_the_points(big):
    size = (big / "evaluations/rapido.png").stat().st_size
    assert size < 100_000
    assert (big / "evaluations/rapido.csv").read_bytes().count(b"\n") == pytest.approx(
        30_001, abs=1
    )
