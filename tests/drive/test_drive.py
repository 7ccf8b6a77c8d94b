"""DVC contra un Drive de mentira: lo que cuenta docs/google-drive.md, probado.

Cada fallo comprueba el texto que enseña la tabla de mensajes de la guía (`MESSAGES`), y el
accesorio `drive` comprueba al acabar que nadie pidió nada a otra máquina.
"""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from .people import (
    ANA,
    BETO,
    CLIENT_ID,
    CLIENT_SECRET,
    LIMIT,
    OBJECTS,
    contents,
    kill,
    login_ports_taken,
)
from .server import BUILT_IN_CLIENT

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="en Windows no se puede apartar la carpeta de permisos"
)

# Lo que dice DVC (o el navegador) en cada fallo; está también en la tabla de la guía.
MESSAGES = {
    "blocked": "This app is blocked",
    "not_a_tester": "Error 403: access_denied",
    "unknown_client": "Error 401: invalid_client",
    "wrong_secret": "invalid_client: The provided client secret is invalid.",
    "wrong_secret_login": "OAuth2 code exchange failed: invalid_client",
    "expired": "invalid_grant: Token has been expired or revoked.",
    "whole_link": "File not found: https",
    "not_found": "HttpError 404",
    "reader": "The user does not have sufficient permissions for this file.",
    "service_account": "Service Accounts do not have storage quota.",
    "too_many": "HttpError 429",
    "ports": "Failed to start a local web server.",
    "no_browser": "Non interactive mode (GDRIVE_NON_INTERACTIVE env) is enabled",
    "cut": "IncompleteRead",
    "corrupt": "is corrupted",
    "damaged": "Checkout failed for following targets",
    "missing": "Missing cache files",
    "typo": "extra keys not allowed",
    "repeated": "already exists",
    "interrupted": "interrupted by the user",
}

DVC_YAML = """\
stages:
  suma:
    cmd: python suma.py
    deps: [data, suma.py]
    outs: [total.txt]
"""
SUMA = """\
from pathlib import Path

lines = [line for path in sorted(Path("data").glob("*.csv")) for line in path.open()]
total = sum(int(line.split(",")[1]) for line in lines)
Path("total.txt").write_text(f"{total}\\n")
"""


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "se acabó la espera"
        time.sleep(0.05)


# --- el uso normal ----------------------------------------------------------------------------


def test_drive_two_accounts_share_data_and_outputs(drive, ana, beto, template, folder, tmp_path):
    origin = tmp_path / "origin.git"
    ana.git("init", "--bare", "--quiet", str(origin))
    ana.start_project(template, folder)
    (ana.cwd / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (ana.cwd / "suma.py").write_text(SUMA, encoding="utf-8")
    ana.dvc("repro")
    assert "files pushed" in ana.dvc("push")
    ana.git("add", ".")
    ana.git("commit", "--quiet", "-m", "Primera versión")
    ana.git("push", "--quiet", str(origin), "HEAD:main")

    beto.git("clone", "--quiet", "--branch", "main", str(origin), "taller")
    beto.cwd = beto.home / "taller"
    beto.use_client()
    beto.dvc("pull")
    assert contents(beto.cwd / "data") == contents(ana.cwd / "data")
    assert (beto.cwd / "total.txt").read_bytes() == (ana.cwd / "total.txt").read_bytes()

    before = (beto.cwd / "total.txt").read_bytes()
    (beto.cwd / "data" / "nuevo.csv").write_text("1,1000\n", encoding="utf-8")
    beto.dvc("add", "data")
    assert "Running stage 'suma'" in beto.dvc("repro")
    assert (beto.cwd / "total.txt").read_bytes() != before
    beto.dvc("push")
    beto.git("commit", "--quiet", "--all", "-m", "Añade datos")
    beto.git("push", "--quiet", str(origin), "HEAD:main")

    ana.git("pull", "--quiet", str(origin), "main")
    ana.dvc("pull")
    assert contents(ana.cwd / "data") == contents(beto.cwd / "data")
    assert (ana.cwd / "total.txt").read_bytes() == (beto.cwd / "total.txt").read_bytes()
    assert "up to date" in ana.dvc("status")
    assert drive.count("upload", ANA) and drive.count("upload", BETO)


def test_drive_status_and_fetch(drive, ana, template, folder):
    ana.start_project(template, folder)
    assert "new:" in ana.dvc("status", "--cloud")
    ana.dvc("push")
    assert "in sync" in ana.dvc("status", "--cloud")
    data = contents(ana.cwd / "data")
    ana.forget_data()
    ana.dvc("fetch")
    assert not (ana.cwd / "data").exists()
    ana.dvc("checkout")
    assert contents(ana.cwd / "data") == data


def test_drive_keeps_the_files_of_others(drive, ana, beto, template, folder):
    """Quien no es dueño de un fichero no puede borrarlo de Drive con `dvc gc --cloud`."""
    ana.start_project(template, folder)
    ana.dvc("push")
    kept = drive.files()
    beto.start_project(template, folder)
    (beto.cwd / "data" / "vacio.csv").unlink()
    beto.dvc("add", "data")
    assert MESSAGES["reader"] in beto.dvc("gc", "-w", "-c", "-f", status=255)
    assert drive.files().items() >= kept.items()


def test_drive_server_refuses_and_records_any_other_host(drive, ana):
    """Sin esto, que la lista de peticiones ajenas acabe vacía no probaría nada."""
    script = "import sys, urllib.request as u; u.urlopen(sys.argv[1])"
    ana.run(sys.executable, "-c", script, "https://example.com/", status=1)
    ana.run(sys.executable, "-c", script, "http://example.com/", status=1)
    assert drive.blocked == ["example.com:443", "http://example.com/"]
    drive.blocked.clear()


# --- entrar -----------------------------------------------------------------------------------


def test_drive_first_login_in_the_browser(drive, ana, template, folder, login_port):
    ana.start_project(template, folder)
    shutil.rmtree(ana.login_cache)
    ana.open_browser()
    output = ana.dvc("push")
    assert "Your browser has been opened to visit:" in output
    assert "Authentication successful." in output
    assert "The authentication flow has completed." in ana.page.read_text(encoding="utf-8")
    saved = ana.login_cache / CLIENT_ID / "default.json"
    assert json.loads(saved.read_text())["refresh_token"] in drive.secrets()
    assert saved.stat().st_mode & 0o777 == 0o600
    # La segunda vez ya no pregunta.
    del ana.env["BROWSER"]
    ana.env["GDRIVE_NON_INTERACTIVE"] = "1"
    assert "in sync" in ana.dvc("status", "--cloud")


@pytest.mark.parametrize("case", ["blocked", "not_a_tester", "unknown_client"])
def test_drive_refused_login_waits_for_ever(drive, ana, template, folder, login_port, case):
    """La página dice que no y nadie se lo cuenta a DVC, que sigue esperando."""
    client, page = {
        "blocked": (BUILT_IN_CLIENT, MESSAGES["blocked"]),
        "not_a_tester": (CLIENT_ID, MESSAGES["not_a_tester"]),
        "unknown_client": ("otro.apps.googleusercontent.com", MESSAGES["unknown_client"]),
    }[case]
    drive.add_client(CLIENT_ID, CLIENT_SECRET, testers=[BETO])
    ana.start_project(template, folder)
    shutil.rmtree(ana.login_cache)
    if client == BUILT_IN_CLIENT:
        # Lo que tiene quien se salta las dos órdenes del cliente propio.
        (ana.cwd / ".dvc" / "config.local").unlink()
    else:
        ana.dvc("remote", "modify", "--local", "myremote", "gdrive_client_id", client)
    ana.open_browser()
    process = ana.start("dvc", "push")
    try:
        wait_for(ana.page.exists)
        assert page in ana.page.read_text(encoding="utf-8")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        kill(process, signal.SIGINT)
        output = process.stdout.read()
    finally:
        if process.poll() is None:
            kill(process)
        process.stdout.close()
    assert f"client_id={client}" in output
    assert MESSAGES["interrupted"] in output
    assert drive.requests == []


def test_drive_wrong_secret(drive, ana, template, folder, login_port):
    ana.start_project(template, folder)
    ana.dvc("remote", "modify", "--local", "myremote", "gdrive_client_secret", "otro")
    shutil.rmtree(ana.login_cache)
    ana.open_browser()
    assert MESSAGES["wrong_secret_login"] in ana.dvc("push", status=255)


def test_drive_secret_changed_after_the_login(drive, ana, template, folder):
    ana.start_project(template, folder)
    drive.add_client(CLIENT_ID, "uno nuevo", testers=[ANA])
    expire_access(ana)
    assert MESSAGES["wrong_secret"] in ana.dvc("push", status=255)


@pytest.mark.parametrize("minutes", ["less than an hour", "days"])
def test_drive_revoked_permission(drive, ana, template, folder, minutes):
    ana.start_project(template, folder)
    drive.revoke(ANA)
    if minutes == "days":
        expire_access(ana)
    assert MESSAGES["expired"] in ana.dvc("push", status=255)
    assert drive.files() == {}


def expire_access(person):
    """Envejece el permiso de una hora que hay guardado: DVC tendrá que renovarlo."""
    path = person.login_cache / CLIENT_ID / "default.json"
    saved = json.loads(path.read_text()) | {"token_expiry": "2020-01-01T00:00:00Z"}
    path.write_text(json.dumps(saved), encoding="utf-8")


def test_drive_renews_an_expired_access_by_itself(drive, ana, template, folder):
    ana.start_project(template, folder)
    expire_access(ana)
    assert "pushed" in ana.dvc("push")


def test_drive_without_login_nor_browser(drive, ana, template, folder):
    ana.start_project(template, folder)
    shutil.rmtree(ana.login_cache)
    assert MESSAGES["no_browser"] in ana.dvc("push", status=255)


def test_drive_login_ports_taken(drive, ana, template, folder, login_turn):
    ana.start_project(template, folder)
    shutil.rmtree(ana.login_cache)
    ana.open_browser()
    with login_ports_taken():
        assert MESSAGES["ports"] in ana.dvc("push", status=255)


def test_drive_misspelt_setting(drive, ana, template, folder):
    ana.start_project(template, folder)
    wrong = ("remote", "modify", "--local", "myremote", "gdrive_clientid", "x")
    assert MESSAGES["typo"] in ana.dvc(*wrong, status=251)


def test_drive_remote_that_was_there_already(drive, ana, template, folder):
    ana.start_project(template, folder)
    again = ("remote", "add", "--default", "myremote", f"gdrive://{folder}")
    assert MESSAGES["repeated"] in ana.dvc(*again, status=251)


# --- permisos sobre la carpeta ----------------------------------------------------------------


@pytest.mark.parametrize("command, status", [("push", 255), ("pull", 1), ("status", 255)])
def test_drive_folder_without_access(drive, ana, template, command, status):
    ana.start_project(template, drive.add_folder("otra@example.com"))
    if command == "pull":
        ana.forget_data()
    arguments = ["status", "--cloud"] if command == "status" else [command]
    output = ana.dvc(*arguments, status=status)
    assert MESSAGES["not_found"] in output
    assert "File not found" in output


def test_drive_whole_link_instead_of_the_id(drive, ana, template, folder):
    ana.start_project(template, f"https://drive.google.com/drive/folders/{folder}")
    assert MESSAGES["whole_link"] in ana.dvc("push", status=255)
    ana.dvc("remote", "modify", "myremote", "url", f"gdrive://{folder}")
    ana.dvc("push")
    assert len(drive.files()) == OBJECTS


def test_drive_reader_pulls_but_cannot_push(drive, ana, beto, template):
    folder = drive.add_folder(ANA, readers=[BETO])
    ana.start_project(template, folder)
    beto.start_project(template, folder)
    assert MESSAGES["reader"] in beto.dvc("push", status=1)
    assert drive.files() == {}
    ana.dvc("push")
    beto.forget_data()
    beto.dvc("pull")
    assert contents(beto.cwd / "data") == contents(ana.cwd / "data")


def test_drive_service_account_on_a_personal_folder(drive, ana, template):
    robot = "robot@taller.iam.gserviceaccount.com"
    key_file = ana.home / "clave.json"
    key_file.write_text(json.dumps(drive.add_service_account(robot)), encoding="utf-8")
    ana.start_project(template, drive.add_folder(ANA, writers=[robot]))

    def use_service_account():
        settings = {
            "gdrive_use_service_account": "true",
            "gdrive_service_account_json_file_path": str(key_file),
        }
        for name, value in settings.items():
            ana.dvc("remote", "modify", "--local", "myremote", name, value)

    use_service_account()
    assert MESSAGES["service_account"] in ana.dvc("push", status=1)
    assert drive.files() == {}
    (ana.cwd / ".dvc" / "config.local").unlink()
    ana.use_client()
    ana.dvc("push")
    ana.forget_data()
    use_service_account()
    assert "fetched" in ana.dvc("pull")


# --- cuando Drive o la red fallan -------------------------------------------------------------


def test_drive_503_is_retried(drive, ana, template, folder):
    ana.start_project(template, folder)
    for operation in ("list", "insert", "start", "upload"):
        drive.fail(operation, 503)
    ana.dvc("push")
    data = contents(ana.cwd / "data")
    ana.forget_data()
    drive.fail("download", 503)
    ana.dvc("pull")
    assert contents(ana.cwd / "data") == data


def test_drive_429_is_loud_and_the_next_push_goes_on(drive, ana, template, folder):
    ana.start_project(template, folder)
    limit = {"reason": "rateLimitExceeded", "message": "Rate Limit Exceeded"}
    drive.fail("start", 429, times=2, **limit)
    assert MESSAGES["too_many"] in ana.dvc("push", status=1)
    assert len(drive.files()) == drive.count("upload") == OBJECTS - 3
    ana.dvc("push")
    assert len(drive.files()) == drive.count("upload") == OBJECTS
    assert "in sync" in ana.dvc("status", "--cloud")


def test_drive_killed_push_goes_on_where_it_was(drive, ana, template, folder):
    ana.start_project(template, folder)
    # Las hebras de DVC suben varios a la vez: todas se paran tras el tercero.
    drive.fail("upload", "stall", skip=3, times=100)
    process = ana.start("dvc", "push")
    try:
        assert drive.stalled.wait(30)
    finally:
        kill(process)
        process.stdout.close()
    assert len(drive.files()) == 3
    drive.heal()
    sent = drive.count("upload")
    ana.dvc("push")
    assert len(drive.files()) == OBJECTS
    assert drive.count("upload") - sent == OBJECTS - 3
    assert "in sync" in ana.dvc("status", "--cloud")


def test_drive_hanging_push_stops_at_the_second_ctrl_c(drive, ana, template, folder):
    ana.start_project(template, folder)
    drive.fail("upload", "stall", skip=3)
    process = ana.start("dvc", "push")
    try:
        assert drive.stalled.wait(30)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=LIMIT)
    finally:
        if process.poll() is None:
            kill(process)
    assert process.returncode == 252
    assert MESSAGES["interrupted"] in output
    ana.dvc("push")
    assert "in sync" in ana.dvc("status", "--cloud")


def test_drive_cut_download(drive, ana, template, folder):
    ana.start_project(template, folder)
    data = contents(ana.cwd / "data")
    ana.dvc("push")
    ana.forget_data()
    drive.fail("download", "truncate", times=100)
    assert MESSAGES["cut"] in ana.dvc("pull", status=1)
    assert not (ana.cwd / "data").exists()
    drive.heal()
    ana.dvc("pull")
    assert contents(ana.cwd / "data") == data


def test_drive_damaged_list_of_files(drive, ana, template, folder):
    ana.start_project(template, folder)
    data = contents(ana.cwd / "data")
    ana.dvc("push")
    ana.forget_data()
    # DVC tolera que falle la primera lectura de la lista, que luego repite.
    drive.fail("download list", "corrupt", skip=1)
    assert MESSAGES["corrupt"] in ana.dvc("pull", status=255)
    ana.dvc("pull")
    assert contents(ana.cwd / "data") == data


def test_drive_damaged_file_never_lands_among_the_data(drive, ana, template, folder):
    ana.start_project(template, folder)
    data = contents(ana.cwd / "data")
    ana.dvc("push")
    ana.forget_data()
    drive.fail("download", "corrupt", times=100)
    assert MESSAGES["damaged"] in ana.dvc("pull", status=1)
    assert not (ana.cwd / "data").exists()
    drive.heal()
    ana.dvc("pull")
    assert contents(ana.cwd / "data") == data


def test_drive_pull_before_anyone_pushed(drive, ana, template, folder):
    ana.start_project(template, folder)
    ana.forget_data()
    assert MESSAGES["missing"] in ana.dvc("pull", status=1)
