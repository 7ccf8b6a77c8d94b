"""Lo que entra se comprueba; lo que sale se escribe entero.

Los tres scripts del taller (prepare_data.py, train.py, eval.py) usan este módulo para:

- leer un CSV venga de la hoja de cálculo que venga, y decir dónde está el error si lo hay;
- comprobar las opciones y los ficheros que dejó la etapa anterior;
- escribir cada fichero al lado y renombrarlo al final: o está entero, o no está.

No hace falta leerlo para seguir el taller. Todos los errores que son de los datos o de las
opciones salen como `InputError`, y `run` los muestra en una línea, sin traza.
"""

import argparse
import contextlib
import csv
import difflib
import errno
import io
import json
import math
import os
import re
import signal
import sys
from array import array
from pathlib import Path

_unfinished = set()  # ficheros a medio escribir, que Ctrl-C debe borrar


def _interrupted(_signal, _frame):
    for path in _unfinished:
        with contextlib.suppress(OSError):  # Windows no deja borrar un fichero abierto
            path.unlink()
    print("\nInterrumpido: no se ha escrito ningún resultado.", file=sys.stderr, flush=True)
    os._exit(130)


def _uncaught(kind, error, traceback):
    if kind is ModuleNotFoundError:
        print(
            f"Error: a este Python le falta el paquete «{error.name}». Activa el entorno del "
            f"taller, o instala en él requirements.txt. El que se usa es {sys.executable}",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, traceback)


# Va antes de importar nada pesado: así Ctrl-C responde también mientras se carga PyTorch.
sys.excepthook = _uncaught
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _interrupted)

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.compute as pc  # noqa: E402
import pyarrow.csv  # noqa: E402


class InputError(Exception):
    """Algo que se leyó no vale. El mensaje dice qué, dónde y qué hacer, en español."""


# --- Arranque y opciones -----------------------------------------------------------------------

_OS_ERRORS = {
    errno.ENOSPC: "no queda espacio en el disco",
    errno.EDQUOT if hasattr(errno, "EDQUOT") else -1: "se ha agotado tu cuota de disco",
    errno.EFBIG: "el fichero es demasiado grande para este disco",
    errno.EACCES: "no hay permiso (¿lo tiene abierto otro programa, o es de solo lectura?)",
    errno.EPERM: "no hay permiso (¿es de solo lectura?)",
    errno.EROFS: "el disco es de solo lectura",
    errno.EISDIR: "es una carpeta, y hace falta un fichero",
    errno.ENOTDIR: "una parte de la ruta es un fichero, y hace falta una carpeta",
    errno.EEXIST: "ya existe un fichero con ese nombre, y hace falta una carpeta",
    errno.ENOENT: "no existe",
    errno.ENAMETOOLONG: "el nombre es demasiado largo",
}


def os_error(error):
    """Un `OSError` en una línea en español. Devuelve `str`."""
    where = error.filename2 or error.filename
    reason = _OS_ERRORS.get(error.errno, error.strerror or str(error))
    return f"{where}: {reason}." if where else f"{reason}."


def run(main):
    """Llama a `main()`; si los datos o el disco fallan, lo dice y sale con estado 1."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # consolas de Windows sin UTF-8
    try:
        main()
    except InputError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: {os_error(error)}")
    except MemoryError:
        sys.exit("Error: no hay memoria suficiente para estos datos. Prueba con menos filas.")


_ARGPARSE_IN_SPANISH = {
    "usage: ": "uso: ",
    "options": "opciones",
    "%(prog)s: error: %(message)s\n": "%(prog)s: error: %(message)s\n",
    "argument %(argument_name)s: %(message)s": "opción %(argument_name)s: %(message)s",
    "unrecognized arguments: %s": (
        "opciones desconocidas: %s. Un nombre no lleva espacios; con --help ves las que hay"
    ),
    "expected one argument": "falta su valor",
    "expected at least one argument": "falta su valor",
    "the following arguments are required: %s": "faltan estas opciones: %s",
    "ignored explicit argument %r": "no lleva el valor %r",
}


class Parser(argparse.ArgumentParser):
    """`ArgumentParser` que habla español, muestra los valores por defecto y no abrevia."""

    def __init__(self, description):
        argparse._ = lambda text: _ARGPARSE_IN_SPANISH.get(text, text)
        super().__init__(
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.add_argument("-h", "--help", action="help", help="muestra esta ayuda y termina")

    def add_argument(self, *names, **options):
        if options.get("default") is not None:
            options["help"] += " (por defecto: %(default)s)"
        return super().add_argument(*names, **options)


def _number(text, convert, is_valid, expected):
    try:
        value = convert(text)
    except ValueError:
        value = None
    if value is None or not is_valid(value):
        raise argparse.ArgumentTypeError(f"«{text}» no vale: tiene que ser {expected}")
    return value


def epochs(text):
    """Número de épocas: un entero de 1 a 1000000."""
    return _number(text, int, lambda n: 1 <= n <= 10**6, "un número entero de 1 a 1000000")


def seed(text):
    """Semilla: un entero de 0 a 4294967295, lo que admiten NumPy y PyTorch."""
    return _number(text, int, lambda n: 0 <= n < 2**32, "un número entero de 0 a 4294967295")


def learning_rate(text):
    """Tasa de aprendizaje: un número finito mayor que 0."""
    expected = "un número mayor que 0, con punto decimal"
    return _number(text, float, lambda x: 0 < x < math.inf, expected)


def fraction(text):
    """Parte del total: un número entre 0 y 1, sin llegar a ninguno de los dos."""
    expected = "un número mayor que 0 y menor que 1, con punto decimal"
    return _number(text, float, lambda x: 0 < x < 1, expected)


_WINDOWS_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{d}{n}" for d in ("com", "lpt") for n in range(10)
}


def run_name(text):
    """Nombre de una ejecución, que será el de sus ficheros en cualquier sistema."""
    is_valid = re.fullmatch(r"\w(?:[\w.-]{0,62}\w)?", text)
    if not is_valid or text.split(".")[0].lower() in _WINDOWS_DEVICES:
        raise argparse.ArgumentTypeError(
            f"«{text}» no sirve como nombre de fichero: usa letras, números, «-» y «_»"
        )
    return text


# --- Leer un CSV -------------------------------------------------------------------------------

# Lo que escribe una hoja de cálculo. `float` admite además nan, inf y 1_000: aquí no son números.
_DIGITS = r"[+-]?(?:[0-9]+{0}?[0-9]*|{0}[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = {mark: re.compile(_DIGITS.format(re.escape(mark))) for mark in ".,"}
_SHOWN = 5  # celdas malas que se enseñan; del resto se da el total
_SAMPLE = 200  # filas con las que se decide qué columnas son números
_BOM = b"\xef\xbb\xbf"
# Lo que puede ser un número, con cualquier espacio de Unicode alrededor.
_MAYBE_NUMBER = r"^[\s\v\x85\pZ]*[+-]?(?:[0-9]|[.,][0-9])[0-9.,eE+-]*[\s\v\x85\pZ]*$"
csv.field_size_limit(2**31 - 1)  # el límite de fábrica, 128 kB, da un error que no es de los datos


def read_columns(path, required, others=False):
    """Lee las columnas numéricas de un CSV.

    Admite UTF-8 (con o sin BOM) y cp1252, `,` `;` o tabulador, coma decimal con los dos últimos,
    comillas, espacios alrededor y cualquier fin de línea.

    Args:
        path: ruta del CSV; su primera línea son los nombres.
        required: nombres de las columnas que hacen falta.
        others: si se leen también las demás que tengan algún número. Las que no tienen ninguno,
            y las que no tienen nombre, se dejan fuera con un aviso.

    Returns:
        `dict` de nombre a `numpy.ndarray` de forma (filas,), float64, en el orden del fichero.

    Raises:
        InputError: con el fichero, la línea (la cabecera es la 1), la columna y el valor.
    """
    raw, encoding = _read_text(path)
    start, header_line = _skip_blank_lines(raw)
    names, delimiter, start = _read_header(path, raw, start, header_line, encoding)
    _check_names(path, header_line, names, required)
    indices = [i for i, name in enumerate(names) if name in required or (others and name)]

    # Con muchas filas pyarrow lee veinte veces más deprisa, pero no sabe decir en qué línea está
    # el error: si algo no le cuadra, se vuelve a leer con el módulo csv, que sí lo dice.
    columns = _read_with_arrow(raw, start, encoding, names, indices, delimiter, required)
    if columns is None:
        text = raw[start:].decode(encoding)
        columns = _read_with_csv(path, text, header_line, names, indices, delimiter, required)
    if others:
        for number, name in enumerate(names, 1):
            if not name:
                warn(f"{path}: la columna {number} no tiene nombre y no se usa.")
            elif name not in columns:
                warn(f"{path}: la columna «{name}» no tiene ningún número y no se usa.")
    return columns


def warn(message):
    """Escribe un aviso, que no detiene nada, en la salida de errores."""
    print(f"Aviso: {message}", file=sys.stderr)


def _read_text(path):
    """Los bytes del fichero y su codificación, si son texto. Devuelve `(bytes, str)`."""
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"no existe {path}. Si es un fichero de DVC, recupéralo con «dvc pull»; si lo escribe "
            "otra etapa, ejecuta «dvc repro»."
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path} es una carpeta, y hace falta un fichero CSV.") from None
    except PermissionError as error:
        if Path(path).is_dir():  # así lo dice Windows
            raise InputError(f"{path} es una carpeta, y hace falta un fichero CSV.") from None
        raise InputError(os_error(error)) from None
    raw = raw.removeprefix(_BOM)
    if not raw or raw.isspace():
        raise InputError(f"{path} está vacío. La primera línea deben ser los nombres de columna.")
    if raw.startswith(b"PK\x03\x04"):
        raise InputError(
            f"{path} es un libro de Excel o un zip, no un CSV. En la hoja de cálculo elige "
            "«Guardar como» y el tipo «CSV UTF-8»."
        )
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} está en UTF-16. Guárdalo como «CSV UTF-8».")
    control = re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", raw[:65536])
    position = control.start() if control else raw.find(b"\0")
    if position >= 0:
        line = _line_of(raw, position)
        raise InputError(
            f"{path}, línea {line}: hay bytes que no son de texto. ¿Seguro que es un CSV?"
        )
    # Buscar antes a secas es cien veces más rápido, y casi nunca hay nada.
    is_suspect = any(mark * 7 in raw for mark in (b"<", b"=", b">"))
    conflict = re.search(rb"^(?:<{7} |={7}\r?$|>{7} )", raw, re.MULTILINE) if is_suspect else None
    if conflict:
        raise InputError(
            f"{path}, línea {_line_of(raw, conflict.start())}: hay marcas de un conflicto de Git. "
            "Quédate con las filas buenas y borra las líneas <<<<<<<, ======= y >>>>>>>."
        )
    for encoding in ("utf-8", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            if not raw.isascii():
                raw.decode(encoding)
            return raw, encoding
    raise InputError(f"{path} no es texto en UTF-8 ni en cp1252. Guárdalo como «CSV UTF-8».")


def _line_of(raw, position):
    return len(re.findall(rb"\r\n|\r|\n", raw[:position])) + 1


def _skip_blank_lines(raw):
    blank = re.match(rb"(?:[ \t]*(?:\r\n|\r|\n))*", raw).group()
    return len(blank), _line_of(raw, len(blank))


def _read_header(path, raw, start, header_line, encoding):
    """Los nombres, el separador y dónde empieza la primera fila."""
    line = re.compile(rb"[^\r\n]*").match(raw, start).group()
    end = re.compile(rb"\r\n|\r|\n|$").match(raw, start + len(line)).end()
    text = line.decode(encoding)
    if text.count('"') % 2:
        raise InputError(
            f"{path}, línea {header_line}: unas comillas de la cabecera no se cierran."
        )
    outside_quotes = re.sub(r'"[^"]*"', "", text)
    delimiter = max(";\t,", key=outside_quotes.count)
    fields = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True))
    names = [" ".join(name.split()) for name in fields]
    # pandas escribe su índice sin nombre, y si lo vuelve a leer lo llama «Unnamed: 0».
    names = ["" if re.fullmatch(r"Unnamed: \d+", name) else name for name in names]
    return names, delimiter, end


def _check_names(path, line, names, required):
    named = [name for name in names if name]
    there = ", ".join(f"«{name}»" for name in named) or "ninguna"
    repeated = sorted({name for name in named if named.count(name) > 1})
    if repeated:
        raise InputError(
            f"{path}, línea {line}: hay dos columnas «{repeated[0]}». Cambia el nombre de una."
        )
    for name in required:
        if name not in named:
            close = difflib.get_close_matches(name.lower(), [n.lower() for n in named], n=1)
            hint = next((f" ¿Querías decir «{n}»?" for n in named if [n.lower()] == close), "")
            raise InputError(f"{path}: no hay columna «{name}». Las que hay son: {there}.{hint}")


def _read_with_arrow(raw, start, encoding, names, indices, delimiter, required):
    """Lee deprisa un fichero sin sorpresas; con alguna devuelve `None`."""
    if raw.find(b'"', start) >= 0 or raw.startswith(_BOM, start):
        return None  # pyarrow y el módulo csv no entienden igual unas comillas mal puestas
    sample_end = start
    for _ in range(_SAMPLE):
        sample_end = raw.find(b"\n", sample_end) + 1
        if not sample_end:
            sample_end = len(raw)
            break
    sample = raw[start:sample_end].decode(encoding)
    rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row]
    cells = {i: [row[i].strip() for row in rows if i < len(row)] for i in indices}
    marks = "." if delimiter == "," else ".,"
    decimal = next(
        (m for m in marks for i in indices for c in cells[i] if m in c and _NUMBER[m].fullmatch(c)),
        ".",
    )
    number = _NUMBER[decimal]
    numeric = [i for i in indices if names[i] in required or any(map(number.fullmatch, cells[i]))]
    types = {str(i): pa.float64() if i in numeric else pa.string() for i in indices}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(pa.py_buffer(memoryview(raw)[start:])),
            read_options=pyarrow.csv.ReadOptions(
                column_names=[str(i) for i in range(len(names))],
                encoding=encoding,
                block_size=min(len(raw) + 1, 2**30),  # de una vez: no hay trozos que juntar
                # Si Python termina mientras un hilo suelta sus datos, el proceso aborta. Con pocas
                # filas pasa a veces, y los hilos no ahorran nada.
                use_threads=len(raw) > 2**24,
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                decimal_point=decimal,
                null_values=[],
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    columns = {}
    for i in indices:
        column = table[str(i)]
        if i in numeric:
            # to_numpy() importaría pandas, que tarda más que leer el fichero.
            columns[names[i]] = np.from_dlpack(column.combine_chunks())
            if not len(column) or not np.isfinite(columns[names[i]]).all():
                return None
        elif pc.any(pc.match_substring_regex(column, _MAYBE_NUMBER)).as_py():
            return None
    return columns


def _read_with_csv(path, text, header_line, names, indices, delimiter, required):
    """Lee fila a fila: más despacio, pero sabe en qué línea está cada cosa."""
    pending = []  # las líneas de la fila que se está leyendo: con comillas puede tener varias

    def lines():
        for line in io.StringIO(text + "\n", newline=""):
            pending.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, skipinitialspace=True)
    values = {i: array("d") for i in indices}
    bad = {i: [] for i in indices}  # (línea, valor): las primeras; los totales van en bad_count
    bad_count = dict.fromkeys(indices, 0)
    has_number = dict.fromkeys(indices, False)
    decimal, blank_rows = None, []

    def check_cell(i, cell, line):
        nonlocal decimal
        mark = "," if "," in cell else "."
        is_number = _NUMBER[mark].fullmatch(cell)
        if is_number and mark in cell and delimiter != "," and decimal is None:
            decimal = mark
        value = math.nan
        if is_number:
            has_number[i] = True
            if mark not in cell or mark == (decimal or "."):
                value = float(cell.replace(",", "."))
        if math.isfinite(value):
            values[i].append(value)
        else:
            bad_count[i] += 1
            if len(bad[i]) < _SHOWN:
                bad[i].append((line, cell))

    rows = 0
    line = header_line + 1
    for row in reader:
        is_open = row and row[-1].endswith(("\n", "\r"))  # el fin de línea quedó entre comillas
        if is_open and sum(piece.count('"') for piece in pending) % 2:
            raise InputError(f"{path}, línea {line}: unas comillas se abren y no se cierran.")
        row = [cell.strip() for cell in row]
        if len(row) > 1 and not any(row):
            blank_rows.append(line)  # al final del fichero no molestan; en medio son celdas vacías
        elif any(row):
            _check_width(path, line, row, names, delimiter)
            for blank in blank_rows:
                for i in indices:
                    check_cell(i, "", blank)
            blank_rows.clear()
            for i in indices:
                check_cell(i, row[i], line)
            rows += 1
        line += len(pending)
        pending.clear()
    if not rows:
        raise InputError(f"{path} solo tiene la cabecera. Añade filas de datos debajo.")
    kept = [i for i in indices if names[i] in required or has_number[i]]
    _report_bad_cells(path, names, {i: bad[i] for i in kept}, bad_count, delimiter, decimal)
    return {names[i]: np.frombuffer(values[i]) for i in kept}


def _check_width(path, line, row, names, delimiter):
    if len(row) == len(names):
        return
    many = "sobran" if len(row) > len(names) else "faltan"
    hint = ""
    if len(row) > len(names) and delimiter == ",":
        hint = " Si usas coma decimal, separa las columnas con «;»."
    raise InputError(
        f"{path}, línea {line}: {many} campos: hay {len(row)}, y en la cabecera {len(names)}.{hint}"
    )


def _report_bad_cells(path, names, bad, bad_count, delimiter, decimal):
    total = sum(bad_count[i] for i in bad)
    if not total:
        return
    cells = sorted((line, i, value) for i in bad for line, value in bad[i])[:_SHOWN]
    shown = [
        f"línea {line}, columna «{names[i]}»: {_what_is_wrong(value, delimiter, decimal)}"
        for line, i, value in cells
    ]
    if total == 1:
        raise InputError(f"{path}, {shown[0]}")
    if total > len(shown):
        shown.append(f"… y {total - len(shown)} más.")
    raise InputError(f"{path}: {total} celdas no son números:\n  " + "\n  ".join(shown))


def _what_is_wrong(value, delimiter, decimal):
    """Qué le pasa a una celda y cómo se arregla."""
    if not value:
        return "la celda está vacía. Escribe el número o borra la fila."
    shown = value if len(value) <= 40 else value[:39] + "…"
    shown = f"«{' '.join(shown.split())}»"
    if value.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return f"{shown} no es un número finito. Escribe el número o borra la fila."
    for mark in ".,":
        if _NUMBER[mark].fullmatch(value):
            if math.isinf(float(value.replace(",", "."))):
                return f"{shown} es demasiado grande."
            if delimiter == ",":
                return f"{shown} lleva coma. Usa el punto decimal, y nada para los miles."
            other = {".": "punto", ",": "coma"}
            return f"{shown} lleva {other[mark]}, y las de antes, {other[decimal]}. Usa uno solo."
    if re.fullmatch(r"[+-]?\d{1,3}(?:[., '\u00a0\u202f]\d{3})+(?:[.,]\d+)?", value):
        return f"{shown} lleva separador de miles. Escribe el número sin él."
    if re.match(r"[+-]?\d[\d.,]*\s*[^\d\s.,]+$", value):
        return f"{shown} no es un número. Si lleva unidad, quítala: la unidad va en el nombre."
    return f"{shown} no es un número."


def check_columns(parser, features, target):
    """Comprueba que `--features` no repite columnas ni lleva el objetivo; si no, estado 2."""
    for name in features or []:
        if name == target:
            parser.error(f"«{name}» no puede ser a la vez columna de entrada y objetivo")
        if features.count(name) > 1:
            parser.error(f"«{name}» está dos veces en --features")


def check_partitions(path, names, train, validation):
    """Comprueba que con las dos particiones se puede entrenar y medir.

    Args:
        path: el fichero de donde vienen, para el mensaje.
        names: nombres de las columnas; el objetivo es la última.
        train, validation: matrices de forma (filas, columnas).

    Raises:
        InputError: si faltan filas o columnas, o si una columna no cambia.
    """
    rows = len(train) + len(validation)
    if len(train) < 2 or len(validation) < 1:
        raise InputError(
            f"{path} tiene muy pocas filas ({rows}) para dos particiones: quedarían "
            f"{len(train)} para entrenar y {len(validation)} para validar. Añade filas, o cambia "
            "--validation-size."
        )
    if len(names) < 2:
        raise InputError(
            f"{path} solo tiene números en la columna «{names[0]}», que es el objetivo. "
            "Hace falta al menos otra columna de la que aprender."
        )
    for name, values in zip(names, train.T, strict=True):
        largest = np.abs(values).max()
        if largest > 1e100 or 0 < largest < 1e-100:
            raise InputError(
                f"{path}, columna «{name}»: números demasiado grandes o demasiado pequeños para "
                "calcular con ellos. Cambia de unidad."
            )
        if np.ptp(values) <= 1e-12 * largest:
            raise InputError(
                f"{path}, columna «{name}»: todas las filas de entrenamiento valen {values[0]:g}. "
                "De una columna que no cambia no se aprende nada: quítala o revisa los datos."
            )


# --- Las particiones ---------------------------------------------------------------------------


def read_metadata(folder):
    """Lee y comprueba `metadata.json`, lo que dejó prepare_data.py.

    Returns:
        `dict` con `features` (lista), `target`, `columns` (nombre a mean, scale y unit) y `rows`.

    Raises:
        InputError: si falta, no es JSON o no dice lo que debe.
    """
    path = Path(folder) / "metadata.json"
    again = "Ejecuta otra vez prepare_data.py (o «dvc repro»)."
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no existe {path}. {again}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} está dañado: no es JSON. {again}") from None
    try:
        names = [*metadata["features"], metadata["target"]]
        scales = [
            (metadata["columns"][name]["mean"], metadata["columns"][name]["scale"])
            for name in names
        ]
        units = [metadata["columns"][name]["unit"] for name in names]
        rows = [metadata["rows"][part] for part in ("train", "validation")]
        is_valid = (
            len(names) > 1
            and isinstance(metadata["features"], list)
            and all(isinstance(text, str) for text in names + units)
            and len(set(names)) == len(names)
            and all(math.isfinite(mean) and 0 < scale < math.inf for mean, scale in scales)
            and all(type(count) is int and count > 0 for count in rows)
        )
    except (KeyError, TypeError, OverflowError):
        is_valid = False
    if not is_valid:
        raise InputError(f"{path} está dañado: le faltan datos o no cuadran. {again}")
    return metadata


def read_partition(folder, part, metadata, dtype=np.float64):
    """Lee una partición, que tiene que ser la que dice `metadata`.

    Args:
        folder: carpeta de las particiones.
        part: `"train"` o `"validation"`.
        metadata: lo que devuelve `read_metadata`.
        dtype: tipo de las matrices.

    Returns:
        `(features, target)`: matrices tipificadas, de forma (filas, columnas) y (filas, 1).

    Raises:
        InputError: si falta, está dañada o no tiene las columnas o las filas que debe.
    """
    path = Path(folder) / f"{part}.csv"
    names = [*metadata["features"], metadata["target"]]
    columns = read_columns(path, names)
    rows, expected = len(columns[names[0]]), metadata["rows"][part]
    if list(columns) != names or rows != expected:
        raise InputError(
            f"{path} no cuadra con metadata.json: tiene {rows} filas y las columnas "
            f"{', '.join(columns)}; debería tener {expected} y {', '.join(names)}. "
            "Ejecuta otra vez prepare_data.py (o «dvc repro»)."
        )
    features, target = names[:-1], names[-1:]
    return tuple(
        np.array([columns[name] for name in group], dtype=dtype).T for group in (features, target)
    )


def read_partitions(folder, metadata, dtype):
    """Las dos particiones, una detrás de otra: entrenamiento y validación."""
    for part in ("train", "validation"):
        yield read_partition(folder, part, metadata, dtype)


# --- Escribir ----------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_files(*paths):
    """Da una ruta provisional por cada una y, si todo va bien, las cambia por las definitivas.

    Si algo falla a medias, o se mata el proceso, lo que había antes sigue estando.
    """
    paths = [Path(path) for path in paths]
    temporary = [path.with_name(f"{path.name}.{os.getpid()}.tmp") for path in paths]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(f"{path} es una carpeta, y hace falta un fichero. Cámbiale el nombre.")
        for stale in path.parent.glob(f"{path.name}.*.tmp"):  # de un proceso que murió
            with contextlib.suppress(OSError):
                stale.unlink()
    _unfinished.update(temporary)
    try:
        yield temporary
        with _ignoring_interrupts():  # ya solo queda renombrar: todos o ninguno
            for source, path in zip(temporary, paths, strict=True):
                source.replace(path)
    finally:
        for source in temporary:
            source.unlink(missing_ok=True)
        _unfinished.difference_update(temporary)


@contextlib.contextmanager
def _ignoring_interrupts():
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def write_csv(path, columns):
    """Escribe un CSV con `\\n` y la forma más corta de cada número.

    Args:
        path: ruta del fichero.
        columns: `dict` de nombre a vector de la misma longitud.
    """
    # Un «;» en un nombre, sin comillas, parecería el separador al volver a leer.
    quoting = csv.QUOTE_ALL if any(";" in name for name in columns) else csv.QUOTE_MINIMAL
    header = io.StringIO()
    csv.writer(header, lineterminator="\n", quoting=quoting).writerow(columns)
    # pyarrow escribe diez veces más deprisa que pandas, pero pone comillas a toda la cabecera.
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none", batch_size=2**16)
    with Path(path).open("wb") as file:
        file.write(header.getvalue().encode("utf-8"))
        arrays = [_to_arrow(values) for values in columns.values()]
        pyarrow.csv.write_csv(pa.table(arrays, names=list(columns)), file, options)


def _to_arrow(values):
    """Un vector de NumPy visto como de Arrow, sin copiarlo. `pa.array` importaría pandas."""
    values = np.ascontiguousarray(values)
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def write_json(path, data):
    """Escribe JSON que Git compara bien: claves en orden, sin NaN y con fin de línea al final."""
    try:
        text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise InputError(
            "un resultado no es un número finito. ¿Son las particiones y el modelo los que "
            "escribieron prepare_data.py y train.py? Ejecútalos otra vez (o «dvc repro»)."
        ) from None
    Path(path).write_text(text + "\n", encoding="utf-8", newline="\n")


def write_metrics(path, metrics):
    """Escribe métricas en JSON, con 6 cifras: las demás cambian de un ordenador a otro."""

    def rounded(value):
        if isinstance(value, dict):
            return {key: rounded(inner) for key, inner in value.items()}
        return float(f"{value:.6g}") if isinstance(value, float) else value

    write_json(path, rounded(metrics))
