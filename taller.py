"""Ayuda para hacer el taller en una carpeta tuya.

    python taller.py nuevo ../mi-taller    crea la carpeta, con todo lo que hace falta
    python taller.py usar single           copia una versión del pipeline en dvc.yaml
    python taller.py comprobar             mira en qué paso estás y dice cuál es el siguiente

Las versiones son single (valores en el código), args (valores como opciones) y loop (varias
ejecuciones). `nuevo` se usa en el repositorio clonado; las otras dos, en tu carpeta. Funciona
antes de instalar nada: solo usa la biblioteca estándar de Python.
"""

import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDERS = ["data", "evaluations", "metrics", "models", "partitions"]
FILES = [
    *["taller.py", "prepare_data.py", "model.py", "train.py", "eval.py", "checks.py"],
    *["params.yaml", "requirements.txt", "constraints.txt", "conda-environment.yaml"],
    *[".gitattributes", ".dvcignore"],
]
GITIGNORE = """\
# Lo que Git no debe guardar. DVC añadirá /data al final.
.venv/
__pycache__/
*.tmp
dvc_plots/
"""
VERSIONS = {
    "single": "single_run_dvc.yaml",
    "args": "single_run_dvc_args.yaml",
    "loop": "loop_template_dvc.yaml",
}
# Para que los programas a los que se llama hablen en inglés y en UTF-8, y no abran el navegador.
QUIET = {"LANGUAGE": "C", "PYTHONIOENCODING": "utf-8", "GDRIVE_NON_INTERACTIVE": "1"}


class Refusal(Exception):
    """No se puede hacer lo que se pide. El mensaje dice por qué y qué hacer, en español."""


def call(*command, timeout=60):
    """Ejecuta un programa sin dejarle preguntar nada. Devuelve `(estado, salida, errores)`.

    El estado es `None` si el programa no está o no ha terminado en `timeout` segundos.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(os.environ, **QUIET),
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return None, "", f"no ha terminado en {timeout} segundos"
    except OSError as error:
        return None, "", f"no se puede ejecutar «{command[0]}»: {error.strerror or error}"
    output, errors = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return done.returncode, output.rstrip("\r\n"), errors


# --- nuevo -------------------------------------------------------------------------------------


def training_data():
    """El contenido de training.csv: el de data/, o el del remote que va en el repositorio."""
    path = HERE / "data" / "training.csv"
    if path.exists():
        return path.read_bytes()
    md5 = re.search(r"md5: ([0-9a-f]{32}\.dir)", (HERE / "data.dvc").read_text(encoding="utf-8"))
    listing = json.loads(embedded(md5.group(1)).decode("utf-8"))
    return embedded(next(f["md5"] for f in listing if f["relpath"] == "training.csv"))


def embedded(md5):
    """Un objeto del remote incluido: su nombre es el hash de lo que contiene."""
    path = HERE / "remote" / "files" / "md5" / md5[:2] / md5[2:]
    content = path.read_bytes()
    if hashlib.md5(content).hexdigest() != md5[:32]:
        raise Refusal(f"{path} está dañado. Clona otra vez el repositorio.")
    return content


def contents_of_new_folder():
    """Lo que habrá en la carpeta nueva: `dict` de ruta a bytes."""
    if not (HERE / "versions").is_dir():
        raise Refusal(
            "«nuevo» se usa en el repositorio clonado, donde está la carpeta versions. "
            f"Este taller.py está en {HERE}"
        )
    sources = [HERE / name for name in FILES] + sorted((HERE / "versions").glob("*.*"))
    contents = {path.name: path.read_bytes() for path in sources}
    contents[".gitignore"] = GITIGNORE.encode("utf-8")
    contents["dvc.yaml"] = b""
    contents["data/training.csv"] = training_data()
    return contents


def new(folder):
    """Crea la carpeta del participante. No toca nada de lo que ya existe."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder} es un fichero. Elige otro nombre.")
    if folder.is_dir() and any(folder.iterdir()):
        raise Refusal(f"{folder} ya existe y no está vacía: no se toca. Elige otro nombre.")
    contents = contents_of_new_folder()

    fill(folder, contents)
    print(f"Creada {folder}: {len(contents)} ficheros, con dvc.yaml vacío y tus datos en data.")
    if HERE in folder.resolve().parents:
        print("Está dentro del repositorio del taller. Funciona, pero es mejor ponerla fuera.")
    print_next(f"cd {quoted(folder)}", "python taller.py comprobar")


def fill(folder, contents):
    """Escribe la carpeta entera; si algo falla a medias, quita lo que llevaba escrito."""
    is_ours = not folder.exists()
    try:
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except BaseException:
        for path in [folder] if is_ours else folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def quoted(path):
    """La ruta, entre comillas dobles si el terminal las necesita."""
    return str(path) if re.fullmatch(r"[\w./\\:~-]+", str(path)) else f'"{path}"'


def print_next(*commands):
    print("\nSiguiente:")
    for command in commands:
        print(f"    {command}")


# --- usar --------------------------------------------------------------------------------------


def read(path):
    """El texto de un fichero, o «» si no está."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def check_place():
    """Exige que la carpeta actual sea la de un participante."""
    if Path(VERSIONS["single"]).exists():
        return
    if Path("versions").is_dir():
        raise Refusal(
            "esta carpeta es el repositorio clonado, y el taller se hace en una tuya. "
            "Créala con: python taller.py nuevo ../mi-taller"
        )
    raise Refusal(
        f"{Path.cwd()} no es una carpeta del taller. Entra en la tuya con cd, o créala "
        "desde el repositorio clonado con: python taller.py nuevo ../mi-taller"
    )


def known_version(text):
    """La versión que es ese dvc.yaml, letra por letra, o `None`."""
    return next((name for name, file in VERSIONS.items() if read(file) == text), None)


def is_in_git(path):
    """Si lo que dice ahora el fichero está en algún commit, de donde se puede recuperar."""
    status, blob, _ = call("git", "hash-object", path)
    if status != 0:
        return False
    status, found, _ = call("git", "log", "--all", "-1", "--format=%h", f"--find-object={blob}")
    return status == 0 and found != ""


def use(version):
    """Copia una de las tres versiones en dvc.yaml y enseña lo que cambia."""
    check_place()
    source = VERSIONS.get(version, version)
    if source not in VERSIONS.values():
        raise Refusal(f"no hay ninguna versión «{version}». Las que hay: {', '.join(VERSIONS)}.")
    old, new_text = read("dvc.yaml"), read(source)
    if old == new_text:
        print(f"dvc.yaml ya es igual que {source}.")
    else:
        if old.strip() and not known_version(old) and not is_in_git("dvc.yaml"):
            raise Refusal(
                "has cambiado dvc.yaml, y tus cambios se perderían porque no están en ningún "
                'commit. Guárdalos antes: git add dvc.yaml, y git commit -m "Mi pipeline"'
            )
        with open("dvc.yaml", "w", encoding="utf-8", newline="\n") as file:
            file.write(new_text)
        show_change(old, new_text, source)
    print_next("dvc repro")


def show_change(old, new_text, source):
    """Escribe las líneas que cambian; si antes no había nada, solo cuántas hay ahora."""
    lines = new_text.splitlines()
    if not old.strip():
        print(f"dvc.yaml estaba vacío. Ahora es {source}, {len(lines)} líneas: ábrelo y míralo.")
        return
    print(f"dvc.yaml es ahora {source}. Lo que cambia (- antes, + ahora):\n")
    changes = difflib.unified_diff(old.splitlines(), lines, n=0, lineterm="")
    for line in list(changes)[2:]:
        print("" if line.startswith("@@") else f"    {line}")


# --- principio ---------------------------------------------------------------------------------


def main():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # consolas de Windows sin UTF-8
    commands = {("nuevo", 2): new, ("usar", 2): use}
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return
    command = commands.get((words[0], len(words)))
    if not command:
        print(f"No entiendo «{' '.join(words)}».\n\n{__doc__}", file=sys.stderr)
        sys.exit(2)
    try:
        command(*words[1:])
    except Refusal as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: no se puede leer o escribir {error.filename} ({error.strerror}).")


if __name__ == "__main__":
    main()
