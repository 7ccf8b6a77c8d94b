"""Propiedades de la lectura: se prueban con ficheros que inventa hypothesis.

`make test` prueba unos cientos de ficheros, siempre los mismos. Para probar decenas de miles:

    HYPOTHESIS_PROFILE=a-fondo python -m pytest tests/test_properties.py
"""

import argparse
import contextlib
import csv
import io
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]

# Al importarse, checks.py cambia lo que hace Ctrl-C; pytest tiene que seguir como estaba.
_interrupt, _hook = signal.getsignal(signal.SIGINT), sys.excepthook
sys.path.insert(0, str(ROOT))
import checks  # noqa: E402
import prepare_data  # noqa: E402

sys.path.remove(str(ROOT))
signal.signal(signal.SIGINT, _interrupt)
sys.excepthook = _hook

_common = {
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": False,
}
settings.register_profile("corto", max_examples=150, derandomize=True, **_common)
settings.register_profile("a-fondo", max_examples=20_000, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "corto"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("propiedades")


def prepare(path, output, *options):
    """Ejecuta prepare_data.py en este proceso. Devuelve el error que muestra, o `None`."""
    argv, handler = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = ["prepare_data.py", "--input", str(path), "--output", str(output), *options]
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            prepare_data.main()
    except checks.InputError as error:
        return str(error)
    finally:
        sys.argv = argv
        signal.signal(signal.SIGINT, handler)
    return None


def contents(output):
    return {path.name: path.read_bytes() for path in sorted(output.glob("*"))}


# --- El mismo número, lo escriba quien lo escriba ----------------------------------------------

numbers = st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 6))


@st.composite
def tables(draw):
    """Filas de números con los que se puede entrenar: las columnas cambian de una a otra."""
    width = draw(st.integers(2, 4))
    rows = draw(st.lists(st.tuples(*[numbers] * width), min_size=10, max_size=30))
    return [[value + 10 * position for value in row] for position, row in enumerate(rows)]


@st.composite
def dialects(draw):
    delimiter = draw(st.sampled_from(",;\t"))
    return {
        "delimiter": delimiter,
        "decimal": "." if delimiter == "," else draw(st.sampled_from(".,")),
        "newline": draw(st.sampled_from(["\n", "\r\n", "\r"])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "latin-1"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        "padding": draw(st.sampled_from(["", " ", "  "])),
        "blank_lines": draw(st.integers(0, 3)),
        "blank_rows": draw(st.integers(0, 2)),
        "final_newline": draw(st.booleans()),
        "index": draw(st.booleans()),
        "text": draw(st.booleans()),
        "order": draw(st.randoms(use_true_random=False)),
    }


def write(path, names, rows, dialect):
    """Escribe la tabla como la escribiría una hoja de cálculo, o alguien a mano."""
    decimal, padding = dialect["decimal"], dialect["padding"]
    columns = {
        name: [repr(row[i]).replace(".", decimal) for row in rows] for i, name in enumerate(names)
    }
    if dialect["text"]:
        columns["estación"] = ["Seattle, Año"] * len(rows)
    order = list(columns)
    dialect["order"].shuffle(order)
    lines = [[""] * dialect["index"] + [f"{padding}{name}{padding}" for name in order]]
    for position in range(len(rows)):
        cells = [f"{padding}{columns[name][position]}{padding}" for name in order]
        lines.append([str(position)] * dialect["index"] + cells)
    lines += [[""] * len(lines[0])] * dialect["blank_rows"]
    buffer = io.StringIO()
    csv.writer(
        buffer,
        delimiter=dialect["delimiter"],
        quoting=dialect["quoting"],
        lineterminator=dialect["newline"],
    ).writerows(lines)
    text = buffer.getvalue()
    if not dialect["final_newline"]:
        text = text.removesuffix(dialect["newline"])
    text += dialect["newline"] * dialect["blank_lines"]
    path.write_bytes(text.encode(dialect["encoding"]))


@given(rows=tables(), dialect=dialects())
def test_the_dialect_does_not_change_the_partitions(folder, rows, dialect):
    names = [*["presión", "celsius", "día"][: len(rows[0]) - 1], "fahrenheit"]
    options = ["--features", *names[:-1]]
    plain, strange = folder / "simple.csv", folder / "raro.csv"
    lines = [names, *[map(repr, row) for row in rows]]
    plain.write_text("\n".join(map(",".join, lines)) + "\n", encoding="utf-8", newline="\n")
    write(strange, names, rows, dialect)
    expected, seen = folder / "simple", folder / "raro"
    assert prepare(plain, expected, *options) is None
    assert prepare(strange, seen, *options) is None
    assert contents(expected) == contents(seen)

    # Sin --features salen las mismas columnas, aunque en el orden del fichero.
    assert prepare(strange, seen) is None
    metadata = json.loads((seen / "metadata.json").read_text("utf-8"))
    assert sorted(metadata["features"]) == sorted(names[:-1])


# --- Las dos maneras de leer dicen lo mismo ----------------------------------------------------

good_cells = st.one_of(
    st.integers(-1000, 1000).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["+5", ".5", "5.", "1e5", "1E-5", "-0", "1e-400", "007", "0" * 30 + "1.5"]),
)
nasty_cells = st.one_of(
    st.sampled_from(["", " ", "nan", "NaN", "inf", "-Infinity", "1e400", "1_000", "٣", "\xa05"]),
    st.sampled_from(["1.234,5", "1,234.5", "1 000", "12 °C", "50%", "0x10", "1e", "e5", "+", "."]),
    st.sampled_from([",", "--5", "#N/D", "NULL", "true", "abc", "2012-01-01", "«3»", "5\x0b"]),
    st.sampled_from(["5\xa0", "\u20095", "\x855", "\ufeff5", "5\ufeff", "1,5", "1;5", "1\t5"]),
    st.sampled_from(['"5"', '"5', '5"', ' "5"', '"5" ', '"a""b"', '"a\nb"', '"1\n2"', '"1,5"']),
    st.sampled_from(['"a;b"', '"\t"', "1\r", "12,50", "12.50"]),
)


@st.composite
def nasty_files(draw):
    """Ficheros casi buenos: casi todas las celdas son números, y alguna no."""
    delimiter = draw(st.sampled_from(",;\t"))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    names = draw(st.sampled_from([["a", "y"], ["y", "a", "b"], ["a", "", "y"], ["y"]]))
    mark = draw(st.sampled_from(".." if delimiter == "," else ".,"))
    cells = good_cells.map(lambda cell: cell.replace(".", mark))
    if draw(st.booleans()):
        cells = st.one_of(cells, cells, cells, nasty_cells)
    rows = draw(st.lists(st.lists(cells, min_size=len(names), max_size=len(names)), max_size=8))
    if draw(st.booleans()):  # una columna de texto
        column = draw(st.integers(0, len(names) - 1))
        for row in rows:
            row[column] = draw(st.sampled_from(["lluvia", "sol y nubes", "n/d", "2012-01-01"]))
    if draw(st.booleans()):  # un número que aparece cuando ya se ha decidido qué es cada columna
        rows = rows * 60 + [draw(st.lists(st.one_of(cells, nasty_cells), max_size=4))]
    lines = [delimiter.join(row) for row in [names, *rows]]
    extra = st.sampled_from(["", " ", "\t", delimiter, delimiter * 2, delimiter * 5, '"', "\x0c"])
    for _ in range(draw(st.integers(0, 2))):
        lines.insert(draw(st.integers(1, len(lines))), draw(extra))
    text = newline.join(lines) + draw(st.sampled_from(["", newline, newline * 3]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]))
    return text.encode(encoding, errors="replace")


def read(path, others):
    """Lo que devuelve `read_columns`: las columnas, como bytes, o el error."""
    try:
        with contextlib.redirect_stderr(io.StringIO()) as notices:
            columns = checks.read_columns(path, ["y"], others)
    except checks.InputError as error:
        return str(error)
    return {name: values.tobytes() for name, values in columns.items()}, notices.getvalue()


@given(raw=nasty_files(), others=st.booleans())
@example(raw=b"a,y\n\xef\xbb\xbf5,6\n", others=False)
@example(raw=b"y,a\n" + b"1,x\n" * 300 + "1,\xa05\n".encode(), others=True)
def test_the_fast_reader_and_the_slow_one_agree(folder, raw, others):
    path = folder / "datos.csv"
    path.write_bytes(raw)
    fast = read(path, others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_read_with_arrow", lambda *args: None)
        slow = read(path, others)
    assert fast == slow


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_plain_file_takes_the_fast_reader(folder, delimiter):
    path = folder / "datos.csv"
    rows = [["a", "texto", "y"], *[[f"{n}.5", "sol", str(2 * n)] for n in range(500)]]
    path.write_text("\n".join(map(delimiter.join, rows)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_read_with_csv", lambda *args: pytest.fail("lo ha leído despacio"))
        columns = checks.read_columns(path, ["y"], others=True)
    assert list(columns) == ["a", "y"]
    assert np.array_equal(columns["a"], np.arange(500) + 0.5)


@given(
    line=st.integers(2, 40),
    column=st.sampled_from(["a", "y"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    quotes=st.booleans(),
)
def test_the_line_is_the_one_that_an_editor_shows(folder, line, column, newline, quotes):
    path = folder / "datos.csv"
    lines = ["a;nota;y"] + [f"{n};sol;{n}" for n in range(2, 41)]
    lines[line - 1] = {"a": f"malo;sol;{line}", "y": f"{line};sol;malo"}[column]
    if quotes:  # una nota de dos líneas cuenta como dos
        lines.insert(1, f'1;"una{newline}nota";1')
    path.write_text(newline.join(lines), encoding="utf-8", newline="")
    shown = line + 2 * quotes
    assert read(path, True) == f"{path}, línea {shown}, columna «{column}»: «malo» no es un número."


# --- Las opciones ------------------------------------------------------------------------------

BAD_VALUES = {
    checks.epochs: ["", "0", "-1", "1.5", "1e3", "nan", "inf", "1000001", "9" * 5000, "diez"],
    checks.seed: ["", "-1", "4294967296", "1.5", "nan", "azar"],
    checks.learning_rate: ["", "0", "-0.1", "inf", "-inf", "nan", "1e400", "1e-400", "0,1"],
    checks.fraction: [
        "",
        "0",
        "1",
        "1.5",
        "-0.2",
        "nan",
        "inf",
        "0,2",
        "20%",
        "0.99999999999999999",
    ],
    checks.run_name: [
        *["", ".", "..", ".a", "a.", "-a", "a b", "a/b", "a\\b", "a:b", "a*", "a\n", "año?"],
        *["con", "NUL", "aux.txt", "Com1", "a" * 65],
    ],
}
GOOD_VALUES = {
    checks.epochs: ["1", "100", "1000000"],
    checks.seed: ["0", "42", "4294967295"],
    checks.learning_rate: ["0.1", "1e-3", "5", "1e30"],
    checks.fraction: ["0.2", "1e-300", ".5", "0.999"],
    checks.run_name: ["rapido", "año-2", "lr_0.1", "a", "A.b", "con-mas-epocas", "a" * 64],
}


@pytest.mark.parametrize("check", BAD_VALUES, ids=lambda check: check.__name__)
def test_an_option_says_what_it_takes(check):
    for text in BAD_VALUES[check]:
        with pytest.raises(argparse.ArgumentTypeError, match=r"no vale|no sirve"):
            check(text)
    for text in GOOD_VALUES[check]:
        check(text)


# --- Ningún fichero da una traza ---------------------------------------------------------------

headers = st.sampled_from(
    [b"", b"a,fahrenheit\n", b"a;fahrenheit\r\n", b"fahrenheit\ta\r", b'"a","fahrenheit"\n']
)
pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"1,2\n", b"3;4\r\n", b"5\t6\r", b'"7","8"\n', b"\n", b'"', b",", b"1e999"]),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@given(header=headers, body=st.lists(pieces, max_size=30))
def test_no_bytes_give_a_traceback(folder, header, body):
    path, output = folder / "bytes.csv", folder / "bytes"
    path.write_bytes(header + b"".join(body))
    before = contents(output)
    error = prepare(path, output)  # cualquier otra excepción sería una traza
    if error:
        assert str(path) in error
        assert contents(output) == before


@given(start=st.sampled_from(["", "{", "[" * 5000, '{"a":']), rest=st.binary(max_size=60))
@example(start="[" * 100_000, rest=b"")
def test_no_metadata_give_a_traceback(folder, start, rest):
    (folder / "metadata.json").write_bytes(start.encode() + rest)
    with pytest.raises(checks.InputError, match="dañado"):
        checks.read_metadata(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(
    key=st.sampled_from(
        [("features",), ("target",), ("columns",), ("rows",), ("rows", "train"), ("columns", "a")]
        + [("columns", "a", key) for key in ("mean", "scale", "unit")]
    ),
    value=json_values | st.just(10**400),
)
def test_metadata_are_whole_or_refused(folder, key, value):
    column = {"mean": 1.0, "scale": 2.0, "unit": ""}
    metadata = {
        "features": ["a"],
        "target": "y",
        "columns": {"a": dict(column), "y": dict(column)},
        "rows": {"train": 8, "validation": 2},
    }
    inner = metadata
    for step in key[:-1]:
        inner = inner[step]
    inner[key[-1]] = value
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    with contextlib.suppress(checks.InputError):
        read = checks.read_metadata(folder)
        assert read["rows"]["train"] > 0
        assert all(np.isfinite(read["columns"][name]["mean"]) for name in ("a", "y"))
