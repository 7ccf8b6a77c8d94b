"""taller.py: la carpeta nueva, las versiones, y los accidentes que `comprobar` reconoce."""

import ast
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from test_road import look, mark

import taller

HEADER = "celsius,fahrenheit\n"


@pytest.fixture(scope="session")
def clone(tmp_path_factory, published, run):
    """Un clon recién hecho, sin `dvc pull`."""
    folder = tmp_path_factory.mktemp("clon") / "taller"
    run("git", "clone", "--quiet", published, folder, cwd=published)
    return folder


@pytest.fixture
def folder(tmp_path, clone, run):
    """Una carpeta de participante, recién creada."""
    run("python", "taller.py", "nuevo", tmp_path / "mi taller", cwd=clone)
    return tmp_path / "mi taller"


def refuses(run, cwd, *words, status=1):
    """Lo que dice taller.py cuando se niega, sin traza."""
    done = run("python", "taller.py", *words, cwd=cwd, status=status)
    assert "Traceback" not in done.stderr
    return done.stderr


# --- nuevo ---


def test_the_new_folder_holds_what_the_road_needs(folder):
    names = {path.name for path in folder.iterdir()}
    assert set(taller.FOLDERS) | set(taller.FILES) | set(taller.VERSIONS.values()) <= names
    assert {"train_single.py", "train_args.py", "eval_single.py", "eval_args.py"} <= names
    assert (folder / "dvc.yaml").read_bytes() == b""
    assert (folder / "data" / "training.csv").read_text().startswith(HEADER)
    assert not {".git", ".dvc", "data.dvc", "versions"} & names


def test_scripts_see_no_import_that_is_missing(folder, run):
    """Los scripts solo importan módulos que también se copian."""
    local = {path.stem for path in ROOT.glob("*.py")}
    for path in folder.glob("*.py"):
        for name in re.findall(r"(?m)^(?:import|from) (\w+)", path.read_text(encoding="utf-8")):
            assert name not in local or (folder / f"{name}.py").exists(), (path.name, name)


def test_the_data_of_the_workspace_goes_first(clone, run, tmp_path):
    copy = shutil.copytree(clone, tmp_path / "clon")
    (copy / "data").mkdir()
    (copy / "data" / "training.csv").write_text(HEADER + "1,34\n", newline="\n")
    run("python", "taller.py", "nuevo", "../mi-taller", cwd=copy)
    data = tmp_path / "mi-taller" / "data" / "training.csv"
    assert data.read_text() == HEADER + "1,34\n"


def test_a_damaged_embedded_remote_is_noticed_and_nothing_is_left(clone, run, tmp_path):
    copy = shutil.copytree(clone, tmp_path / "clon")
    for path in (copy / "remote").rglob("*"):
        if path.is_file() and path.read_bytes().startswith(HEADER.encode()):
            path.chmod(0o644)
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    message = refuses(run, copy, "nuevo", "../mi-taller")
    assert "está dañado" in message
    assert not (tmp_path / "mi-taller").exists()


def test_new_touches_nothing_that_exists(clone, run, tmp_path):
    (tmp_path / "tesis").mkdir()
    (tmp_path / "tesis" / "capítulo 1.txt").write_text("años de trabajo", encoding="utf-8")
    assert "no está vacía" in refuses(run, clone, "nuevo", tmp_path / "tesis")
    assert [path.name for path in (tmp_path / "tesis").iterdir()] == ["capítulo 1.txt"]
    assert "es un fichero" in refuses(run, clone, "nuevo", tmp_path / "tesis" / "capítulo 1.txt")
    inside = tmp_path / "tesis" / "capítulo 1.txt" / "dentro"
    assert "no se puede" in refuses(run, clone, "nuevo", inside)


def test_an_empty_folder_will_do(clone, run, tmp_path):
    (tmp_path / "vacía").mkdir()
    said = run("python", "taller.py", "nuevo", tmp_path / "vacía", cwd=clone).stdout
    assert f'cd "{tmp_path / "vacía"}"' in said or f"cd {tmp_path / 'vacía'}" in said
    assert (tmp_path / "vacía" / "taller.py").exists()


def test_new_does_not_clone_itself(folder, run):
    assert "repositorio clonado" in refuses(run, folder, "nuevo", "otra")


# --- usar y las órdenes ---


def test_usage(clone, run):
    assert "taller.py nuevo" in run("python", "taller.py", cwd=clone).stdout
    assert "taller.py nuevo" in run("python", "taller.py", "--help", cwd=clone).stdout
    for words in (["nuevo"], ["usar"], ["comprobar", "x"], ["borrar"]):
        assert "No entiendo" in refuses(run, clone, *words, status=2)


def test_the_clone_is_not_the_place(clone, run, tmp_path):
    for words in (["usar", "single"], ["comprobar"]):
        assert "taller.py nuevo" in refuses(run, clone, *words)
    done = run("python", clone / "taller.py", "comprobar", cwd=tmp_path, status=1)
    assert "no es una carpeta del taller" in done.stderr


def test_use_shows_what_changes_and_accepts_the_names_of_the_files(folder, run):
    assert "estaba vacío" in run("python", "taller.py", "usar", "single", cwd=folder).stdout
    said = run("python", "taller.py", "usar", "single_run_dvc_args.yaml", cwd=folder).stdout
    assert "-    cmd: python train_single.py\n" in said
    assert "+    cmd: python train_args.py --name args" in said
    used = (folder / "dvc.yaml").read_bytes()
    assert used == (folder / "single_run_dvc_args.yaml").read_bytes()
    assert "ya es igual" in run("python", "taller.py", "usar", "args", cwd=folder).stdout
    assert "single, args, loop" in refuses(run, folder, "usar", "otra")


def test_use_keeps_an_edit_that_is_nowhere_else(folder, run):
    run("python", "taller.py", "usar", "single", cwd=folder)
    edited = (folder / "dvc.yaml").read_text(encoding="utf-8") + "# mío\n"
    (folder / "dvc.yaml").write_text(edited, encoding="utf-8", newline="\n")
    assert "se perderían" in refuses(run, folder, "usar", "args")
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", "dvc.yaml", cwd=folder)
    assert "se perderían" in refuses(run, folder, "usar", "args")  # en el índice no basta
    run("git", "commit", "--quiet", "--message", "mío", cwd=folder)
    run("python", "taller.py", "usar", "args", cwd=folder)
    assert run("git", "show", "HEAD:dvc.yaml", cwd=folder).stdout == edited


# --- comprobar: los accidentes ---


def test_no_git(folder, run, tmp_path):
    """Sin git ni dvc en el PATH se dice, y no hay traza."""
    empty = tmp_path / "nada"
    empty.mkdir()
    seen = look(run, folder, PATH=str(empty))
    assert mark(seen, "git") == " " and mark(seen, "python y dvc") == " "


def test_no_identity(folder, run, tmp_path):
    seen = look(run, folder, GIT_CONFIG_GLOBAL=str(tmp_path / "no existe"))
    assert seen.next == 'git config --global user.name "Tu Nombre"'


def test_the_git_of_the_parent(folder, run):
    run("git", "init", "--quiet", cwd=folder.parent)
    seen = look(run, folder)
    assert seen.next == "git init" and "la carpeta de arriba" in seen.text
    run("git", "init", "--quiet", cwd=folder)
    assert look(run, folder).next == "dvc init"


def test_a_folder_that_git_does_not_trust(folder, run):
    run("git", "init", "--quiet", cwd=folder)
    seen = look(run, folder, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert seen.next.startswith("git config --global --add safe.directory ")


def test_data_tracked_by_git(folder, run):
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", ".", cwd=folder)
    run("git", "commit", "--quiet", "--message", "todo", cwd=folder)
    run("dvc", "init", "--quiet", cwd=folder)
    run("dvc", "add", "data", cwd=folder, status=None)
    assert not (folder / "data.dvc").exists()
    seen = look(run, folder)
    assert seen.next == "git rm -r --cached data" and mark(seen, "dvc add data") == " "
    run(*seen.next.split(), cwd=folder)
    run("git", "commit", "--quiet", "--message", "sin datos", cwd=folder)
    assert look(run, folder).next == "dvc add data"
    run("dvc", "add", "data", cwd=folder)
    assert mark(look(run, folder), "dvc add data") == "x"


@pytest.mark.parametrize("name", ["OneDrive - Universidad", "Mi unidad", "Google Drive"])
def test_a_synchronised_folder(folder, run, name):
    moved = folder.parent / name / "taller"
    moved.parent.mkdir()
    folder.rename(moved)
    text = look(run, moved).text
    assert f"dentro de «{name}»" in text and "Llévala a otro sitio" in text


@pytest.fixture(scope="session")
def other_python(tmp_path_factory):
    """Otro entorno, sin los paquetes del taller: la carpeta de sus programas."""
    place = tmp_path_factory.mktemp("otro")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    return place / ("Scripts" if os.name == "nt" else "bin")


def test_the_python_of_another_environment_is_first(folder, run, env, other_python):
    path = os.pathsep.join([str(other_python), env["PATH"]])
    seen = look(run, folder, PATH=path)
    assert mark(seen, "paquetes") == "x" and mark(seen, "python y dvc") == " "
    assert str(other_python) in seen.text


def test_running_with_the_python_of_another_environment(folder, run, other_python):
    done = run(other_python / "python", "taller.py", "comprobar", cwd=folder, status=1)
    assert "[ ] paquetes de requirements.txt" in done.stdout
    assert taller.INSTALL in done.stdout and "dvc 3." in done.stdout.replace("\n", " ")


# --- comprobar: Google Drive, hasta donde se llega sin Google ---


def test_drive_wants_the_client_of_the_organiser(folder, run):
    for command in (
        "git init",
        "dvc init",
        "dvc add data",
        "dvc remote add -d myremote gdrive://a",
    ):
        run(*command.split(), cwd=folder)
    seen = look(run, folder)
    assert seen.next == "dvc remote modify --local myremote gdrive_client_id VALOR"
    client = ["dvc", "remote", "modify", "myremote"]
    run(*client, "--local", "gdrive_client_id", "1.apps.googleusercontent.com", cwd=folder)
    run(*client, "gdrive_client_secret", "s", cwd=folder)
    seen = look(run, folder)
    assert "va a Git" in seen.text and mark(seen, "remote por defecto") == " "
    run(*seen.next.split(), cwd=folder)
    run(*client, "--local", "gdrive_client_secret", "s", cwd=folder)
    seen = look(run, folder)
    assert mark(seen, "remote por defecto") == "x"
    assert mark(seen, "dvc push data") == "?" and "aún no has entrado en Google" in seen.text


@pytest.mark.parametrize(
    "written, said",
    [
        ("Access token refresh failed: invalid_grant: Token has been expired", "ha caducado"),
        ("invalid_client: The provided client secret is invalid.", "secreto"),
        ('<HttpError 404 when requesting ... "File not found: 1xY".', "el ID de la carpeta"),
        ('<HttpError 403 ... "The user does not have sufficient permissions"', "Editor"),
        ("Unable to acquire lock. Most likely another DVC process", "otra orden de DVC"),
    ],
)
def test_the_reasons_in_plain_words(written, said):
    assert said in taller.reason(f"algo\nERROR: unexpected error - {written}\n\nHaving trouble?")


def test_an_unknown_reason_is_shown_as_dvc_says_it():
    assert taller.reason("algo\nERROR: se ha roto\n\nHaving trouble?") == "ERROR: se ha roto"
    assert taller.reason("") == "no dice por qué"


# --- en cualquier ordenador ---


def test_it_runs_on_an_old_python_and_on_an_old_console(folder, run):
    """Python 3.7 puede leerlo, y así decir que hace falta otro; cp850 no tiene «…»."""
    ast.parse((ROOT / "taller.py").read_text(encoding="utf-8"), feature_version=(3, 7))
    done = run("python", "taller.py", "comprobar", cwd=folder, status=1, PYTHONIOENCODING="ascii")
    assert "Por qu\\xe9:" in done.stdout


def test_it_uses_only_the_standard_library():
    tree = ast.parse((ROOT / "taller.py").read_text(encoding="utf-8"))
    names = {n.name for x in ast.walk(tree) if isinstance(x, ast.Import) for n in x.names}
    names |= {x.module for x in ast.walk(tree) if isinstance(x, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
