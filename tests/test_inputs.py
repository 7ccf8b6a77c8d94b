"""Lo que un participante puede escribir mal, y lo que su hoja de cálculo escribe bien.

Cada caso se ejecuta como lo haría él: en su carpeta, con `python prepare_data.py` y compañía.
"""

import io
import json
import os
import pickle
import re
import shutil
import sys
import zipfile

import pytest

ROWS = 20
CSV = "data/training.csv"
PARTITIONS = ("train.csv", "validation.csv", "metadata.json")


@pytest.fixture(scope="module")
def taller(tmp_path_factory, finished, run):
    """Un clon para todo el módulo. Cada prueba deja sus particiones como las encontró."""
    folder = tmp_path_factory.mktemp("entradas") / "taller"
    shutil.copytree(finished, folder, symlinks=True)
    run("dvc", "unprotect", "--quiet", "data", "partitions", "models", cwd=folder)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def refuse(run, folder, *command, status=1, watched=("partitions", "models", "metrics")):
    """Ejecuta algo que tiene que fallar: un mensaje, ninguna traza y nada cambiado."""
    before = {name: contents(folder / name) for name in watched}
    done = run("python", *command, cwd=folder, status=status)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    errors = [
        line for line in done.stderr.splitlines() if re.match(r"(Error|\w+\.py: error): ", line)
    ]
    assert len(errors) == 1, done.stderr
    assert {name: contents(folder / name) for name in watched} == before
    return done.stderr.replace("\\", "/")  # las rutas de Windows


def table(delimiter=",", newline="\n", decimal=".", **changed):
    """Un CSV de 20 filas. `changed` cambia líneas: `line_3="…"` es la tercera de un editor."""
    lines = [delimiter.join(["celsius", "fahrenheit"])]
    for n in range(ROWS):
        celsius = f"{n / 2}".replace(".", decimal)
        fahrenheit = f"{n * 0.9 + 32:.1f}".replace(".", decimal)
        lines.append(delimiter.join([celsius, fahrenheit]))
    for name, text in changed.items():
        lines[int(name.removeprefix("line_")) - 1] = text
    return newline.join(lines) + newline


# --- prepare_data.py: lo que no vale -----------------------------------------------------------


def xlsx():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    return buffer.getvalue()


MANY_BAD = {f"line_{n}": f"{n},malo" for n in range(2, 10)}
CONFLICT = "<<<<<<< HEAD\n1,33.8\n=======\n1,34\n>>>>>>> rama"

# Nombre del caso: (lo que hay en el fichero, trozos que el mensaje tiene que llevar).
BAD_FILES = {
    "vacío": ("", ["está vacío"]),
    "solo espacios": (" \r\n\r\n", ["está vacío"]),
    "solo la marca BOM": (b"\xef\xbb\xbf", ["está vacío"]),
    "solo la cabecera": ("celsius,fahrenheit\n", ["solo tiene la cabecera"]),
    "cabecera y filas vacías": ("celsius;fahrenheit\n;\n;\n", ["solo tiene la cabecera"]),
    "una fila": ("celsius,fahrenheit\n1,33.8\n", ["muy pocas filas (1)"]),
    "dos filas": ("celsius,fahrenheit\n1,33.8\n2,35.6\n", ["muy pocas filas (2)"]),
    "sin cabecera": (table(line_1="0.0,32.0"), ["no hay columna «fahrenheit»", "«0.0», «32.0»"]),
    "sin el objetivo": (
        table(line_1="celsius,farenheit"),
        ["no hay columna «fahrenheit». Las que hay son: «celsius», «farenheit»", "«farenheit»?"],
    ),
    "el objetivo en mayúsculas": (table(line_1="celsius,FAHRENHEIT"), ["¿Querías decir «FAHR"]),
    "solo el objetivo": ("fahrenheit\n" + "1\n2\n3\n" * 9, ["al menos otra columna"]),
    "una columna dos veces": (
        table(line_1="fahrenheit,fahrenheit"),
        ["línea 1: hay dos columnas «fahrenheit»"],
    ),
    "una columna dos veces, con espacios": (
        "\n\n" + table(line_1=" celsius , celsius"),
        ["línea 3: hay dos columnas «celsius»"],
    ),
    "texto": (table(line_3="frío,32"), ["línea 3, columna «celsius»: «frío» no es un número"]),
    "celda vacía": (table(line_3="1,"), ["línea 3, columna «fahrenheit»: la celda está vacía"]),
    "celda con espacios": (table(line_3="  ,32"), ["línea 3, columna «celsius»: la celda está va"]),
    "NaN": (table(line_3="NaN,32"), ["línea 3, columna «celsius»: «NaN» no es un número finito"]),
    "infinito": (table(line_21="1,-inf"), ["línea 21, columna «fahrenheit»: «-inf» no es un núm"]),
    "se desborda": (table(line_4="1e400,32"), ["línea 4, columna «celsius»: «1e400» es demasiado"]),
    "demasiado grande": (table(line_4="1e200,32"), ["columna «celsius»: números demasiado grande"]),
    "con unidad": (table(line_4="1.5 °C,32"), ["línea 4", "«1.5 °C»", "Si lleva unidad, quítala"]),
    "con unidad pegada": (table(line_4="1.5C,32"), ["línea 4", "«1.5C»", "quítala"]),
    "error de Excel": (table(line_4="#¡DIV/0!,32"), ["línea 4", "«#¡DIV/0!» no es un número"]),
    "miles con punto": (
        table(";", decimal=",", line_5="1.234,5;32"),
        ["línea 5, columna «celsius»: «1.234,5» lleva separador de miles"],
    ),
    "miles con espacio": (table(line_5="1 234,32"), ["línea 5", "«1 234» lleva separador de mil"]),
    "miles con coma": (table(line_5='"1,234.5",32'), ["«1,234.5» lleva separador de miles"]),
    "coma decimal entre comillas": (table(line_5='"1,5",32'), ["línea 5", "«1,5» lleva coma"]),
    "coma decimal sin comillas": (
        table(line_5="1,5,33,8"),
        ["línea 5: sobran campos: hay 4, y en la cabecera 2. Si usas coma decimal"],
    ),
    "punto y coma decimal": (
        table(";", decimal=",", line_6="1.5;33,8"),
        ["línea 6, columna «celsius»: «1.5» lleva punto, y las de antes, coma"],
    ),
    "subrayado": (table(line_3="1_000,32"), ["línea 3", "«1_000» no es un número"]),
    "cifras de otro alfabeto": (table(line_3="٣,32"), ["línea 3", "«٣» no es un número"]),
    "un número muy lejos": (
        "a;fahrenheit\n" + "lluvia;1\n" * 300 + "\u00a05;1\n",
        ["300 celdas no son números", "línea 2, columna «a»: «lluvia»", "… y 295 más"],
    ),
    "muchas celdas malas": (
        table(**MANY_BAD),
        ["8 celdas no son números:", "línea 2", "línea 6, columna «fahrenheit»", "… y 3 más."],
    ),
    "falta un campo": (table(line_7="1"), ["línea 7: faltan campos: hay 1, y en la cabecera 2"]),
    "sobra un campo": (table(line_7="1,2,3"), ["línea 7: sobran campos: hay 3"]),
    "una fila con otro separador": (table(line_7="1;33.8"), ["línea 7: faltan campos: hay 1"]),
    "sobra un separador": (table(";", line_7="1;2;"), ["línea 7: sobran campos: hay 3"]),
    "fila vacía en medio": (
        table(";", line_7=";"),
        ["2 celdas no son números", "línea 7, columna «celsius»: la celda está vacía"],
    ),
    "comillas sin cerrar": (table(line_7='"1,33.8'), ["línea 7: unas comillas se abren y no se"]),
    "comillas sin cerrar al final": (
        table(line_21='1,"33.8'),
        ["línea 21: unas comillas se abren"],
    ),
    "comillas sin cerrar en la cabecera": (
        table(line_1='"celsius,fahrenheit'),
        ["línea 1", "cabec"],
    ),
    "columna constante": (
        "celsius,fahrenheit\n" + "".join(f"7,{n}\n" for n in range(ROWS)),
        ["columna «celsius»: todas las filas de entrenamiento valen 7"],
    ),
    "objetivo constante": (
        "celsius,fahrenheit\n" + "".join(f"{n},7\n" for n in range(ROWS)),
        ["columna «fahrenheit»: todas las filas de entrenamiento valen 7"],
    ),
    "una imagen": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ["no son de texto. ¿Seguro que es un"]),
    "un libro de Excel": (xlsx(), ["es un libro de Excel", "Guardar como"]),
    "bytes nulos": (b"celsius,fahrenheit\n1,33.8\n\x00\x00,1\n", ["línea 3: hay bytes que no son"]),
    "nulos muy lejos": (
        table().encode() + b"1,33.8\n" * 20_000 + b"\0",
        ["línea 20022: hay bytes"],
    ),
    "UTF-16": (table().encode("utf-16"), ["está en UTF-16", "CSV UTF-8"]),
    "ni UTF-8 ni cp1252": (table().encode() + b"\x81\xff,1\n", ["no es texto en UTF-8 ni en cp12"]),
    "conflicto de Git": (table(line_4=CONFLICT), ["línea 4: hay marcas de un conflicto de Git"]),
    "conflicto a medio borrar": (table(line_4="======="), ["línea 4: hay marcas de un conflicto"]),
    "conflicto con CRLF": (
        table(line_4=CONFLICT).replace("\n", "\r\n"),
        ["línea 4: hay marcas de un conflicto de Git"],
    ),
    "fin de línea de un Mac antiguo": (
        table(newline="\r", line_9="x,1"),
        ["línea 9, columna «cel"],
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused(taller, run, name):
    content, expected = BAD_FILES[name]
    raw = content if isinstance(content, bytes) else content.encode("utf-8")
    (taller / CSV).write_bytes(raw)
    error = refuse(run, taller, "prepare_data.py")
    assert CSV in error
    for text in expected:
        assert text in error


def test_a_missing_file_and_a_folder_are_refused(taller, run):
    (taller / CSV).unlink(missing_ok=True)
    error = refuse(run, taller, "prepare_data.py")
    assert f"no existe {CSV}" in error and "dvc pull" in error
    assert "es una carpeta" in refuse(run, taller, "prepare_data.py", "--input", "data")


# --- prepare_data.py: lo que sí vale -----------------------------------------------------------

WITH_TEXT = table().replace("\n", ",Año\n").replace("fahrenheit,Año", "fahrenheit,estación")
WITH_INDEX = "".join(
    f"{n - 1}," * (n > 0) + "," * (n == 0) + line + "\n"
    for n, line in enumerate(table().splitlines())
)
QUOTED = re.sub(r"[^,\n]+", r'"\g<0>"', table())
REVERSED = "".join(",".join(line.split(",")[::-1]) + "\n" for line in table().splitlines())

# Todos dicen lo mismo que table(): tienen que dar las mismas particiones.
GOOD_FILES = {
    "UTF-8 con BOM": table().encode("utf-8-sig"),
    "cp1252": WITH_TEXT.encode("cp1252"),
    "latin-1 con CRLF": WITH_TEXT.replace("\n", "\r\n").encode("latin-1"),
    "CRLF": table(newline="\r\n"),
    "CR": table(newline="\r"),
    "punto y coma": table(";"),
    "tabulador": table("\t"),
    "punto y coma, coma decimal, CRLF": table(";", "\r\n", ","),
    "tabulador y coma decimal": table("\t", decimal=","),
    "comillas": QUOTED,
    "comillas y coma decimal": QUOTED.replace(",", ";").replace(".", ","),
    "espacios alrededor": table(" , ").replace("\n", " \n "),
    "espacios y comillas": QUOTED.replace(",", " , "),
    "líneas vacías al final": table() + "\n\n\n",
    "líneas vacías al principio": "\n \r\n" + table(),
    "filas vacías al final": table(";") + ";\n;\n;;\n",
    "sin fin de línea": table().removesuffix("\n"),
    "columnas en otro orden": REVERSED,
    "columna de texto": WITH_TEXT,
    "columna de texto con comas": WITH_TEXT.replace(",Año", ',"Seattle, Año"'),
    "índice de pandas": WITH_INDEX,
    "índice de pandas leído dos veces": "Unnamed: 0" + WITH_INDEX,
    "separador de más en todas las filas": table().replace("\n", ",\n"),
    "notación científica y signos": table(line_2="+0e0,3.2E+1", line_4="1.,.338e2"),
}


@pytest.fixture(scope="module")
def expected(taller, run):
    """Las particiones que salen de table()."""
    (taller / CSV).write_text(table(), encoding="utf-8", newline="\n")
    run("python", "prepare_data.py", "--output", "esperado", cwd=taller)
    return contents(taller / "esperado")


@pytest.mark.parametrize("name", GOOD_FILES)
def test_a_good_file_gives_the_same_partitions(taller, run, expected, name):
    content = GOOD_FILES[name]
    raw = content if isinstance(content, bytes) else content.encode("utf-8")
    (taller / CSV).write_bytes(raw)
    done = run("python", "prepare_data.py", "--output", "visto", cwd=taller)
    assert "Error" not in done.stderr
    assert contents(taller / "visto") == expected


def test_what_is_left_out_is_told(taller, run):
    (taller / CSV).write_text(WITH_INDEX.replace("\n", ",Año\n"), encoding="utf-8")
    done = run("python", "prepare_data.py", "--output", "visto", cwd=taller)
    assert "Aviso: " in done.stderr
    assert "la columna 1 no tiene nombre y no se usa" in done.stderr
    assert "la columna «Año» no tiene ningún número y no se usa" in done.stderr


# --- Las opciones ------------------------------------------------------------------------------

# Orden: trozos que el mensaje tiene que llevar. Estado 2, como cualquier opción mal escrita.
# Los demás valores que no valen están en test_properties.py: cargar PyTorch para cada uno cansa.
BAD_OPTIONS = {
    "prepare_data.py --validation-size 0": ["«0» no vale", "mayor que 0 y menor que 1"],
    "prepare_data.py --validation-size nan": ["«nan» no vale"],
    "prepare_data.py --validation-size 0,2": ["«0,2» no vale", "punto decimal"],
    "prepare_data.py --seed -1": ["--seed", "«-1» no vale", "de 0 a 4294967295"],
    "prepare_data.py --features celsius fahrenheit": ["«fahrenheit» no puede ser a la vez"],
    "prepare_data.py --features celsius celsius": ["«celsius» está dos veces"],
    "prepare_data.py --features": ["--features", "falta su valor"],
    "prepare_data.py --semilla 3": ["opciones desconocidas: --semilla 3"],
    "prepare_data.py --val 0.2": ["opciones desconocidas: --val 0.2"],
    "train.py --epochs 0": ["--epochs", "«0» no vale", "de 1 a 1000000"],
    "train.py --lr inf": ["«inf» no vale"],
    "train.py --name ../otro": ["«../otro» no sirve como nombre de fichero"],
    "eval.py --name a/b": ["«a/b» no sirve como nombre de fichero"],
    "eval.py --epochs 3": ["opciones desconocidas: --epochs 3"],
}


@pytest.mark.parametrize("command", BAD_OPTIONS)
def test_a_bad_option_is_refused(taller, run, command):
    script, *options = command.split()
    error = refuse(run, taller, script, *options, status=2)
    assert error.startswith("uso: ")
    for text in BAD_OPTIONS[command]:
        assert text in error


def test_a_column_that_is_not_there_is_refused(taller, run):
    (taller / CSV).write_text(table(), encoding="utf-8")
    error = refuse(run, taller, "prepare_data.py", "--features", "kelvin")
    assert "no hay columna «kelvin». Las que hay son: «celsius», «fahrenheit»" in error
    assert "no hay columna «»" in refuse(run, taller, "prepare_data.py", "--target", "")


def test_a_tiny_validation_size_is_too_few_rows(taller, run):
    (taller / CSV).write_text(table(), encoding="utf-8")
    error = refuse(run, taller, "prepare_data.py", "--validation-size", "1e-300")
    assert "quedarían 20 para entrenar y 0 para validar" in error


# --- train.py y eval.py: lo que dejó la etapa anterior -----------------------------------------


def change_metadata(**changes):
    def change(path):
        metadata = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(metadata | changes), encoding="utf-8")

    return change


def replace(old, new):
    def change(path):
        path.write_bytes(path.read_bytes().replace(old, new, 1))

    return change


def keep(size):
    def change(path):
        path.write_bytes(path.read_bytes()[:size])

    return change


def remove(path):
    path.unlink()


def write(raw):
    return lambda path: path.write_bytes(raw)


# Caso: (script, fichero, qué le pasa, trozos del mensaje). El fichero se arregla después.
BAD_STAGES = {
    "sin metadatos": ("train.py", "partitions/metadata.json", remove, ["no existe", "dvc repro"]),
    "metadatos cortados": ("train.py", "partitions/metadata.json", keep(60), ["no es JSON"]),
    "metadatos en binario": (
        "eval.py",
        "partitions/metadata.json",
        write(b"\xff\0"),
        ["no es JSON"],
    ),
    "metadatos vacíos": ("eval.py", "partitions/metadata.json", write(b"{}"), ["le faltan datos"]),
    "metadatos con otra columna": (
        "train.py",
        "partitions/metadata.json",
        change_metadata(features=["kelvin"]),
        ["le faltan datos o no cuadran"],
    ),
    "metadatos con otras filas": (
        "train.py",
        "partitions/metadata.json",
        change_metadata(rows={"train": 3, "validation": 584}),
        ["partitions/train.csv no cuadra con metadata.json", "debería tener 3"],
    ),
    "metadatos absurdos": (
        "eval.py",
        "partitions/metadata.json",
        change_metadata(
            columns={
                name: {"mean": 0.0, "scale": 1e300, "unit": ""}
                for name in ("celsius", "fahrenheit")
            }
        ),
        ["no es un número finito", "dvc repro"],
    ),
    "sin partición": ("train.py", "partitions/train.csv", remove, ["no existe partitions/train"]),
    "partición cortada": ("train.py", "partitions/train.csv", keep(2000), ["partitions/train.csv"]),
    "partición vacía": ("eval.py", "partitions/validation.csv", write(b""), ["está vacío"]),
    "partición sin una columna": (
        "train.py",
        "partitions/validation.csv",
        replace(b"celsius", b"kelvin"),
        ["partitions/validation.csv: no hay columna «celsius»"],
    ),
    "columnas cambiadas": (
        "eval.py",
        "partitions/validation.csv",
        replace(b"celsius,fahrenheit", b"fahrenheit,celsius"),
        ["partitions/validation.csv no cuadra con metadata.json", "columnas fahrenheit, celsius"],
    ),
    "una celda mala": (
        "train.py",
        "partitions/train.csv",
        replace(b"fahrenheit\n", b"fahrenheit\nnan,1\n"),
        ["partitions/train.csv, línea 2, columna «celsius»: «nan» no es un número finito"],
    ),
    "sin modelo": (
        "eval.py",
        "models/rapido.pt",
        remove,
        ["models/rapido.pt: no existe", "train.py"],
    ),
    "modelo vacío": ("eval.py", "models/rapido.pt", keep(0), ["models/rapido.pt está dañado"]),
    "modelo cortado": ("eval.py", "models/rapido.pt", keep(500), ["models/rapido.pt está dañado"]),
    "modelo que no lo es": ("eval.py", "models/rapido.pt", write(b"hola"), ["está dañado"]),
}


@pytest.mark.parametrize("name", BAD_STAGES)
def test_what_a_stage_left_damaged_is_refused(taller, run, name):
    script, path, damage, expected = BAD_STAGES[name]
    good = (taller / path).read_bytes()
    try:
        damage(taller / path)
        error = refuse(run, taller, script)
    finally:
        (taller / path).write_bytes(good)
    for text in expected:
        assert text in error


def test_a_model_of_other_dimensions_is_refused(taller, run):
    good = (taller / "models/rapido.pt").read_bytes()
    run(
        "python",
        "-c",
        "import torch, model; "
        "torch.save(model.LinearRegression(2, 1).state_dict(), 'models/rapido.pt'); "
        "torch.save([1, 2], 'models/lento.pt')",
        cwd=taller,
    )
    try:
        error = refuse(run, taller, "eval.py")
        assert "no es una regresión lineal de tantas entradas" in error and "(1)" in error
        assert "models/lento.pt está dañado" in refuse(run, taller, "eval.py", "--name", "lento")
    finally:
        (taller / "models/rapido.pt").write_bytes(good)


def test_a_model_cannot_run_code(taller, run):
    class Attack:
        def __reduce__(self):
            return os.mkdir, ("atacado",)

    good = (taller / "models/rapido.pt").read_bytes()
    (taller / "models/rapido.pt").write_bytes(pickle.dumps(Attack()))
    try:
        assert "models/rapido.pt está dañado" in refuse(run, taller, "eval.py")
    finally:
        (taller / "models/rapido.pt").write_bytes(good)
    assert not (taller / "atacado").exists()


def test_a_diverging_run_is_refused(taller, run):
    error = refuse(run, taller, "train.py", "--lr", "50")
    assert "diverge" in error and "--lr" in error


# --- El disco ----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows no limita el tamaño de un fichero")
@pytest.mark.parametrize("script", ["prepare_data.py", "train.py", "eval.py"])
def test_a_full_disk_is_a_message(taller, run, script):
    """Un límite de 4 kB por fichero: la escritura falla a medias, como en un disco lleno."""
    (taller / CSV).write_text(table() + "1,33.8\n" * 2000, encoding="utf-8")
    limited = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        f"sys.path.insert(0, ''); runpy.run_path({script!r}, run_name='__main__')"
    )
    watched = ("partitions", "models", "metrics", "evaluations")
    error = refuse(run, taller, "-c", limited, watched=watched)
    assert "el fichero es demasiado grande" in error


def test_an_output_that_cannot_be_written_is_a_message(taller, run):
    (taller / CSV).write_text(table(), encoding="utf-8")
    error = refuse(run, taller, "prepare_data.py", "--output", "dvc.yaml/x")
    assert "dvc.yaml/x" in error
    (taller / "ocupado" / "train.csv").mkdir(parents=True, exist_ok=True)
    error = refuse(run, taller, "prepare_data.py", "--output", "ocupado")
    assert "ocupado/train.csv es una carpeta" in error
    assert list((taller / "ocupado").iterdir()) == [taller / "ocupado" / "train.csv"]


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="los permisos de Windows son otros")
@pytest.mark.skipif(is_root(), reason="root escribe aunque la carpeta sea de solo lectura")
def test_a_read_only_folder_is_a_message(taller, run):
    (taller / CSV).write_text(table(), encoding="utf-8")
    folder = taller / "cerrada"
    folder.mkdir()
    folder.chmod(0o555)
    try:
        error = refuse(run, taller, "prepare_data.py", "--output", "cerrada")
    finally:
        folder.chmod(0o755)
    assert "no hay permiso" in error and "cerrada" in error
