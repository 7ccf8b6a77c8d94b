"""Ctrl-C, `kill -9`, una etapa que falla y un objeto estropeado: nada se pierde."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows no tiene estas señales")

OUTPUTS = ("partitions", "models", "metrics", "evaluations")
# Lo que devuelve el último estado bueno después de un `dvc repro` que falla, como en los docs.
RESTORE = [
    "git restore data.dvc dvc.lock params.yaml metrics evaluations",
    "dvc checkout",
]


def snapshot(folder, *names):
    """Los bytes de todo lo que produce el pipeline, y los de dvc.lock."""
    paths = [path for name in OUTPUTS for path in (folder / name).rglob("*") if path.is_file()]
    paths += [folder / name for name in ("dvc.lock", "data.dvc", "data/training.csv", *names)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


@pytest.fixture(scope="module")
def small(tmp_path_factory, finished, run):
    """Un clon con una sola ejecución, para que `dvc repro` tarde menos. Nadie lo cambia."""
    folder = tmp_path_factory.mktemp("una") / "taller"
    shutil.copytree(finished, folder, symlinks=True)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    before, after = text.index("    lento:"), text.index("    rapido:")
    (folder / "params.yaml").write_text(text[:before] + text[after:], encoding="utf-8")
    for name in OUTPUTS:
        for path in [*(folder / name).glob("lento.*"), *(folder / name).glob("prudente.*")]:
            path.unlink()
    run("dvc", "repro", "--quiet", cwd=folder)
    run("git", "commit", "--all", "--quiet", "--message", "Una ejecución", cwd=folder)
    return folder


@pytest.fixture
def workshop(tmp_path, small):
    """Una copia propia de `small`, para cambiarla."""
    return shutil.copytree(small, tmp_path / "taller", symlinks=True)


@contextlib.contextmanager
def started(env, *command, cwd, **variables):
    """Un proceso en su propio grupo, como desde una terminal. Al salir no queda ninguno."""
    if command[0] == "python":
        command = [sys.executable, *command[1:]]
    with (cwd.parent / "errores.txt").open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def errors_of(folder):
    return (folder.parent / "errores.txt").read_text(encoding="utf-8")


def wait_until(condition, process, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, "ha terminado antes de poder interrumpirlo"
        assert time.monotonic() < deadline, "no ha llegado a donde se quería interrumpir"
        time.sleep(0.002)


def runs(process, script):
    """Si `process`, o un hijo suyo, está ejecutando `script`."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if script in child.cmdline():
                    return True
    return False


# --- Ctrl-C ------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    ("command", "loaded"),
    [
        (["prepare_data.py"], "numpy"),
        (["train.py"], "numpy"),
        (["eval.py"], "torch.types"),
        (["train.py", "--epochs", "1000000"], "model"),  # ya está entrenando
    ],
    ids=["prepare_data", "train", "eval", "entrenando"],
)
def test_ctrl_c_ends_at_once(workshop, env, command, loaded):
    before = snapshot(workshop)
    # Con esta variable, Python escribe en la salida de errores cada módulo que termina de cargar.
    with started(env, "python", *command, cwd=workshop, PYTHONPROFILEIMPORTTIME="1") as process:
        wait_until(lambda: f"| {loaded}\n" in errors_of(workshop).replace("  ", ""), process)
        time.sleep(0.5 if loaded == "model" else 0)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.wait(20) == 130
        assert time.monotonic() - start < 5
    assert "Interrumpido" in errors_of(workshop)
    assert "Traceback" not in errors_of(workshop)
    assert snapshot(workshop) == before


@posix
def test_ctrl_c_while_writing_leaves_no_half_file(workshop, env):
    lines = [f"{n / 8},{n / 4}\n" for n in range(1_000_000)]
    (workshop / "grande.csv").write_text("celsius,fahrenheit\n" + "".join(lines), encoding="utf-8")
    before = snapshot(workshop)
    with started(
        env, "python", "prepare_data.py", "--input", "grande.csv", cwd=workshop
    ) as process:
        wait_until(lambda: any((workshop / "partitions").glob("*.tmp")), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert "Traceback" not in errors_of(workshop)
    assert snapshot(workshop) == before  # y por tanto ningún .tmp


@posix
def test_ctrl_c_in_dvc_repro(workshop, env, run):
    before = snapshot(workshop)
    replace(workshop / "params.yaml", "epochs: 100", "epochs: 1000000")
    with started(env, "dvc", "repro", cwd=workshop) as process:
        wait_until(lambda: runs(process, "train.py"), process)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)  # como la terminal: a todos los del grupo
        assert process.wait(30) != 0
    assert "Traceback" not in errors_of(workshop)
    for command in RESTORE:
        run(*command.split(), cwd=workshop)
    assert snapshot(workshop) == before


# --- Una etapa que falla -----------------------------------------------------------------------


def break_the_data(folder):
    with (folder / "data" / "training.csv").open("a", encoding="utf-8") as file:
        file.write("malo,3\n")


def break_the_learning_rate(folder):
    """Cambia también los datos: la primera etapa termina bien y dvc.lock ya no es el de antes."""
    with (folder / "data" / "training.csv").open("a", encoding="utf-8") as file:
        file.write("3,37.4\n")
    replace(folder / "params.yaml", "lr: 0.1", "lr: 50")


def break_the_evaluation(folder):
    replace(folder / "params.yaml", "lr: 0.1", "lr: 0.05")
    replace(folder / "eval.py", "def main():\n", "def main():\n    raise checks.InputError('a')\n")


@pytest.mark.parametrize(
    ("spoil", "stage"),
    [
        (break_the_data, "prepare"),
        (break_the_learning_rate, "train@rapido"),
        (break_the_evaluation, "evaluate@rapido"),
    ],
)
def test_the_last_good_state_comes_back(workshop, run, spoil, stage):
    before = snapshot(workshop)
    spoil(workshop)
    failed = run("dvc", "repro", cwd=workshop, status=None)
    assert failed.returncode != 0
    assert f"failed to reproduce '{stage}'" in failed.stderr
    assert "Traceback" not in failed.stderr
    for command in RESTORE:
        run(*command.split(), cwd=workshop)
    assert snapshot(workshop) == before
    if spoil is break_the_evaluation:
        run("git", "restore", "eval.py", cwd=workshop)
    assert run("git", "status", "--porcelain", cwd=workshop).stdout == ""
    assert "up to date" in run("dvc", "status", cwd=workshop).stdout


# --- kill -9 de dvc repro ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, small, run):
    """Cómo queda todo después de otro reparto y un `dvc repro` que nadie molesta."""
    folder = tmp_path_factory.mktemp("tranquilo") / "taller"
    shutil.copytree(small, folder, symlinks=True)
    replace(folder / "params.yaml", "  seed: 42\n\ntrain", "  seed: 43\n\ntrain")
    run("dvc", "repro", "--quiet", cwd=folder)
    return snapshot(folder)


@posix
@pytest.mark.parametrize("whole_group", [True, False], ids=["todo", "solo dvc"])
@pytest.mark.parametrize("script", ["prepare_data.py", "train.py", "eval.py"])
def test_kill_9_of_dvc_repro_loses_nothing(
    workshop, env, run, small, undisturbed, script, whole_group
):
    assert undisturbed["dvc.lock"] != snapshot(small)["dvc.lock"]
    replace(workshop / "params.yaml", "  seed: 42\n\ntrain", "  seed: 43\n\ntrain")
    with started(env, "dvc", "repro", cwd=workshop) as process:
        wait_until(lambda: runs(process, script), process)
        time.sleep(0.3)  # ha empezado, y ninguna etapa termina tan pronto
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait(10)
        assert snapshot(workshop) != undisturbed
        # Si solo se mata a dvc, su etapa sigue sola un rato mientras se repite todo.
        run("dvc", "repro", cwd=workshop)
    assert snapshot(workshop) == undisturbed
    assert "up to date" in run("dvc", "status", cwd=workshop).stdout


# --- El remote ---------------------------------------------------------------------------------


@pytest.fixture
def remote(tmp_path, workshop, run):
    """Una carpeta como remote, configurada como dicen los docs y guardada en un commit."""
    folder = tmp_path / "remote de clase"
    folder.mkdir()
    run("dvc", "remote", "add", "--default", "myremote", str(folder), cwd=workshop)
    run("dvc", "remote", "modify", "myremote", "verify", "true", cwd=workshop)
    run("git", "commit", "--all", "--quiet", "--message", "Mi remote", cwd=workshop)
    return folder


def clone(run, workshop, name):
    run("git", "clone", "--quiet", workshop, name, cwd=workshop.parent)
    return workshop.parent / name


@posix
def test_kill_9_of_dvc_push_loses_nothing(workshop, remote, env, run):
    for n in range(300):  # muchos ficheros, para que dé tiempo a matarlo
        text = f"{n}\n" * 20_000
        (workshop / "data" / f"lote{n}.txt").write_text(text, encoding="utf-8")
    run("dvc", "add", "--quiet", "data", cwd=workshop)
    run("git", "commit", "--all", "--quiet", "--message", "Más datos", cwd=workshop)

    def pushed():
        return len([path for path in remote.rglob("*") if path.is_file()])

    with started(env, "dvc", "push", "--jobs", "1", cwd=workshop) as process:
        wait_until(lambda: pushed() > 5, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    assert pushed() < 300
    run("dvc", "push", cwd=workshop)

    other = clone(run, workshop, "otro")
    run("dvc", "pull", cwd=other)
    assert snapshot(other) == snapshot(workshop)
    for n in range(300):
        name = f"data/lote{n}.txt"
        assert (other / name).read_bytes() == (workshop / name).read_bytes()


def object_of(remote, path):
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    return remote / "files" / "md5" / digest[:2] / digest[2:]


def damage(path):
    """Cambia un bit, como un disco que se estropea: el tamaño y los permisos son los mismos."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    path.chmod(mode)


def test_a_damaged_object_is_noticed_and_repaired(workshop, remote, run):
    run("dvc", "push", "--quiet", cwd=workshop)
    good = snapshot(workshop)
    stored = object_of(remote, workshop / "partitions" / "train.csv")
    damage(stored)

    other = clone(run, workshop, "otro")
    failed = run("dvc", "pull", cwd=other, status=None)
    assert failed.returncode != 0
    assert "partitions/train.csv" in failed.stderr.replace("\\", "/")
    assert not (other / "partitions" / "train.csv").exists()

    # Para DVC el objeto ya está en el remote: hasta que no se borra, push no lo arregla.
    run("dvc", "push", cwd=workshop)
    assert run("dvc", "pull", cwd=other, status=None).returncode != 0
    stored.chmod(0o644)  # Windows no borra lo que es de solo lectura
    stored.unlink()
    run("dvc", "push", cwd=workshop)
    run("dvc", "pull", cwd=other)
    assert snapshot(other) == good


def test_a_damaged_object_of_the_repository_is_noticed_and_repaired(finished, tmp_path, run):
    """El remote que viene con el taller: sus objetos los guarda Git, y Git los devuelve."""
    origin = run("git", "config", "remote.origin.url", cwd=finished).stdout.strip()
    run("git", "clone", "--quiet", origin, "taller", cwd=tmp_path)
    workshop = tmp_path / "taller"
    stored = object_of(workshop / "remote", finished / "models" / "rapido.pt")
    damage(stored)
    failed = run("dvc", "pull", cwd=workshop, status=None)
    assert failed.returncode != 0
    assert not (workshop / "models" / "rapido.pt").exists()
    run("git", "restore", "remote", cwd=workshop)
    run("dvc", "pull", cwd=workshop)
    assert snapshot(workshop) == snapshot(finished)
