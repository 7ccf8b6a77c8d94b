"""El entorno: las mismas versiones por pip, por conda y en cualquier sistema."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import distributions
from itertools import product
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPO = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((REPO / ".github" / "workflows").glob("*.yml"))

PYTHONS = ["3.11", "3.12", "3.13"]
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"},
}


def read_requirements(path):
    """Los requisitos de un fichero, sin comentarios ni opciones como `-c` o `-r`."""
    text = path.read_text("utf-8")
    lines = [re.sub(r"(^|\s+)#.*", "", line).strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def pins(requirements):
    """Nombre normalizado -> versión, de requisitos fijados con `==`."""
    result = {}
    for requirement in requirements:
        operators = [specifier.operator for specifier in requirement.specifier]
        assert operators == ["=="], f"{requirement} no fija una versión"
        (specifier,) = requirement.specifier
        result[canonicalize_name(requirement.name)] = specifier.version
    return result


def constraints_for(**environment):
    """Los pins de constraints.txt que valen en un entorno; sin argumentos, en este."""
    requirements = read_requirements(REPO / "constraints.txt")
    applicable = [r for r in requirements if not r.marker or r.marker.evaluate(environment)]
    names = [canonicalize_name(r.name) for r in applicable]
    assert len(names) == len(set(names)), "un paquete tiene dos versiones para el mismo entorno"
    return pins(applicable)


def capture(command, **kwargs):
    """Ejecuta una orden y guarda lo que escribe."""
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", **kwargs
    )


def run(program, *args, **kwargs):
    """Ejecuta un programa instalado en este entorno y devuelve el resultado."""
    path = shutil.which(program, path=sysconfig.get_path("scripts"))
    assert path, f"{program} no está instalado en este entorno: pip install -r requirements-dev.txt"
    return capture([path, *map(str, args)], **kwargs)


@pytest.fixture(scope="module")
def direct():
    """Los paquetes que pide un participante."""
    return read_requirements(REPO / "requirements.txt")


@pytest.fixture(scope="module")
def dev():
    """Los que se añaden para los tests."""
    return read_requirements(REPO / "requirements-dev.txt")


# --- Las versiones ---------------------------------------------------------------------------


def test_dvc_knows_google_drive():
    doctor = run("dvc", "doctor", cwd=REPO)
    assert "gdrive (pydrive2 = " in doctor.stdout


@pytest.mark.parametrize(("python", "system"), list(product(PYTHONS, SYSTEMS)))
def test_constraints_have_every_direct_pin_on_every_system(python, system, direct, dev):
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    constraints = constraints_for(**environment, **SYSTEMS[system])
    wanted = pins(direct + dev)
    assert wanted == {name: constraints.get(name) for name in wanted}


def test_constraints_cover_what_is_installed():
    constraints = constraints_for()
    # pip viene con el entorno; setuptools y wheel, con algunos.
    tools = {"pip", "setuptools", "wheel"} - constraints.keys()
    installed = {canonicalize_name(d.name): Version(d.version).public for d in distributions()}
    missing = installed.keys() - constraints.keys() - tools
    assert not missing, f"{sorted(missing)} no están en constraints.txt: make constraints"
    different = {
        name: (version, constraints[name])
        for name, version in installed.items()
        if name in constraints and version != constraints[name]
    }
    assert not different, f"instalado y constraints.txt no coinciden: {different}"


def test_constraints_name_no_server_and_no_local_path():
    text = (REPO / "constraints.txt").read_text("utf-8")
    assert not re.search(r"://|file:|^\s*-", text, re.MULTILINE)


# --- conda -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conda():
    text = (REPO / "conda-environment.yaml").read_text("utf-8")
    return yaml.safe_load(text)["dependencies"]


def test_conda_takes_from_pip_what_requirements_says(conda, direct):
    (from_pip,) = [entry["pip"] for entry in conda if isinstance(entry, dict)]
    assert from_pip == [str(requirement) for requirement in direct]


def test_conda_itself_gives_only_python_pip_and_git(conda):
    """Tres nombres que existen en todos los sistemas, sin la marca de compilación de ninguno."""
    from_conda = [entry for entry in conda if isinstance(entry, str)]
    name, python = from_conda[0].split("=")
    assert (name, from_conda[1:]) == ("python", ["pip", "git"])
    assert python in PYTHONS


# --- cryptography y Google Drive -------------------------------------------------------------
# PyDrive2 1.21.3 pide cryptography<44. Si otro paquete pide una más nueva, pip podría dar un
# rodeo: PyDrive2 1.21.2, que acepta cualquiera y con el que `dvc push` a Google Drive falla.


def make_wheel(folder, name, version, requires=()):
    """Un paquete vacío con los metadatos que mira pip para elegir versiones."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Las versiones del rodeo, con los requisitos de las de verdad; el resto está instalado."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "cryptography", "50.0.2")
    make_wheel(folder, "pyOpenSSL", "22.0.0", ["cryptography>=35.0"])
    make_wheel(folder, "PyDrive2", "1.21.2", ["pyOpenSSL<=24.2.1,>=19.1.0"])
    return folder


def resolve(wheels, *args):
    """Lo que pip haría con esos requisitos, sin instalar nada y sin internet."""
    options = ["--isolated", "--dry-run", "--no-index", "--find-links", wheels]
    command = [sys.executable, "-m", "pip", "install", *options, *args]
    return capture(command, cwd=REPO)


def test_a_newer_cryptography_is_refused(wheels):
    assert resolve(wheels, "-r", "requirements.txt").returncode == 0
    refused = resolve(wheels, "-r", "requirements.txt", "cryptography>=44")
    assert refused.returncode == 1
    assert "conflicting dependencies" in refused.stderr
    assert "cryptography>=44" in refused.stdout + refused.stderr


def test_the_pin_of_pydrive2_refuses_it_even_without_constraints(wheels, direct):
    """conda-environment.yaml no lee constraints.txt: ahí solo está el pin."""
    refused = resolve(wheels, *map(str, direct), "cryptography>=44")
    assert refused.returncode == 1
    assert "conflicting dependencies" in refused.stderr

    without_pin = [str(requirement) for requirement in direct if requirement.name != "PyDrive2"]
    detour = resolve(wheels, *without_pin, "cryptography>=44")
    assert detour.returncode == 0
    assert "PyDrive2-1.21.2" in detour.stdout


# --- GitHub Actions y los editores -----------------------------------------------------------


def actionlint(*args, **kwargs):
    # Sin los programas opcionales, que estarían en unas máquinas y en otras no.
    return run("actionlint", "-no-color", "-shellcheck=", "-pyflakes=", *args, **kwargs)


def test_workflows_are_valid():
    assert [path.name for path in WORKFLOWS] == ["tests.yml", "weekly.yml"]
    checked = actionlint(*WORKFLOWS)
    assert checked.returncode == 0, checked.stdout


def test_actionlint_sees_a_mistake():
    mistaken = WORKFLOWS[0].read_text("utf-8").replace("matrix.python", "matrix.pyton")
    assert 'property "pyton" is not defined' in actionlint("-", input=mistaken).stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_only_read_and_name_a_major_version(path):
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/none@v0"))


def test_tests_run_on_every_system_and_python():
    workflow = yaml.safe_load((REPO / ".github/workflows/tests.yml").read_text("utf-8"))
    assert workflow["jobs"]["taller"]["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "windows-latest", "macos-latest"],
        "python": PYTHONS,
    }


def test_weekly_run_installs_the_same_packages_without_pins(direct, dev):
    workflow = yaml.safe_load((REPO / ".github/workflows/weekly.yml").read_text("utf-8"))
    steps = workflow["jobs"]["newest"]["steps"]
    (command,) = [s["run"] for s in steps if s.get("run", "").startswith("python -m pip install")]
    packages = [Requirement(word.strip('"')) for word in command.split()[4:]]
    assert not [r for r in packages if "==" in str(r)]
    assert {r.name for r in packages} == {r.name for r in direct + dev}


def test_the_editors_files_agree():
    container = json.loads((REPO / ".devcontainer/devcontainer.json").read_text("utf-8"))
    recommended = json.loads((REPO / ".vscode/extensions.json").read_text("utf-8"))
    assert container["customizations"]["vscode"]["extensions"] == recommended["recommendations"]
    assert "-r requirements.txt" in container["postCreateCommand"]
