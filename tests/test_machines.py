"""Lo mismo en cualquier ordenador: fines de línea de Windows, rutas raras, sin red."""

import shutil
import subprocess

import pytest
import yaml
from conftest import ROOT

AWKWARD = "Año d'Ada (copia)"


def objects(folder):
    files = (path for path in (folder / "remote").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_clone_with_windows_line_ends_is_clean(published, run, tmp_path):
    folder = tmp_path / "taller"
    run(
        "git", "clone", "--quiet", "--config", "core.autocrlf=true", published, folder, cwd=tmp_path
    )
    assert objects(folder) == objects(published)
    run("dvc", "pull", cwd=folder)
    assert "up to date" in run("dvc", "status", cwd=folder).stdout
    assert run("git", "status", "--porcelain", cwd=folder).stdout == ""
    # Y no por casualidad: sin .gitattributes, la misma copia sí cambia.
    (folder / ".gitattributes").unlink()
    run("git", "rm", "--quiet", "--cached", ".gitattributes", cwd=folder)
    (folder / "train.py").unlink()
    run("git", "checkout", "--", "train.py", cwd=folder)
    assert b"\r\n" in (folder / "train.py").read_bytes()
    assert "train.py" in run("dvc", "status", cwd=folder).stdout


@pytest.fixture(scope="module")
def awkward(tmp_path_factory, published, run):
    """Un clon en una ruta con espacios, acentos, un apóstrofo y paréntesis."""
    folder = tmp_path_factory.mktemp("rutas") / AWKWARD / "El taller"
    folder.parent.mkdir()
    run("git", "clone", "--quiet", published, folder, cwd=published)
    return folder


def test_the_pipeline_runs_in_an_awkward_path(awkward, run):
    run("dvc", "pull", cwd=awkward)
    text = (awkward / "params.yaml").read_text(encoding="utf-8")
    (awkward / "params.yaml").write_text(text.replace("lr: 0.001", "lr: 0.003"), encoding="utf-8")
    done = run("dvc", "repro", cwd=awkward)
    assert "train@lento" in done.stdout
    run("dvc", "remote", "add", "--default", "otro", "../mi carpeta", cwd=awkward)
    run("dvc", "push", cwd=awkward)
    assert (awkward.parent / "mi carpeta" / "files").is_dir()


def isolated(options, folder, env, *commands, status=0):
    """Ejecuta órdenes en `folder` dentro de `unshare`, que quita la red o lo que se le diga.

    Devuelve lo que la última escribe en la salida de errores.
    """
    wall = ["unshare", "--map-root-user", *options]
    if not shutil.which("unshare") or subprocess.run([*wall, "true"], env=env).returncode:
        pytest.skip("aquí no se puede aislar un proceso")
    for command in commands:
        done = subprocess.run(
            [*wall, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    return done.stderr


def test_a_disk_that_is_read_only_is_a_message(workshop, env):
    before = {path: path.read_bytes() for path in (workshop / "metrics").iterdir()}
    read_only = 'mount --bind metrics metrics && mount -o remount,ro,bind metrics && exec "$@"'
    options = ["--mount", "sh", "-c", read_only, "sh"]
    error = isolated(options, workshop, env, ["python", "train.py"], status=1)
    assert "metrics/rapido.json" in error
    assert "el disco es de solo lectura" in error
    assert {path: path.read_bytes() for path in (workshop / "metrics").iterdir()} == before


def test_a_home_without_write_access_is_no_obstacle(workshop, env, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    closed = env | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
    }
    del closed["MPLCONFIGDIR"]
    read_only = 'mount -t tmpfs -o ro tmpfs "$HOME" && ! touch "$HOME/x" 2>/dev/null && exec "$@"'
    options = ["--mount", "sh", "-c", read_only, "sh"]
    shutil.rmtree(workshop / ".dvc" / "cache")
    isolated(options, workshop, closed, ["dvc", "pull"], ["python", "train.py"], ["dvc", "status"])


def test_the_road_needs_no_network(workshop, env):
    shutil.rmtree(workshop / ".dvc" / "cache")
    shutil.rmtree(workshop / "models")
    commands = ["pull"], ["repro"], ["push"], ["metrics", "show"]
    isolated(["--net"], workshop, env, *(["dvc", *command] for command in commands))


@pytest.mark.parametrize(
    "path", sorted([ROOT / "dvc.yaml", *(ROOT / "versions").glob("*.yaml")]), ids=lambda p: p.name
)
def test_the_stages_run_in_any_shell(path):
    stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    commands = [stage.get("do", stage)["cmd"] for stage in stages.values()]
    assert len(commands) == 3
    for command in commands:
        words = command.split()
        assert words[0] == "python"
        assert words[1].endswith(".py")
        without_params = command.replace("${", "").replace("}", "")
        assert not set(without_params) & set("'\"\\|&;<>$`*~\n%")
