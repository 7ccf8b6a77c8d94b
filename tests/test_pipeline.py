"""El pipeline en un clon de verdad: qué se repite, qué se comparte y qué enseñan las órdenes."""

import hashlib
import json
import re

RUNS = ("lento", "prudente", "rapido")
TRAIN_AND_EVALUATE = {f"{stage}@{run}" for stage in ("train", "evaluate") for run in RUNS}


def executed(done):
    """Las stages que ha ejecutado `dvc repro`, según lo que imprime. Devuelve un `set`."""
    return set(re.findall(r"Running stage '([^']+)'", done.stdout))


def edit(path, old, new):
    """Cambia `old` por `new` en el fichero, y falla si no está."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


def locked_hashes(folder):
    """Los objetos que nombran data.dvc y dvc.lock, menos los que guarda Git."""
    data = re.findall(r"md5: (\w+\.dir)", (folder / "data.dvc").read_text(encoding="utf-8"))
    lock = (folder / "dvc.lock").read_text(encoding="utf-8")
    entries = re.findall(r"- path: (\S+)\n +hash: md5\n +md5: (\w+)", lock)
    by_git = {path for path, _ in entries if path.endswith(".json") and "partitions" not in path}
    sources = {path for path, _ in entries if path.endswith(".py")}
    return set(data) | {md5 for path, md5 in entries if path not in by_git | sources}


def test_a_fresh_clone_is_up_to_date(finished, run):
    assert "up to date" in run("dvc", "status", cwd=finished).stdout
    assert run("git", "status", "--porcelain", cwd=finished).stdout == ""


def test_the_remote_holds_what_the_lock_names_and_nothing_else(published):
    objects = [path for path in (published / "remote").rglob("*") if path.is_file()]
    names = {path.parent.name + path.name for path in objects}
    assert names == locked_hashes(published)
    for path in objects:
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        assert path.parent.name + path.name.removesuffix(".dir") == digest


def test_the_data_are_those_of_their_source(finished, run, tmp_path):
    rebuilt = tmp_path / "training.csv"
    run("python", "tools/training_data.py", "--output", rebuilt, cwd=finished)
    assert rebuilt.read_bytes() == (finished / "data/training.csv").read_bytes()
    assert rebuilt.read_bytes().count(b"\n") == 2923


def test_one_run_under_trains_and_the_best_does_not(finished):
    r2 = {
        name: json.loads((finished / f"evaluations/{name}.json").read_text())["r2"] for name in RUNS
    }
    assert r2["lento"] < 0.6
    assert r2["rapido"] > 0.9999
    assert r2["prudente"] > 0.9999


def test_repeating_everything_changes_no_byte(workshop, run):
    before = (workshop / "dvc.lock").read_bytes()
    done = run("dvc", "repro", "--force", cwd=workshop)
    assert executed(done) == TRAIN_AND_EVALUATE | {"prepare"}
    assert (workshop / "dvc.lock").read_bytes() == before
    assert run("git", "status", "--porcelain", cwd=workshop).stdout == ""
    assert executed(run("dvc", "repro", cwd=workshop)) == set()


def test_only_what_changes_is_repeated(workshop, run):
    edit(workshop / "params.yaml", "lr: 0.001", "lr: 0.002")
    assert executed(run("dvc", "repro", cwd=workshop)) == {"train@lento", "evaluate@lento"}
    diff = run("dvc", "params", "diff", cwd=workshop).stdout
    assert "train.runs.lento.lr" in diff
    assert "prudente" not in diff
    diff = run("dvc", "metrics", "diff", cwd=workshop).stdout
    assert "evaluations/lento.json" in diff.replace("\\", "/")
    assert "rapido" not in diff
    run("dvc", "plots", "diff", "HEAD", cwd=workshop)
    pictures = [path.name for path in (workshop / "dvc_plots" / "static").iterdir()]
    assert any("lento.png" in name for name in pictures), pictures


def test_editing_the_training_repeats_train_and_evaluate(workshop, run):
    edit(workshop / "train.py", "torch.manual_seed(args.seed)", "torch.manual_seed(args.seed + 1)")
    assert executed(run("dvc", "repro", cwd=workshop)) == TRAIN_AND_EVALUATE


def test_editing_the_model_repeats_train_and_evaluate(workshop, run):
    edit(workshop / "model.py", "Capa lineal", "Capa lineal (editada)")
    status = json.loads(run("dvc", "status", "--json", cwd=workshop).stdout)
    assert set(status) == TRAIN_AND_EVALUATE


def test_a_pipeline_that_fails_leaves_no_metrics_without_numbers(workshop, run):
    edit(workshop / "params.yaml", "lr: 0.1", "lr: 5")
    done = run("dvc", "repro", cwd=workshop, status=None)
    assert done.returncode != 0
    assert "diverge" in done.stderr
    for path in workshop.glob("metrics/*.json"):
        assert "nan" not in path.read_text(encoding="utf-8").lower()
    # Lo que README y docs/problemas.md dicen que hay que escribir para volver atrás.
    run("git", "restore", "params.yaml", "metrics", "evaluations", cwd=workshop)
    run("dvc", "checkout", cwd=workshop)
    assert "up to date" in run("dvc", "status", cwd=workshop).stdout


def test_what_a_participant_pushes_stays_out_of_git(workshop, run):
    with (workshop / "data" / "training.csv").open("a", encoding="utf-8") as file:
        file.write("100.0,212\n")
    run("dvc", "add", "data", cwd=workshop)
    assert "2 files pushed" in run("dvc", "push", "data", cwd=workshop).stdout
    changed = run("git", "status", "--porcelain", cwd=workshop).stdout
    assert changed.split() == ["M", "data.dvc"]
    assert "Temperaturas de Seattle" in (workshop / "data.dvc").read_text(encoding="utf-8")


def test_the_commands_that_show_things_show_them(finished, run):
    dag = run("dvc", "dag", cwd=finished).stdout
    for name in {"data.dvc", "prepare"} | TRAIN_AND_EVALUATE:
        assert name in dag
    metrics = run("dvc", "metrics", "show", cwd=finished).stdout
    assert "slope.celsius" in metrics
    assert "validation_loss" in metrics


def test_the_plots_overlay_the_losses_and_show_every_image(finished, run):
    shown = json.loads(run("dvc", "plots", "show", "--json", cwd=finished).stdout)
    assert "errors" not in shown
    (loss,) = shown["data"]["loss"]
    points = json.dumps(loss)
    for name in RUNS:
        assert f"{name}.csv" in points
    images = {name for name, items in shown["data"].items() if items[0]["type"] == "image"}
    assert images == {
        f"{folder}/{name}.png" for folder in ("metrics", "evaluations") for name in RUNS
    }


def test_an_experiment_changes_one_parameter(workshop, run):
    done = run("dvc", "exp", "run", "-S", "train.runs.rapido.lr=0.3", "-n", "deprisa", cwd=workshop)
    assert executed(done) == {"train@rapido", "evaluate@rapido"}
    table = json.loads(run("dvc", "exp", "show", "--json", cwd=workshop).stdout)
    assert "deprisa" in json.dumps(table)


def test_git_keeps_no_data_no_models_and_no_plots(finished, run):
    tracked = run("git", "ls-files", cwd=finished).stdout.splitlines()
    assert [path for path in tracked if path.startswith("data/")] == []
    outputs = ("partitions/", "models/", "metrics/", "evaluations/")
    kept = {path.rsplit(".", 1)[-1] for path in tracked if path.startswith(outputs)}
    assert kept == {"gitignore", "json"}
