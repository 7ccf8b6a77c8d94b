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
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import urllib.error
import urllib.request
from collections import namedtuple
from functools import lru_cache
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
QUIET["DVC_NO_ANALYTICS"] = "1"
QUIET["PYTHONSAFEPATH"] = "1"  # un json.py del participante no debe estorbar a DVC


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


# --- comprobar ---------------------------------------------------------------------------------

# `done` es None si no se ha podido comprobar; `command`, lo que hay que teclear, y `why`, para qué.
Step = namedtuple("Step", "done title command why", defaults=("", ""))

INSTALL = "python -m pip install -r requirements.txt"
SYNCED = ("onedrive", "googledrive", "google drive", "mi unidad", "my drive", "dropbox", "icloud")
DRIVE = "Más, en docs/google-drive.md del repositorio clonado."
REASONS = {  # lo que escribe DVC cuando no llega al remote, y lo que quiere decir
    "invalid_client": f"el secreto del cliente de Google no es ese: escríbelo otra vez. {DRIVE}",
    "invalid_grant": f"el permiso de Google ha caducado: hay que entrar otra vez. {DRIVE}",
    "Non interactive mode": f"aún no has entrado en Google: se abrirá el navegador. {DRIVE}",
    "File not found": f"el ID de la carpeta está mal, o no la ve tu cuenta de Google. {DRIVE}",
    "HttpError 403": f"tu cuenta de Google no tiene permiso: pide ser Editor. {DRIVE}",
    "acquire lock": "hay otra orden de DVC en marcha en esta carpeta: espera a que termine.",
    "Unable to find the server": "no se llega a Google: mira si hay conexión.",
    "onnect": "no se llega al remote: mira si hay conexión y si la dirección está bien escrita.",
}


@lru_cache(maxsize=99)
def git(*words):
    return call("git", "--no-optional-locks", *words, timeout=20)


@lru_cache(maxsize=99)
def dvc(*words):
    is_here = importlib.util.find_spec("dvc")
    return call(*([sys.executable, "-m", "dvc"] if is_here else ["dvc"]), *words)


def reason(errors):
    """Por qué ha fallado una orden de DVC, en una línea."""
    known = [text for sign, text in REASONS.items() if sign in errors]
    lines = [line for line in errors.splitlines() if line.strip()] or ["no dice por qué"]
    return known[0] if known else next((x for x in lines if x.startswith("ERROR")), lines[-1])


def python_step():
    version = ".".join(map(str, sys.version_info[:3]))
    return Step(
        (3, 11) <= sys.version_info[:2] <= (3, 13),
        f"Python {version}",
        "conda activate taller-dvc",
        "El taller necesita Python 3.11, 3.12 o 3.13. Activa su entorno, o créalo como dice "
        "docs/entornos.md en el repositorio clonado.",
    )


def packages_step():
    title = "paquetes de requirements.txt"
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7
        return Step(None, title, INSTALL, "Con este Python no se puede comprobar.")

    wrong = []
    for name, wanted in re.findall(r"(?m)^([\w.-]+)==([\w.]+)", read("requirements.txt")):
        try:
            found = metadata.version(name).split("+")[0]  # torch puede ser 2.13.0+cpu
        except metadata.PackageNotFoundError:
            found = "no está"
        if found != wanted:
            wrong.append(f"{name} {wanted} ({found})")
    why = f"En este Python, {sys.executable}, faltan o son otros: {', '.join(wrong)}. "
    why += "Si ya los instalaste, es que el entorno del taller no está activado: actívalo."
    return Step(not wrong, title, INSTALL, why)


def environment_step():
    """El `python` y el `dvc` que encuentra el terminal tienen que ser de este mismo entorno."""
    title = "python y dvc, del mismo entorno"
    activate = "Activa el entorno del taller en este terminal y repite."
    found = shutil.which("python")
    prefix = call("python", "-c", "import sys; print(sys.prefix)", timeout=20)[1] if found else ""
    if not prefix or not same(prefix, sys.prefix):
        why = f"dvc repro ejecutará «python», que aquí es {found or 'ninguno'}, y este es "
        return Step(False, title, "conda activate taller-dvc", f"{why}{sys.executable}. {activate}")
    ours = [Path(found).parent, sysconfig.get_path("scripts")]
    ours += [sysconfig.get_path("scripts", name) for name in sysconfig.get_scheme_names()]
    program = shutil.which("dvc")
    if not program or not any(same(Path(program).parent, folder) for folder in ours):
        why = f"La orden «dvc» es de otro entorno: {program or 'no se encuentra'}. {activate}"
        return Step(False, title, "conda activate taller-dvc", why)
    return Step(True, title)


def same(one, other):
    return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def git_step():
    status, output, _ = git("--version")
    why = "Sin Git, DVC no funciona. Después de instalarlo, abre otro terminal."
    return Step(status == 0, output or "git", "conda install git", why)


def identity_step():
    for key, value in (("user.name", "Tu Nombre"), ("user.email", "tu@correo.example")):
        if not git("config", key)[1]:
            command = f'git config --global {key} "{value}"'
            return Step(False, "nombre y correo en Git", command, "Aparece en cada commit.")
    return Step(True, "nombre y correo en Git")


def git_init_step():
    status, prefix, errors = git("rev-parse", "--show-prefix")
    why = "Crea el repositorio de Git de esta carpeta."
    if "dubious ownership" in errors:
        command = f'git config --global --add safe.directory "{Path.cwd().as_posix()}"'
        why = "Git no se fía de esta carpeta porque en el disco consta que es de otro usuario."
        return Step(False, "git init", command, why)
    if status == 0 and prefix:
        parent = git("rev-parse", "--show-toplevel")[1]
        why = f"El .git que se usa aquí es el de {parent}, la carpeta de arriba. {why}"
    return Step(status == 0 and not prefix, "git init", "git init", why)


def dvc_init_step():
    why = "Crea .dvc, con la configuración de DVC y su caché."
    return Step(Path(".dvc/config").is_file(), "dvc init", "dvc init", why)


def conflict_steps():
    """Una línea más por cada fichero en el que Git ha dejado las marcas de un conflicto."""
    for name in ("dvc.lock", "dvc.yaml", "data.dvc", "params.yaml"):
        if re.search(r"(?m)^(<{7}|>{7}) ", read(name)):
            command = f"git checkout --ours {name}"
            why = f"Hay marcas de conflicto en {name}, y así DVC no lo entiende. Esto se queda con "
            why += "tu versión; con --theirs, con la que llegaba. "
            if not git("ls-files", "--unmerged", "--", name)[1]:
                command = f"git log --oneline -- {name}"
                why = f"Hay marcas de conflicto en {name}, y ya están en un commit. Elige uno de "
                why += f"antes y recupéralo: git checkout HASH -- {name}. "
            yield Step(False, f"{name}, sin conflictos", command, f"{why}Después, dvc repro.")


def data_step():
    title = "dvc add data"
    if git("ls-files", "--", "data")[1]:
        why = "Git sigue la carpeta data, y de los datos se ocupa DVC. Esto los saca de Git sin "
        why += "borrarlos. Después: git commit, y dvc add data."
        return Step(False, title, "git rm -r --cached data", why)
    is_added = Path("data.dvc").is_file()
    if not Path("data/training.csv").is_file():
        why = "Falta data/training.csv. "
        why += "Se trae del remote." if is_added else "Cópialo del repositorio clonado."
        return Step(False, title, "dvc pull data" if is_added else "", why)
    why = "Copia los datos en la caché y anota su huella en data.dvc, que es lo que va a Git."
    return Step(is_added, title, "dvc add data", why)


@lru_cache(maxsize=99)
def settings():
    """La configuración de DVC: `dict` de opción a (valor, fichero); `None` si no se puede leer."""
    status, output, _ = dvc("config", "--list", "--show-origin")
    if status != 0:
        return None
    found = re.findall(r"(?m)^([^\t\r\n]*)\t([^=\r\n]+)=(.*?)\r?$", output)
    return {key: (value, Path(origin)) for origin, key, value in found}


def default_remote():
    """`(nombre, dirección)` del remote por defecto, o «» en lo que falte."""
    name = (settings() or {}).get("core.remote", ("", ""))[0]
    return name, (settings() or {}).get(f"remote.{name}.url", ("", ""))[0]


def remote_step():
    title = "remote por defecto"
    name, url = default_remote()
    if settings() is None:
        return Step(None, title, "dvc config --list", reason(dvc("config", "--list")[2]))
    if not url:
        command = "dvc remote add --default myremote ../almacen"
        why = "Dice dónde se comparten los datos: una carpeta, o gdrive:// y el ID de una de Drive."
        return Step(False, title, command, why)
    command, why = drive_problem(name) if url.startswith("gdrive://") else ("", "")
    return Step(not why, f"{title}: {name}", command, why)


def drive_problem(name):
    """Lo que le falta a un remote de Google Drive: `(orden, motivo)`, vacíos si no falta nada."""
    if not importlib.util.find_spec("dvc_gdrive"):
        return INSTALL, "Para Google Drive hace falta dvc-gdrive, y en este Python no está."
    options = ["gdrive_client_id", "gdrive_client_secret"]
    found = {option: settings().get(f"remote.{name}.{option}") for option in options}
    for option in options:
        if found[option] and found[option][1] == Path(".dvc/config"):
            why = f"{option} está en .dvc/config, que va a Git. Quítalo, y escríbelo con --local. "
            return f"dvc remote modify --unset {name} {option}", why + DRIVE
    if f"remote.{name}.gdrive_use_service_account" in settings():
        return "", ""
    for option in options:
        if not found[option]:
            why = "Google bloquea el cliente que trae DVC: hace falta el de quien organiza. "
            return f"dvc remote modify --local {name} {option} VALOR", why + DRIVE
    return "", ""


def unreachable(url):
    """Por qué no se llega al remote, en los casos en que DVC daría por hecho que está vacío."""
    folder = Path(url)
    can_be_made = folder.parent.is_dir() and not folder.exists()
    if folder.is_absolute() and not folder.is_dir() and not can_be_made:
        return f"no existe la carpeta del remote, {url}. Conecta su disco, o corrige la ruta."
    if url.startswith("http"):
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except urllib.error.HTTPError:
            pass  # ha contestado
        except (OSError, ValueError):
            return REASONS["onnect"]
    return ""


@lru_cache(maxsize=99)
def not_in_remote():
    """Lo que aún no está en el remote: `(lista de rutas, motivo)`; `None` si no se puede saber."""
    trouble = unreachable(default_remote()[1])
    if trouble:
        return None, trouble
    status, output, errors = dvc("status", "--cloud", "--json")
    if status != 0:
        return None, reason(errors)
    states = json.loads(output or "{}")
    paths = [path.replace("\\", "/") for path, state in states.items() if state != "deleted"]
    return sorted(paths), ""


def pushed_step(title, command, is_asked):
    """Si lo que interesa (las rutas que cumplen `is_asked`) está en el remote."""
    if not default_remote()[1]:
        return Step(False, title, command, "Falta el remote.")
    paths, trouble = not_in_remote()
    if paths is None:
        return Step(None, title, command, f"No se ha podido comprobar: {trouble}")
    missing = [path for path in paths if is_asked(path)]
    why = f"Falta subir: {', '.join(missing[:3])}{'…' if missing[3:] else ''}. "
    if missing and is_published():
        why += (
            "Ya has hecho git push, así que los demás tienen la huella y no los datos: su dvc pull "
        )
        why += "falla. Para que no vuelva a pasar: dvc install."
    return Step(not missing, title, command, why)


def is_published():
    """Si data.dvc o dvc.lock están ya, tal como son ahora, en el servidor de Git."""
    for name in ("data.dvc", "dvc.lock"):
        status, blob, _ = git("rev-parse", "@{upstream}:" + name)
        if status == 0 and blob == git("hash-object", name)[1]:
            return True
    return False


def push_data_step():
    is_data = re.compile(r"data(/|$)").match
    return pushed_step("dvc push data", "dvc push data", is_data)


def pipeline_step():
    text = read("dvc.yaml")
    version = known_version(text)
    scripts = {"single": "train_single.py", "args": "train_args.py", "loop": "foreach"}
    like = next((name for name, sign in scripts.items() if sign in text), None)
    is_filled = bool(re.search(r"(?m)^stages:", text))
    title = f"dvc.yaml: versión {version}" if version else "dvc.yaml lleno"
    if is_filled and not version:
        title = f"dvc.yaml: versión {like}, con cambios tuyos" if like else "dvc.yaml: el tuyo"
    why = "dvc.yaml está vacío: aún no hay pipeline. Empieza por la versión single."
    return Step(is_filled, title, "python taller.py usar single", why)


def repro_step():
    if not pipeline_step().done:
        return Step(False, "dvc repro")
    status, output, errors = dvc("status", "--json")
    if status != 0:
        why = f"No se ha podido comprobar: {reason(errors)}"
        return Step(None, "dvc repro", "dvc status", why)
    changed = list(json.loads(output or "{}"))
    why = f"Ha cambiado algo en: {', '.join(changed[:4])}{'…' if changed[4:] else ''}."
    return Step(not changed, "dvc repro", "dvc repro", why)


def push_step():
    if not repro_step().done:
        return Step(False, "dvc push", "dvc push", "Primero, dvc repro.")
    return pushed_step("dvc push", "dvc push", bool)


def commit_step():
    status, output, errors = git("status", "--porcelain")
    if status != 0:
        return Step(None, "git commit", "git status", f"No se ha podido comprobar: {errors}")
    is_staged = all(line[1:2] == " " for line in output.splitlines())
    command = 'git commit -m "Lo que he hecho"' if is_staged else "git add ."
    why = "El código, data.dvc, dvc.lock y las métricas se guardan en Git."
    return Step(not output, "git commit", command, why)


FIRST = [python_step, packages_step, environment_step, git_step, identity_step]
FIRST += [git_init_step, dvc_init_step]
LATER = {
    "dvc add data": data_step,
    "remote por defecto": remote_step,
    "dvc push data": push_data_step,
    "dvc.yaml lleno": pipeline_step,
    "dvc repro": repro_step,
    "dvc push": push_step,
    "git commit": commit_step,
}


def look():
    """Los pasos, en orden, cada uno hecho o sin hacer. No cambia nada."""
    steps = [step() for step in FIRST]
    if not (git_init_step().done and dvc_init_step().done):
        # Sin ellos, Git y DVC contestarían por una carpeta de más arriba.
        return steps + [Step(False, title) for title in LATER]
    return [*steps, *conflict_steps(), *(step() for step in LATER.values())]


def check():
    """Escribe una línea por paso y la orden siguiente. Sale con 1 si falta algo."""
    check_place()
    steps = look()
    for step in steps:
        print(f"[{ {True: 'x', False: ' ', None: '?'}[step.done] }] {step.title}")
    synced = [part for part in Path.cwd().parts if part.lower().startswith(SYNCED)]
    if synced:
        print(f"\nAviso: la carpeta está dentro de «{synced[0]}», que mueve y bloquea ficheros")
        print("mientras DVC trabaja con ellos. Llévala a otro sitio del disco.")
    pending = [step for step in steps if not step.done]
    if not pending:
        print("\nTodo hecho.")
        return
    print_next(*filter(None, [pending[0].command]))
    print(
        textwrap.fill(
            f"Por qué: {pending[0].why}", 90, break_long_words=False, break_on_hyphens=False
        )
    )
    sys.exit(1)


# --- principio ---------------------------------------------------------------------------------


def main():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # consolas de Windows sin UTF-8
    commands = {("nuevo", 2): new, ("usar", 2): use, ("comprobar", 1): check}
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
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"Error: no se puede leer o escribir {error.filename} ({error.strerror}).")


if __name__ == "__main__":
    main()
