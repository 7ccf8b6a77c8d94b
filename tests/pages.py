"""Lee las páginas de la documentación y hace lo que dicen.

Una página es texto con bloques. Estos se ejecutan o se comprueban:

    ```bash   lo que se teclea: una orden por línea, igual en cmd, PowerShell, macOS y Linux
    ```text   justo detrás de uno de bash: lo que escriben sus órdenes; `…` son líneas omitidas

Y estos comentarios, que quien lee no ve, dicen algo del bloque que va detrás:

    <!-- sin ejecutar: motivo -->   no se ejecuta aquí; sus órdenes de DVC se comprueban igual
    <!-- falla -->                  la última orden tiene que terminar con error
    <!-- añade a: fichero -->       las líneas del bloque se añaden al final de ese fichero
    <!-- cambia en: fichero -->     un bloque diff: las líneas con - pasan a ser las que llevan +
    <!-- antes                      órdenes que no se ven, para llegar al fallo del que se habla
    órdenes -->
"""

import math
import os
import re
import subprocess
from dataclasses import dataclass, field
from urllib.parse import quote

from sybil import Document
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

FENCES = RawFencedCodeBlockLexer(re.compile(r"[ \t]*(?P<kind>[^\n]*)\n"))
COMMENTS = DirectiveInHTMLCommentLexer("sin ejecutar|falla|añade a|cambia en|antes")
REPOSITORY = "<dirección-del-repositorio>"
HOME = "/home/ada"  # como se llama en las páginas la carpeta donde se hace el taller


@dataclass
class Block:
    """Un bloque: su clase (bash, text, diff… o antes), sus líneas y los comentarios de delante."""

    kind: str
    lines: list
    where: str
    marks: dict = field(default_factory=dict)


def read_page(text, name):
    """Los bloques de una página, en orden."""
    document = Document(text, name)
    blocks, marks = [], {}
    regions = sorted([*FENCES(document), *COMMENTS(document)], key=lambda region: region.start)
    for region in regions:
        found = region.lexemes
        lines = [line for line in found["source"].splitlines() if line.strip()]
        where = f"{name}:{text.count(chr(10), 0, region.start) + 1}"
        if found.get("directive") == "antes":
            blocks.append(Block("antes", lines, where))
        elif "directive" in found:
            marks[found["directive"]] = found["arguments"]
        else:
            blocks.append(Block(found["kind"].strip(), lines, where, marks))
            marks = {}
    assert not marks, f"{name}: el comentario «{', '.join(marks)}» no tiene bloque detrás"
    return blocks


class Terminal:
    """Un terminal: ejecuta órdenes y recuerda en qué carpeta está."""

    def __init__(self, base, cwd, env, repository):
        self.base, self.cwd, self.repository = base, cwd, repository
        # Sin búfer, los avisos y lo demás salen en el orden en que se ven; en inglés, como aquí;
        # con CI, DVC no va a internet a mirar si hay una versión nueva.
        self.env = env | {"PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8", "CI": "true"}

    def type(self, line):
        """Teclea una orden. Devuelve `(estado, salida)`; en la salida, la base es /home/ada."""
        line = line.strip().replace(REPOSITORY, f'"{self.repository}"')
        if line.startswith("cd "):
            self.cwd = (self.cwd / line[3:].strip().strip('"')).resolve()
            return (0, "") if self.cwd.is_dir() else (1, f"cd: no existe {self.cwd}\n")
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
        )
        shown = done.stdout.replace(str(self.base), HOME)
        return done.returncode, shown.replace(quote(self.base.as_posix()), HOME)  # en un file://


def run_page(blocks, terminal):
    """Hace la página entera. Lanza `AssertionError` en el primer bloque que no sale como dice."""
    output = None
    for block in blocks:
        if block.kind in ("bash", "antes"):
            output = None if "sin ejecutar" in block.marks else _run(block, terminal)
        elif block.kind == "text" and output is not None:
            problem = difference(block.lines, output)
            assert not problem, f"{block.where}: {problem}\n--- Ha salido:\n{output}"
            output = None
        elif "añade a" in block.marks:
            with (terminal.cwd / block.marks["añade a"]).open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in block.lines)
        elif "cambia en" in block.marks:
            _change(block, terminal.cwd / block.marks["cambia en"])


def _run(block, terminal):
    outputs = []
    for number, line in enumerate(block.lines, 1):
        status, output = terminal.type(line)
        outputs.append(output)
        must_fail = "falla" in block.marks and number == len(block.lines)
        if block.kind == "bash":
            assert bool(status) == must_fail, (
                f"{block.where}: «{line}» termina con estado {status}"
                f"{' y tenía que fallar' if must_fail else ''}\n{output}"
            )
    return "".join(outputs)


def _change(block, path):
    """Cambia en el fichero lo que muestra un bloque diff, que tiene que estar una sola vez."""
    old = "".join(f"{line[1:]}\n" for line in block.lines if line[0] in " -")
    new = "".join(f"{line[1:]}\n" for line in block.lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{block.where}: {path.name} no dice esto una vez:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


# --- Comparar lo que sale con lo que dice la página ---------------------------------------------

_MASKS = [
    (r"\b[0-9a-f]{7,}\.\.[0-9a-f]{7,}\b", "HASH"),
    (r"\b[0-9a-f]{2}[/\\][0-9a-f]{30}\b", "HASH"),
    (r"(?<![\w.])[0-9a-f]{7,}\b(?!\.\d)", "HASH"),
    (r"\b\d{4}-\d{2}-\d{2}\b|\b[A-Z][a-z]{2} \d{2}, \d{4}\b", "FECHA"),
    (r"\b\d{1,2}:\d{2}(:\d{2})?( [AP]M)?\b", "HORA"),
    (r"\b\d+([.,]\d+)? ?(s|segundos)\b", "SEGUNDOS"),
    (r"\b\d+\.\d+\.\d+\S*", "VERSIÓN"),
    (
        r"[-+]?\b\d+\.\d+(e[-+]?\d+)?\b",
        "NÚMERO",
    ),  # con tolerancia: no todas las CPU redondean igual
    (r"[─-]{3,}|[━=]{3,}", "---"),  # las tablas son tan anchas como sus números
    (r"\s+", " "),
]


def _normalize(line):
    """La línea sin lo que cambia de una vez a otra, y los números decimales que tenía."""
    numbers = []
    for pattern, mask in _MASKS:
        if mask == "NÚMERO":
            numbers = [float(match.group()) for match in re.finditer(pattern, line)]
        line = re.sub(pattern, mask, line)
    return line.strip(), numbers


def _same(expected, actual):
    (text, numbers), (other_text, other_numbers) = _normalize(expected), _normalize(actual)
    return text == other_text and all(
        math.isclose(a, b, rel_tol=0.02, abs_tol=1e-3)
        for a, b in zip(numbers, other_numbers, strict=True)
    )


def difference(expected, output):
    """Qué línea de `expected` no está en su sitio en `output`; «» si todas están."""
    if os.name == "nt":
        return ""  # en Windows cambian las rutas y los nombres de los programas
    actual = [line for line in output.splitlines() if line.strip()]
    position, anywhere = 0, False
    for line in expected:
        if line.strip() == "…":
            anywhere = True
            continue
        while True:
            if position == len(actual):
                return f"falta la línea «{line}»"
            position += 1
            if _same(line, actual[position - 1]):
                break
            if not anywhere:
                return f"dice «{line}», y ha salido «{actual[position - 1]}»"
        anywhere = False
    if position < len(actual) and not anywhere:
        return f"después sale además «{actual[position]}»"
    return ""


def pages(root):
    """Todas las páginas, por su nombre desde la raíz."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    }


def typed(blocks):
    """Los bloques de órdenes, también las que solo son de un sistema."""
    return [b for b in blocks if b.kind in ("bash", "antes", "bat", "powershell", "sh")]
