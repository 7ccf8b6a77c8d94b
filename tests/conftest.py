"""Lo que comparten las pruebas: un clon como el de un participante, con Git y DVC de verdad."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def env(tmp_path_factory):
    """Las variables de entorno de un participante: este Python, y ninguna configuración de aquí."""
    home = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DVC_", "GDRIVE_"))}
    return kept | {
        "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        "HOME": str(home),
        "USERPROFILE": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "MPLCONFIGDIR": _matplotlib_cache(tmp_path_factory),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": _git_config(home),
        "DVC_NO_ANALYTICS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _matplotlib_cache(tmp_path_factory):
    """Una sola caché de tipos de letra para toda la sesión: hacerla cuesta segundos."""
    return str(tmp_path_factory.mktemp("matplotlib"))


def _git_config(home):
    config = home / ".gitconfig"
    config.write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n",
        encoding="utf-8",
    )
    return str(config)


@pytest.fixture(scope="session")
def run(env):
    """`run("dvc", "repro", cwd=carpeta)` ejecuta, exige el estado y devuelve el proceso."""

    def run(*command, cwd, status=0, timeout=120, **variables):
        command = [str(part) for part in command]
        if command[0] == "python":
            command[0] = sys.executable
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
        )
        assert status is None or done.returncode == status, (
            f"{' '.join(command)}: estado {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    return run


@pytest.fixture(scope="session")
def published(tmp_path_factory, run):
    """El repositorio tal como se publica: lo que Git sigue, como está ahora, en un commit."""
    folder = tmp_path_factory.mktemp("published") / "taller"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", "--all", "--force", cwd=folder)
    run("git", "commit", "--quiet", "--message", "El taller", cwd=folder)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory, published, run):
    """Un clon con todo traído por `dvc pull`. Es de todas las pruebas: nadie lo cambia."""
    folder = tmp_path_factory.mktemp("finished") / "taller"
    run("git", "clone", "--quiet", published, folder, cwd=published)
    run("dvc", "pull", "--quiet", cwd=folder)
    return folder


@pytest.fixture
def workshop(tmp_path, finished):
    """Una copia propia de `finished`, para cambiarla."""
    return shutil.copytree(finished, tmp_path / "taller", symlinks=True)
