"""El camino del taller, de principio a fin, en una carpeta con espacios, acentos y apóstrofo."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest

# Cada orden del camino y el paso que `comprobar` debe dar por hecho con ella.
SETUP = [
    (["git", "init"], "git init"),
    (["dvc", "init"], "dvc init"),
    (["dvc", "add", "data"], "dvc add data"),
    (["dvc", "remote", "add", "--default", "myremote", "../almacen"], "remote por defecto"),
    (["dvc", "push", "data"], "dvc push data"),
    (["python", "taller.py", "usar", "single"], "dvc.yaml"),
    (["dvc", "repro"], "dvc repro"),
    (["dvc", "push"], "dvc push"),
]
RUNS = {"single": ["single"], "args": ["args"], "loop": ["lento", "prudente", "rapido"]}
IN_GIT = r"(metrics|evaluations)/(\w+\.json|\.gitignore)|(models|partitions)/\.gitignore"


def look(run, folder, **variables):
    """Lo que dice `comprobar`: estado, {paso: marca}, orden siguiente y texto en una línea."""
    done = run("python", "taller.py", "comprobar", cwd=folder, status=None, **variables)
    assert not done.stderr
    steps = {title: mark for mark, title in re.findall(r"(?m)^\[(.)\] (.*)$", done.stdout)}
    following = re.findall(r"(?m)^    (.*)$", done.stdout)
    assert done.returncode == (0 if set(steps.values()) == {"x"} else 1)
    return SimpleNamespace(
        status=done.returncode,
        steps=steps,
        next=" ".join(following),
        text=" ".join(done.stdout.split()),
    )


def mark(seen, step):
    """La marca de un paso, que puede llevar detrás un nombre: «remote por defecto: myremote»."""
    return seen.steps.get(step) or next(m for t, m in seen.steps.items() if t.startswith(step))


def commit(run, folder, message):
    run("git", "add", ".", cwd=folder)
    run("git", "commit", "--quiet", "--message", message, cwd=folder)


@pytest.fixture(scope="session")
def road(tmp_path_factory, published, run):
    """El camino andado una vez. `walked` guarda lo que `comprobar` decía antes y después."""
    base = tmp_path_factory.mktemp("camino") / "Años d'Ada"
    folder = base / "mi taller"
    clone = base / "clon"
    run("git", "clone", "--quiet", published, clone, cwd=published)
    run("python", "taller.py", "nuevo", folder, cwd=clone)
    walked, graphs = [], {}
    before = look(run, folder)
    for command, step in SETUP:
        run(*command, cwd=folder)
        after = look(run, folder)
        walked.append((step, before, after))
        before = after
    commit(run, folder, "single")
    walked.append(("git commit", before, look(run, folder)))

    for version in ("args", "loop"):
        run("python", "taller.py", "usar", version, cwd=folder)
        graphs[version] = run("dvc", "dag", cwd=folder).stdout
        run("dvc", "repro", cwd=folder)
        commit(run, folder, version)
        run("dvc", "push", cwd=folder)
        if version == "args":
            shutil.copytree(base, base.parent / "args", symlinks=True)
    return SimpleNamespace(
        folder=folder, walked=walked, graphs=graphs, clone=clone, args=base.parent / "args"
    )


@pytest.fixture
def with_args(road, tmp_path):
    """Una copia propia del camino, parada en la versión args: `(carpeta, remote)`."""
    base = shutil.copytree(road.args, tmp_path / "Años d'Ada", symlinks=True)
    return base / "mi taller", base / "almacen"


@pytest.mark.parametrize("step", [step for _, step in SETUP] + ["git commit"])
def test_each_step_is_missing_before_and_done_after(road, step):
    before, after = next(walked[1:] for walked in road.walked if walked[0] == step)
    assert mark(before, step) == " "
    assert mark(after, step) == "x"


def test_the_next_command_is_the_one_of_the_road(road):
    for (command, step), (_, before, _) in zip(SETUP, road.walked, strict=False):
        assert before.next == " ".join(command), step
    assert road.walked[-1][1].next == "git add ."


def test_at_the_end_all_is_done(road, run):
    seen = look(run, road.folder)
    assert seen.status == 0, seen.text
    assert "Todo hecho." in seen.text
    assert "dvc.yaml: versión loop" in seen.steps


def test_comprobar_writes_nothing(road, run):
    def state():
        files = sorted(p for p in road.folder.rglob("*") if ".dvc/tmp" not in p.as_posix())
        return [(p, p.stat().st_mtime_ns) for p in files if p.is_file()]

    before = state()
    look(run, road.folder)
    assert state() == before


def test_the_data_came_from_the_embedded_remote(road):
    """El clon nunca hizo `dvc pull`: `nuevo` lo sacó de remote/."""
    assert not (road.clone / "data").exists()
    assert (road.folder / "data" / "training.csv").read_text().startswith("celsius,fahrenheit\n")


def test_the_three_versions_leave_their_outputs_side_by_side(road):
    names = {name for runs in RUNS.values() for name in runs}
    for folder, suffixes in {"models": ["pt"], "metrics": ["json", "csv", "png"]}.items():
        found = {path.name for path in (road.folder / folder).iterdir()} - {".gitignore"}
        assert found == {f"{name}.{suffix}" for name in names for suffix in suffixes}
    metrics = [read_json(road.folder, "evaluations", name) for name in ("single", "args", "rapido")]
    assert metrics[0] == metrics[1] == metrics[2]


def read_json(folder, kind, name):
    return json.loads((folder / kind / f"{name}.json").read_text(encoding="utf-8"))


def test_the_graph_grows_with_each_version(road):
    assert "train@" not in road.graphs["args"]
    for stage in ("data.dvc", "prepare", "train"):
        assert stage in road.graphs["args"]
    for name in RUNS["loop"]:
        assert f"train@{name}" in road.graphs["loop"]


def test_outputs_never_land_in_git(road, run):
    tracked = run("git", "log", "--all", "--name-only", "--format=", cwd=road.folder).stdout.split()
    folders = ("data/", "evaluations/", "metrics/", "models/", "partitions/")
    for name in tracked:
        assert not name.startswith(folders) or re.fullmatch(IN_GIT, name), name
    assert "dvc.lock" in tracked and "metrics/rapido.json" in tracked


def test_another_person_gets_everything(road, run, tmp_path):
    base = shutil.copytree(road.folder.parent / "almacen", tmp_path / "almacen").parent
    run("git", "clone", "--quiet", road.folder, base / "otra", cwd=base)
    run("dvc", "pull", cwd=base / "otra")
    assert "up to date" in run("dvc", "status", cwd=base / "otra").stdout
    assert (base / "otra" / "models" / "rapido.pt").exists()


def celsius_in(folder, part, name="metadata.json"):
    """Los celsius de una partición, en sus unidades y redondeados como en el CSV."""
    column = json.loads((folder / "partitions" / name).read_text())["columns"]["celsius"]
    rows = (folder / "partitions" / f"{part}.csv").read_text().splitlines()[1:]
    return [round(float(x.split(",")[0]) * column["scale"] + column["mean"], 1) for x in rows]


def test_appended_rows_run_every_stage_and_old_rows_stay(with_args, run):
    folder, _ = with_args
    before = {part: celsius_in(folder, part) for part in ("train", "validation")}
    with (folder / "data" / "training.csv").open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{c},{round(c * 1.8 + 32)}\n" for c in range(40, 60))
    output = run("dvc", "repro", cwd=folder).stdout
    assert re.findall(r"Running stage '(\w+)'", output) == ["prepare", "train", "evaluate"]
    after = {part: celsius_in(folder, part) for part in before}
    for part, rows in before.items():
        assert after[part][: len(rows)] == rows
    assert sum(map(len, after.values())) == sum(map(len, before.values())) + 20


def test_a_new_column_runs_every_stage_and_the_model_grows(with_args, run):
    folder, _ = with_args
    old = read_json(folder, "evaluations", "args")
    path = folder / "data" / "training.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    rows = [f"{row},{float(row.split(',')[0]) + 273.15:.2f}" for row in rows]
    path.write_text("\n".join([f"{header},kelvin", *rows, ""]), encoding="utf-8", newline="\n")

    assert look(run, folder).next == "dvc repro"
    output = run("dvc", "repro", cwd=folder).stdout
    assert re.findall(r"Running stage '(\w+)'", output) == ["prepare", "train", "evaluate"]
    new = read_json(folder, "evaluations", "args")
    assert list(new["slope"]) == ["celsius", "kelvin"]
    assert sum(new["slope"].values()) == pytest.approx(1.8, abs=0.01)
    assert new["mae"] == pytest.approx(old["mae"], rel=0.01)
    seen = look(run, folder)
    assert (mark(seen, "dvc push data"), mark(seen, "dvc repro")) == (" ", "x")


def test_the_pipeline_asks_for_little_when_little_changes(with_args, run):
    """Un valor de `cmd` cambiado a mano repite el entrenamiento, y no la preparación."""
    folder, _ = with_args
    path = folder / "dvc.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("--epochs 100", "--epochs 90"))
    seen = look(run, folder)
    assert "dvc.yaml: versión args, con cambios tuyos" in seen.steps
    assert "train" in seen.text and "prepare" not in seen.text
    run("python", "taller.py", "usar", "loop", cwd=folder, status=1)
    assert "--epochs 90" in path.read_text(encoding="utf-8")
    commit(run, folder, "90 épocas")
    run("python", "taller.py", "usar", "loop", cwd=folder)


# --- accidentes de quien ya ha andado el camino ---


def test_conflict_marks_in_the_lock(with_args, run):
    """Dos ramas que cambian la misma línea de dvc.lock, con `git merge` de verdad."""
    folder, _ = with_args
    run("git", "branch", "otra", cwd=folder)
    for branch, line in ((None, "# una\n"), ("otra", "# otra\n")):
        if branch:
            run("git", "switch", "--quiet", branch, cwd=folder)
        with (folder / "model.py").open("a", newline="\n") as file:
            file.write(line)
        run("dvc", "commit", "--force", cwd=folder)
        run("git", "commit", "--quiet", "--all", "--message", line.strip("# \n"), cwd=folder)
    run("git", "merge", "-", cwd=folder, status=1)
    assert "<<<<<<< " in (folder / "dvc.lock").read_text()

    seen = look(run, folder)
    assert seen.next == "git checkout --ours dvc.lock"
    assert mark(seen, "dvc.lock, sin conflictos") == " "
    assert mark(seen, "dvc repro") == "?"
    run(*seen.next.split(), cwd=folder)
    seen = look(run, folder)
    assert "dvc.lock, sin conflictos" not in seen.steps and seen.next == "dvc repro"


def test_pushed_to_git_but_not_to_dvc(with_args, run):
    folder, remote = with_args
    server = folder.parent / "servidor.git"
    run("git", "init", "--quiet", "--bare", server, cwd=folder)
    run("git", "remote", "add", "origin", server, cwd=folder)
    shutil.rmtree(remote)
    remote.mkdir()
    run("dvc", "push", "data", cwd=folder)
    seen = look(run, folder)
    assert seen.next == "dvc push" and "git push" not in seen.text
    run("git", "push", "--quiet", "--set-upstream", "origin", "HEAD", cwd=folder)
    seen = look(run, folder)
    assert seen.next == "dvc push" and "Ya has hecho git push" in seen.text
    run("dvc", "push", cwd=folder)
    assert look(run, folder).status == 0


def test_a_remote_that_cannot_be_reached(with_args, run):
    """Un disco que no está, y un servidor que no contesta."""
    folder, remote = with_args
    shutil.rmtree(remote)
    gone = remote.parent / "disco" / "almacen"
    run("dvc", "remote", "modify", "myremote", "url", "../disco/almacen", cwd=folder)
    seen = look(run, folder)
    assert mark(seen, "dvc push data") == "?" and "no existe la carpeta del remote" in seen.text
    gone.mkdir(parents=True)
    assert mark(look(run, folder), "dvc push data") == " "
    run("dvc", "remote", "add", "--default", "lejos", "http://127.0.0.1:9/datos", cwd=folder)
    seen = look(run, folder)
    assert mark(seen, "dvc push data") == "?" and "no se llega al remote" in seen.text
