"""docs/google-drive.md, seguida al pie de la letra contra el Drive de mentira.

Cada sección la hace una persona en su ordenador, y entra en Drive con el navegador. Al final los
datos están en Drive y en un segundo clon, y ni el secreto ni los permisos están en Git.
"""

import re
import shutil
import subprocess
from itertools import groupby
from pathlib import Path

import pages

from .people import ANA, BETO, CLIENT_ID, CLIENT_SECRET, Person, contents
from .test_drive import MESSAGES, pytestmark  # noqa: F401

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "google-drive.md"
TEXT = GUIDE.read_text(encoding="utf-8")
# Quién hace lo que dice cada sección. «servidor» es Ana en un ordenador sin navegador.
WHO = {
    "Quien sube los datos": "ana",
    "Quien recibe los datos": "beto",
    "Cuando cambias los datos": "beto",
    "Cuando los cambia otra persona": "ana",
    "Qué no va nunca a Git": "ana",
    "Volver a la carpeta, y otra vez a Drive": "ana",
    "Entrar otra vez, o con otra cuenta": "ana",
    "En un ordenador sin navegador": "servidor",
}
# Se vieron a mano: hacen falta minutos de espera, o un entorno con otros paquetes.
SEEN_BY_HAND = {
    "EOF occurred in violation of protocol",
    "gdrive is supported, but requires 'dvc-gdrive'",
    "module 'lib' has no attribute 'GEN_EMAIL'",
}


def section_of(block):
    """El título de segundo nivel bajo el que está un bloque."""
    line = int(block.where.rpartition(":")[2])
    return [text[3:] for text in TEXT.splitlines()[:line] if text.startswith("## ")][-1]


def follow(values, people, origin):
    """Escribe las órdenes de la guía, en orden, cada una en el ordenador de quien la lee."""
    text = TEXT
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    terminals = {
        name: pages.Terminal(person.home, person.cwd, person.env, origin)
        for name, person in people.items()
    }
    for section, group in groupby(pages.read_page(text, GUIDE.name), section_of):
        pages.run_page(list(group), terminals[WHO[section]])
    return {name: terminal.cwd for name, terminal in terminals.items()}


def test_drive_guide_from_a_folder_to_a_second_clone(drive, template, tmp_path, login_port):
    origin = tmp_path / "origin.git"
    people = {
        "ana": Person(drive, tmp_path / "ana", ANA),
        "beto": Person(drive, tmp_path / "beto", BETO),
        "servidor": Person(drive, tmp_path / "servidor", ANA),
    }
    ana = people["ana"]
    ana.git("init", "--bare", "--quiet", "--initial-branch=main", str(origin))
    prepare_readme_folder(ana, template, origin)
    folder = drive.add_folder(ANA, writers=[BETO])
    people["ana"].open_browser()
    people["beto"].open_browser()
    values = {
        "<ID_DE_LA_CARPETA>": folder,
        "<ID_DE_CLIENTE>": CLIENT_ID,
        "<SECRETO_DE_CLIENTE>": CLIENT_SECRET,
        "<RUTA_DE_DEFAULT_JSON>": str(ana.login_cache / CLIENT_ID / "default.json"),
    }
    ends = follow(values, people, origin)

    data = contents(ends["ana"] / "data")
    assert "nuevo.csv" in data
    assert set(data.values()) <= set(drive.files().values())
    assert contents(ends["beto"] / "data") == data
    assert contents(ends["servidor"] / "data") == data
    assert CLIENT_SECRET in (ends["ana"] / ".dvc" / "config.local").read_text()
    for repository in [origin, *ends.values()]:
        assert not leaks(repository, [*drive.secrets(), "gdrive_client_secret"])


def test_drive_secret_search_finds_a_secret_in_the_history(drive, ana, template, folder):
    """La búsqueda de la prueba anterior ve lo que se añadió y se borró después."""
    ana.start_project(template, folder)
    ana.git("add", ".")
    ana.git("commit", "--quiet", "-m", "Sin el secreto")
    assert leaks(ana.cwd, drive.secrets()) == []
    ana.git("add", "--force", ".dvc/config.local")
    ana.git("commit", "--quiet", "-m", "Con el secreto")
    ana.git("rm", "--quiet", "--cached", ".dvc/config.local")
    ana.git("commit", "--quiet", "-m", "Ya no se ve")
    assert leaks(ana.cwd, drive.secrets()) == [CLIENT_SECRET, ".dvc/config.local"]


def test_drive_guide_table_has_the_messages_that_the_tests_see():
    table = TEXT.split("## Si ves este mensaje")[1]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    written = {text for cell in cells[1:] for text in re.findall("`([^`]+)`", cell)}
    assert set(MESSAGES.values()) | SEEN_BY_HAND | {"File not found"} == written


def prepare_readme_folder(person, template, origin):
    """La carpeta de un participante al acabar el README: con un remote que es otra carpeta."""
    person.cwd = person.home / "mi-taller"
    shutil.copytree(template, person.cwd)
    person.dvc("remote", "add", "--default", "myremote", "../almacen")
    person.dvc("push")
    person.git("add", ".")
    person.git("commit", "--quiet", "-m", "Añade el remote")
    person.git("remote", "add", "origin", str(origin))


def leaks(repository, secrets):
    """Los secretos y los ficheros locales que hay en la historia de Git, en cualquier rama."""

    def git(*arguments, data=None):
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    objects = git("rev-list", "--objects", "--all").decode().splitlines()
    names = "\n".join(line.split()[0] for line in objects)
    everything = git("cat-file", "--batch", data=names.encode())
    assert b"data.dvc" in everything
    paths = "\n".join(objects)
    found = [secret for secret in secrets if secret.encode() in everything]
    return found + [path for path in (".dvc/config.local", "default.json") if path in paths]
