"""Lo que comparten los tests de Drive: el servidor y las dos personas que lo usan."""

import getpass
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from .people import (
    ANA,
    BETO,
    CLIENT_ID,
    CLIENT_SECRET,
    Person,
    free_login_port,
    write_data,
)
from .server import Drive


@pytest.fixture
def drive(tmp_path):
    """Un Drive nuevo con el cliente de OAuth del taller; al acabar, nadie llamó a otra puerta."""
    workdir = tmp_path / "drive"
    workdir.mkdir()
    with Drive(workdir) as server:
        server.add_client(CLIENT_ID, CLIENT_SECRET, testers=[ANA, BETO])
        yield server
    assert server.blocked == []


@pytest.fixture
def ana(drive, tmp_path):
    person = Person(drive, tmp_path / "ana", ANA)
    person.log_in()
    return person


@pytest.fixture
def beto(drive, tmp_path):
    person = Person(drive, tmp_path / "beto", BETO)
    person.log_in()
    return person


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """La carpeta de un participante tras `git init`, `dvc init` y `dvc add data`: se copia."""
    workdir = tmp_path_factory.mktemp("plantilla")
    with Drive(workdir) as nobody:
        person = Person(nobody, workdir / "home", ANA)
        person.cwd = workdir / "taller"
        person.cwd.mkdir()
        person.git("init", "--quiet")
        person.dvc("init", "--quiet")
        write_data(person.cwd / "data")
        person.dvc("add", "--quiet", "data")
    assert nobody.blocked == []
    return person.cwd


@pytest.fixture
def login_turn():
    """Si alguien más pasa estas pruebas a la vez, los puertos de la entrada van por turnos."""
    lock = Path(tempfile.gettempdir()) / f"taller-dvc-drive-{getpass.getuser()}.lock"
    with FileLock(lock, timeout=120):
        yield


@pytest.fixture
def login_port(login_turn):
    if not free_login_port():
        pytest.skip("otro programa ocupa los puertos 8080 y 8090, que usa PyDrive2 para entrar")


@pytest.fixture
def folder(drive):
    """La carpeta de Drive del taller: es de Ana, y Beto es Editor."""
    return drive.add_folder(ANA, writers=[BETO])
