"""La documentación se ejecuta: cada página, en una carpeta nueva, de principio a fin.

README.md se hace entero una sola vez, en una carpeta con espacios y acentos. Las demás páginas
empiezan donde él acaba, cada una en su copia. docs/google-drive.md tiene sus propias pruebas.
"""

import contextlib
import io
import re
import shlex
import shutil
from functools import cache
from urllib.parse import unquote

import pages
import pytest
from conftest import ROOT
from dvc.cli.parser import get_main_parser

FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
BLOCKS = {name: pages.read_page(text, name) for name, text in TEXTS.items()}
TYPED = [block for blocks in BLOCKS.values() for block in blocks if block.kind == "bash"]
RUN = {block.where.split(":")[0] for block in TYPED if "sin ejecutar" not in block.marks}
OTHERS = sorted(RUN - {"README.md", "docs/google-drive.md"})

# Los programas que se teclean igual en los tres sistemas, con el entorno activado.
PROGRAMS = {"cd", "dvc", "git", "mkdir", "python"}


@pytest.fixture(scope="session")
def road(tmp_path_factory, env, published):
    """La carpeta en la que se ha hecho README.md: con el clon, mi-taller y el remote."""
    base = tmp_path_factory.mktemp("camino") / "Prácticas de Íñigo"
    base.mkdir()
    pages.run_page(BLOCKS["README.md"], pages.Terminal(base, base, env, published))
    return base


def test_the_readme_reaches_the_end(road, run):
    folder = road / "mi-taller"
    assert run("git", "status", "--porcelain", cwd=folder).stdout == ""
    assert run("dvc", "status", cwd=folder).stdout.strip() == "Data and pipelines are up to date."
    assert "in sync" in run("dvc", "status", "--cloud", cwd=folder).stdout


@pytest.mark.parametrize("name", OTHERS)
def test_the_page_does_what_it_says(name, road, env, published, tmp_path):
    # Sin acentos: con ellos en la ruta, la cola de `dvc exp` no arranca (docs/problemas.md).
    base = shutil.copytree(road, tmp_path / "Practicas de Ada", symlinks=True)
    terminal = pages.Terminal(base, base / "mi-taller", env, published)
    pages.run_page(BLOCKS[name], terminal)


@pytest.mark.parametrize(
    "page",
    [
        "```bash\ngit statsu\n```",
        "```bash\ngit init\ndvc sttaus\ngit status\n```",
        "<details>\n\n```bash\ncd no-existe\n```\n\n</details>",
        "<!-- falla -->\n```bash\ngit --version\n```",
        "```bash\ngit init --quiet\ngit status --short\n```\n\n```text\nM no-existe\n```",
        "```bash\ngit --version\n```\n\n```text\n```",
    ],
    ids=["command", "middle", "cd", "unexpected-success", "missing-output", "extra-output"],
)
def test_a_wrong_block_is_noticed(page, env, published, tmp_path):
    with pytest.raises(AssertionError, match=r"^página:\d+: "):
        terminal = pages.Terminal(tmp_path, tmp_path, env, published)
        pages.run_page(pages.read_page(page, "página"), terminal)


@pytest.mark.parametrize(
    ("expected", "output", "is_same"),
    [
        (["[main f356d90] Empieza"], "[main 0123abc] Empieza\n", True),
        (["error medio, 0.04711"], "error medio, 0.04712\n", True),
        (["error medio, 0.04711"], "error medio, 9.268\n", False),
        (["2338 filas"], "2339 filas\n", False),
        (["a", "…", "d"], "a\nb\nc\nd\n", True),
        (["a", "d"], "a\nb\nd\n", False),
        (["…", "b"], "a\nb\nc\n", False),
    ],
)
def test_outputs_are_compared_without_what_always_changes(expected, output, is_same):
    assert (pages.difference(expected, output) == "") == is_same


def test_every_block_has_a_known_kind():
    kinds = {"bash", "text", "diff", "yaml", "csv", "json", "ini", "antes"}
    unknown = [b.where for blocks in BLOCKS.values() for b in blocks if b.kind not in kinds]
    assert unknown == [], "un bloque de otra clase no se ejecutaría"


def test_few_blocks_are_not_run():
    skipped = [block for block in TYPED if "sin ejecutar" in block.marks]
    assert all(len(block.marks["sin ejecutar"]) > 10 for block in skipped), "falta el motivo"
    own = [block for block in skipped if not block.where.startswith("docs/google-drive.md")]
    assert len(own) <= 20


@cache
def dvc_parser():
    return get_main_parser()


def dvc_accepts(command):
    """Si DVC entiende la orden entera: el subcomando y sus opciones."""
    words = shlex.split(re.sub(r"<[^>]*>", "x", command), comments=True)
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            dvc_parser().parse_args(words[1:])
        except SystemExit as stop:
            return stop.code == 0  # --help y --version
        except Exception:
            return False
    return True


@pytest.mark.parametrize("command", ["dvc sttaus", "dvc push --remoto x", "dvc run -n a"])
def test_a_command_that_dvc_does_not_have_is_noticed(command):
    assert not dvc_accepts(command)


def test_dvc_has_every_command_even_those_that_are_not_run():
    commands = [
        (block.where, line)
        for blocks in BLOCKS.values()
        for block in blocks
        for line in map(str.strip, block.lines)
        if block.kind == "bash" and line.startswith("dvc ")
    ]
    assert [(where, line) for where, line in commands if not dvc_accepts(line)] == []
    assert len(commands) > 100


def test_dvc_has_every_subcommand_named_in_the_text():
    """También los de las órdenes para Windows, que van en tablas y en el texto."""
    unknown = [
        f"{name}: {named}"
        for name, text in TEXTS.items()
        for named in re.findall(r"`dvc ([a-z-]+(?: [a-z]+)?)[^`]*`", text)
        if not any(dvc_accepts(f"dvc {part} --help") for part in (named, named.split()[0]))
    ]
    assert unknown == []


def test_commands_are_typed_the_same_in_every_terminal():
    """Sin lo que cmd, PowerShell o bash entienden cada uno a su manera."""
    for block in TYPED:
        if "sin ejecutar" in block.marks or block.where.startswith("docs/google-drive.md"):
            continue
        for line in block.lines:
            assert line.split()[0] in PROGRAMS, f"{block.where}: {line}"
            outside = re.sub(r'"[^"]*"', "", line.replace(pages.REPOSITORY, ""))
            assert not set(outside) & set("'\\;|&<>#*"), f"{block.where}: {line}"
            assert not set(line) & set("$`!%^\\"), f"{block.where}: {line}"


def test_commands_that_are_not_run_name_what_exists():
    """Lo que se puede mirar sin ejecutarlas: el programa, los ficheros y los objetivos de make."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for block in TYPED:
        for line in block.lines if "sin ejecutar" in block.marks else []:
            words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
            assert words[0] in PROGRAMS | {"conda", "make", "ssh"}, f"{block.where}: {line}"
            if words[0] == "make":
                assert set(words[1:]) <= set(targets), f"{block.where}: {line}"
            if words[0] in ("python", "conda"):
                files = [word for word in words[1:] if re.search(r"\.(txt|ya?ml|py)$", word)]
                assert all((ROOT / name).exists() for name in files), f"{block.where}: {line}"


def anchors(text):
    """Los enlaces que GitHub da a los títulos: en minúsculas, sin signos y con guiones."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", TEXTS)
def test_links_and_pictures_resolve(name):
    links = re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", TEXTS[name])
    for link in map("".join, links):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / unquote(path) if path else ROOT / name
        assert target.exists(), f"{name}: no existe {link}"
        if anchor:
            found = anchors(target.read_text(encoding="utf-8"))
            assert anchor in found, f"{name}: {link} no lleva a ningún título"


def test_every_picture_is_small_and_shown(run, tmp_path):
    pictures = sorted((ROOT / "docs" / "img").iterdir())
    assert sum(path.stat().st_size for path in pictures) < 600_000
    assert [p.name for p in pictures if not any(f"img/{p.name}" in t for t in TEXTS.values())] == []


def test_the_pictures_are_made_by_a_command(finished, run, tmp_path):
    run("python", ROOT / "tools" / "pictures.py", "--output", tmp_path, cwd=finished)
    made = {path.name for path in tmp_path.iterdir()} | {"rendimiento.png"}  # la hace make bench
    assert made == {path.name for path in (ROOT / "docs" / "img").iterdir()}


def test_the_readme_says_how_many_rows_there_are(finished):
    rows = len((finished / "data" / "training.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert f"tiene {rows} filas" in TEXTS["README.md"]
