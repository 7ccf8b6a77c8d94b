"""Las personas de los tests de Drive: cada una con su ordenador, su cuenta y sus órdenes."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from .server import Drive

CLIENT_ID = "1234567890-taller.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-esto-no-va-a-git"
ANA, BETO = "ana@example.com", "beto@example.com"
BIN = Path(sys.executable).parent
# Ninguna orden de estos tests debería tardar tanto, ni en un ordenador ocupado.
LIMIT = 120
LOGIN_PORTS = (8080, 8090)
REMOTE = "['remote \"myremote\"']\n"
FILES = 6
# DVC sube un objeto por fichero y otro con la lista de la carpeta.
OBJECTS = FILES + 1


class Person:
    """Alguien con su ordenador (una carpeta personal vacía) y su cuenta de Google."""

    def __init__(self, drive: Drive, home: Path, email: str):
        self.drive, self.home, self.email = drive, home, email
        home.mkdir()
        self.cwd = home
        self.page = home / "pagina-del-navegador.txt"
        config = home / "dvc-config"
        config.mkdir()
        # Sin esto DVC deja un proceso suelto que pregunta si hay una versión nueva.
        (config / "config").write_text("[core]\n    check_update = false\n", encoding="utf-8")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "GIT_", "GDRIVE_", "GOOGLE_"))
            and not name.lower().endswith("_proxy")
        }
        cache = home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
        self.login_cache = cache / "pydrive2fs"
        self.env = (
            inherited
            | drive.environment()
            | {
                "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
                "HOME": str(home),
                "XDG_CACHE_HOME": str(cache),
                "XDG_CONFIG_HOME": str(home / ".config"),
                "DVC_GLOBAL_CONFIG_DIR": str(config),
                "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
                "DVC_NO_ANALYTICS": "1",
                "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GDRIVE_NON_INTERACTIVE": "1",
                "FAKE_ACCOUNT": email,
                "FAKE_BROWSER_LOG": str(self.page),
            }
        )
        user = f"[user]\n    name = {email}\n    email = {email}\n"
        (home / ".gitconfig").write_text(user + "[init]\n    defaultBranch = main\n")

    def open_browser(self) -> None:
        """Desde ahora DVC puede abrir el navegador, en vez de rendirse si hace falta."""
        script = Path(__file__).with_name("browser.py")
        # El «&» importa: sin él, DVC espera a que el navegador se cierre y nadie contesta.
        self.env["BROWSER"] = f'"{sys.executable}" "{script}" %s &'
        del self.env["GDRIVE_NON_INTERACTIVE"]

    def log_in(self) -> None:
        """Deja el permiso guardado, como tras una entrada con el navegador."""
        credentials = self.login_cache / CLIENT_ID / "default.json"
        credentials.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.drive.login(self.email, CLIENT_ID))
        credentials.write_text(text, encoding="utf-8")

    def start(self, *command: str) -> subprocess.Popen:
        return subprocess.Popen(
            command,
            cwd=self.cwd,
            env=self.env,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *command: str, status: int = 0) -> str:
        """Ejecuta una orden, comprueba cómo acaba y devuelve lo que escribe."""
        process = self.start(*command)
        try:
            output, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            kill(process)
            raise
        assert process.returncode == status, f"{command}: {process.returncode}\n{output}"
        return output

    def dvc(self, *arguments: str, status: int = 0) -> str:
        return self.run("dvc", *arguments, status=status)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def use_client(self) -> None:
        """Deja lo mismo que las dos órdenes de la guía con los datos del cliente de OAuth."""
        text = REMOTE + f"    gdrive_client_id = {CLIENT_ID}\n"
        text += f"    gdrive_client_secret = {CLIENT_SECRET}\n"
        (self.cwd / ".dvc" / "config.local").write_text(text, encoding="utf-8")

    def start_project(self, template: Path, folder_id: str) -> None:
        """Una carpeta como la que deja el taller, con `myremote` apuntando a Drive."""
        self.cwd = self.home / "taller"
        shutil.copytree(template, self.cwd)
        text = f"[core]\n    remote = myremote\n{REMOTE}    url = gdrive://{folder_id}\n"
        (self.cwd / ".dvc" / "config").write_text(text, encoding="utf-8")
        self.use_client()

    def forget_data(self) -> None:
        """Se queda sin los datos y sin la caché: a partir de ahora solo los tiene Drive."""
        shutil.rmtree(self.cwd / ".dvc" / "cache")
        shutil.rmtree(self.cwd / "data")


def kill(process: subprocess.Popen, sign: int = signal.SIGKILL) -> None:
    """Manda una señal a la orden y a lo que haya arrancado, y espera a que acabe."""
    os.killpg(process.pid, sign)
    process.wait(LIMIT)


def write_data(folder: Path) -> None:
    folder.mkdir()
    (folder / "vacio.csv").write_bytes(b"")
    for number in range(FILES - 1):
        text = "".join(f"{n},{n * number}\n" for n in range(50))
        (folder / f"datos {number}.csv").write_text(text, encoding="utf-8", newline="\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def take_port(port: int) -> socket.socket | None:
    """Ocupa uno de los puertos donde PyDrive2 espera al navegador, si queda libre."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError:
        listener.close()
        return None
    return listener


def free_login_port(wait: float = 60) -> bool:
    """Espera a que quede libre uno de los dos puertos; dice si lo ha conseguido."""
    end = time.monotonic() + wait
    while time.monotonic() < end:
        for port in LOGIN_PORTS:
            if listener := take_port(port):
                listener.close()
                return True
        time.sleep(1)
    return False


@contextlib.contextmanager
def login_ports_taken():
    """Mientras dura, los dos puertos están ocupados, por este programa o por otro."""
    taken = [take_port(port) for port in LOGIN_PORTS]
    try:
        yield
    finally:
        for listener in filter(None, taken):
            listener.close()
