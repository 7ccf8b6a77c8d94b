"""Un Google Drive de mentira, en este ordenador, para los tests.

Habla lo que el cliente real de DVC (PyDrive2) usa de OAuth y de la API v2 de Drive. El `dvc` de un
subproceso llega aquí sin cambiarle nada: HTTPS_PROXY lo trae a este servidor, que se presenta como
Google con un certificado de una autoridad de usar y tirar (HTTPLIB2_CA_CERTS). A cualquier otra
dirección le dice que no, y la apunta en `blocked`.

    with Drive(Path("carpeta-temporal")) as drive:
        drive.add_client("ID", "SECRETO", testers=["ana@example.com"])
        folder = drive.add_folder("ana@example.com", writers=["beto@example.com"])
        drive.fail("upload", 503)                 # la próxima subida falla una vez
        subprocess.run(["dvc", "push"], env=os.environ | drive.environment())

Los errores son como los describe la documentación de Google; no están grabados de un Drive real.
"""

import base64
import contextlib
import datetime
import hashlib
import json
import re
import secrets
import ssl
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

LOGIN, TOKENS, API = "accounts.google.com", "oauth2.googleapis.com", "www.googleapis.com"
HOSTS = (LOGIN, TOKENS, API)
# El cliente de OAuth que DVC trae de fábrica, y que Google bloquea.
BUILT_IN_CLIENT = "710796635688-iivsgbgsb6uv1fap6635dhvuei09o66c.apps.googleusercontent.com"
FILES, UPLOADS = "/drive/v2/files", "/upload/drive/v2/files"
FOLDER_TYPE = "application/vnd.google-apps.folder"
# Un servidor que espera para siempre colgaría también los tests.
LONGEST_WAIT = 60


@dataclass
class Item:
    """Un fichero o una carpeta de Drive, con las personas con quienes se ha compartido."""

    id: str
    title: str
    owner: str
    parent: str | None
    mime_type: str = FOLDER_TYPE
    content: bytes = b""
    roles: dict[str, str] = field(default_factory=dict)

    def metadata(self) -> dict:
        data = {"id": self.id, "title": self.title, "mimeType": self.mime_type, "labels": {}}
        data["parents"] = [{"id": self.parent}] if self.parent else []
        if self.mime_type != FOLDER_TYPE:
            data["fileSize"] = str(len(self.content))
            data["md5Checksum"] = hashlib.md5(self.content, usedforsecurity=False).hexdigest()
        return data


@dataclass
class Fault:
    """Lo que saldrá mal: un código de HTTP, "stall", "corrupt" o "truncate"."""

    operation: str
    what: int | str
    reason: str
    message: str
    skip: int
    times: int


@dataclass
class Answer:
    body: bytes | str | dict
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    declared_length: int | None = None


class DriveError(Exception):
    """Un error de la API, con la forma en que Drive v2 lo cuenta."""

    def __init__(self, status: int, reason: str, message: str):
        super().__init__(message)
        error = {"domain": "global", "reason": reason, "message": message}
        body = {"error": {"errors": [error], "code": status, "message": message}}
        self.answer = Answer(body, status)


class TokenError(Exception):
    """Un error de OAuth: no hay permiso que dar."""

    def __init__(self, status: int, error: str, description: str):
        super().__init__(description)
        self.answer = Answer({"error": error, "error_description": description}, status)


class Drive:
    """El servidor y lo que guarda: cuentas, clientes de OAuth, permisos, carpetas y ficheros."""

    def __init__(self, workdir: Path):
        self.ca_file = workdir / "ca.pem"
        self.blocked: list[str] = []  # lo que alguien pidió y este servidor no es
        self.requests: list[tuple[str, str]] = []  # (cuenta, operación)
        self.items: dict[str, Item] = {}
        self.stalled = threading.Event()
        self.service_keys: dict[str, rsa.RSAPrivateKey] = {}
        self._clients: dict[str, tuple[str, list[str]]] = {}
        self._grants: dict[str, tuple[str, str]] = {}  # código o refresh token: cuenta, cliente
        self._access: dict[str, str] = {}  # access token: cuenta
        self._uploads: dict[str, tuple[str, dict]] = {}
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.tls = _tls_context(workdir, self.ca_file)
        handler = type("BoundHandler", (_Handler,), {"drive": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True

    def __enter__(self) -> "Drive":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # --- lo que prepara un test ---------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Variables con las que un subproceso toma este servidor por Google."""
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
        return dict.fromkeys(names, proxy) | {
            "HTTPLIB2_CA_CERTS": str(self.ca_file),
            "SSL_CERT_FILE": str(self.ca_file),
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }

    def add_client(self, client_id: str, secret: str, testers: list[str]) -> None:
        self._clients[client_id] = (secret, testers)

    def add_folder(self, owner: str, writers=(), readers=()) -> str:
        roles = dict.fromkeys(writers, "writer") | dict.fromkeys(readers, "reader")
        item = Item(_new_id(), "carpeta del taller", owner, None, roles=roles)
        self.items[item.id] = item
        return item.id

    def add_service_account(self, email: str) -> dict:
        """Crea una cuenta de servicio y devuelve el fichero de clave que descarga su dueño."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.service_keys[email] = key
        return {
            "type": "service_account",
            "client_email": email,
            "client_id": "1",
            "private_key_id": "clave",
            "private_key": _pem(key),
            "token_uri": f"https://{TOKENS}/token",
        }

    def login(self, email: str, client_id: str) -> dict:
        """Devuelve lo que PyDrive2 guarda en default.json cuando alguien entra por el navegador."""
        tokens = self._new_tokens(email, client_id)
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        return {
            "_class": "OAuth2Credentials",
            "_module": "oauth2client.client",
            "access_token": tokens["access_token"],
            "refresh_token": tokens["refresh_token"],
            "client_id": client_id,
            "client_secret": self._clients[client_id][0],
            "token_expiry": soon.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "token_uri": f"https://{TOKENS}/token",
            "revoke_uri": f"https://{TOKENS}/revoke",
            "user_agent": None,
            "id_token": None,
            "token_response": None,
            "scopes": [],
            "token_info_uri": None,
            "invalid": False,
        }

    def revoke(self, email: str) -> None:
        """Retira el permiso, como Google a los 7 días de una aplicación en pruebas."""
        self._grants = {key: grant for key, grant in self._grants.items() if grant[0] != email}
        self._access = {key: owner for key, owner in self._access.items() if owner != email}

    def fail(
        self,
        operation: str,
        what: int | str,
        *,
        reason="backendError",
        message="Backend Error",
        skip: int = 0,
        times: int = 1,
    ) -> None:
        """Hace fallar una operación `times` veces, tras dejar pasar las `skip` primeras."""
        self._faults.append(Fault(operation, what, reason, message, skip, times))

    def heal(self) -> None:
        """Olvida los fallos que quedaban por salir."""
        self._faults.clear()

    def count(self, operation: str, email: str | None = None) -> int:
        return sum(op == operation and email in (None, who) for who, op in self.requests)

    def files(self) -> dict[str, bytes]:
        """El contenido de los ficheros de Drive, por su ruta dentro de la carpeta compartida."""

        def path(item: Item) -> str:
            parent = self.items[item.parent]
            return item.title if parent.parent is None else f"{path(parent)}/{item.title}"

        items = self.items.values()
        return {path(item): item.content for item in items if item.mime_type != FOLDER_TYPE}

    def secrets(self) -> list[str]:
        """Todo lo que nunca debe llegar a Git: secretos de los clientes y permisos vivos."""
        clients = [secret for secret, _ in self._clients.values()]
        return [*clients, *self._grants, *self._access]

    # --- lo que hace con una petición ---------------------------------------------------------

    def handle(self, method: str, host: str, target: str, headers, body: bytes) -> Answer:
        method = headers.get("X-HTTP-Method-Override", method)
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        if headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            # PyDrive2 manda así también las listas cuya dirección saldría demasiado larga.
            query |= dict(parse_qsl(body.decode()))
        try:
            if (method, host, url.path) == ("GET", LOGIN, "/o/oauth2/auth"):
                return self._consent(query, headers.get("Cookie", ""))
            if (method, host, url.path) == ("POST", TOKENS, "/token"):
                return self._token(query)
            if host == API:
                return self._api(method, url.path, query, headers, body)
        except (DriveError, TokenError) as error:
            return error.answer
        return self._unknown(f"{method} {host}{url.path}")

    def _unknown(self, request: str) -> Answer:
        self.blocked.append(request)
        return Answer("Este servidor de pruebas no sabe hacer eso.", 404)

    def _consent(self, query: dict, cookie: str) -> Answer:
        """La página donde una persona da permiso: aquí dice que sí a quien puede entrar."""
        email, client_id = cookie.removeprefix("account="), query["client_id"]
        if client_id == BUILT_IN_CLIENT:
            return Answer("This app is blocked", 403)
        if client_id not in self._clients:
            return Answer("The OAuth client was not found. Error 401: invalid_client", 401)
        if email not in self._clients[client_id][1]:
            return Answer("Access blocked. Error 403: access_denied", 403)
        code = secrets.token_urlsafe()
        self._grants[code] = (email, client_id)
        return Answer("", 302, {"Location": f"{query['redirect_uri']}?{urlencode({'code': code})}"})

    def _token(self, form: dict) -> Answer:
        if form["grant_type"].endswith("jwt-bearer"):
            return Answer(self._new_tokens(self._check_service_account(form["assertion"]), None))
        client_id = form["client_id"]
        if self._clients.get(client_id, ("",))[0] != form["client_secret"]:
            raise TokenError(401, "invalid_client", "The provided client secret is invalid.")
        grant = form.get("code") or form.get("refresh_token")
        if self._grants.get(grant, ("", ""))[1] != client_id:
            raise TokenError(400, "invalid_grant", "Token has been expired or revoked.")
        email = self._grants[grant][0]
        if "code" in form:
            del self._grants[grant]
            return Answer(self._new_tokens(email, client_id))
        return Answer(self._new_tokens(email, None))

    def _new_tokens(self, email: str, client_id: str | None) -> dict:
        """Da un permiso de una hora y, si hay cliente, otro que dura para renovarlo."""
        answer = {"access_token": secrets.token_urlsafe(), "expires_in": 3600}
        self._access[answer["access_token"]] = email
        if client_id:
            answer["refresh_token"] = secrets.token_urlsafe()
            self._grants[answer["refresh_token"]] = (email, client_id)
        return answer | {"token_type": "Bearer"}

    def _check_service_account(self, assertion: str) -> str:
        signed, _, signature = assertion.rpartition(".")
        email = json.loads(_unpadded(signed.partition(".")[2]))["iss"]
        try:
            self.service_keys[email].public_key().verify(
                _unpadded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (KeyError, InvalidSignature):
            raise TokenError(400, "invalid_grant", "Invalid JWT Signature.") from None
        return email

    def _api(self, method: str, path: str, query: dict, headers, body: bytes) -> Answer:
        email = self._access.get(headers.get("Authorization", "").removeprefix("Bearer "))
        if email is None:
            raise DriveError(401, "authError", "Invalid Credentials")
        file_id = path.removeprefix(f"{FILES}/")
        one = f"{FILES}/{file_id}"
        routes = {
            ("GET", FILES): ("list", lambda: self._list(email, query)),
            ("POST", FILES): ("insert", lambda: self._insert(email, json.loads(body))),
            ("POST", UPLOADS): ("start", lambda: self._start_upload(email, json.loads(body))),
            ("PUT", UPLOADS): ("upload", lambda: self._upload(query["upload_id"], body)),
            ("GET", one): ("get", lambda: self._find(email, file_id).metadata()),
            ("DELETE", one): ("delete", lambda: self._delete(email, file_id)),
        }
        if query.get("alt") == "media":
            item = self._find(email, file_id)
            # DVC guarda en un objeto aparte, «.dir», la lista de los ficheros de una carpeta.
            operation = "download list" if item.title.endswith(".dir") else "download"
            routes["GET", one] = (operation, lambda: self._download(item))
        if (method, path) not in routes:
            return self._unknown(f"{method} {API}{path}")
        operation, action = routes[method, path]
        with self._lock:
            self.requests.append((email, operation))
            fault = self._next_fault(operation)
        if fault is not None:
            return self._break(fault, action)
        with self._lock:
            answer = action()
        return answer if isinstance(answer, Answer) else Answer(answer)

    def _next_fault(self, operation: str) -> Fault | None:
        for fault in self._faults:
            if fault.operation == operation and fault.times > 0:
                if fault.skip == 0:
                    fault.times -= 1
                    return fault
                fault.skip -= 1
        return None

    def _break(self, fault: Fault, action) -> Answer:
        if fault.what == "stall":
            self.stalled.set()
            self._closing.wait(LONGEST_WAIT)
            return Answer("Tiempo agotado", 504)
        if isinstance(fault.what, int):
            raise DriveError(fault.what, fault.reason, fault.message)
        answer = action()
        if not answer.body:
            return answer
        if fault.what == "corrupt":
            return Answer(bytes(byte ^ 1 for byte in answer.body), 200, answer.headers)
        half = answer.body[: len(answer.body) // 2]
        return Answer(half, 200, answer.headers, declared_length=len(answer.body))

    # --- las operaciones de Drive -------------------------------------------------------------

    def _role(self, email: str, item: Item) -> str | None:
        """El papel de la cuenta en un fichero: el suyo o el heredado de las carpetas de encima."""
        if item.owner == email:
            return "owner"
        if email in item.roles:
            return item.roles[email]
        return self._role(email, self.items[item.parent]) if item.parent else None

    def _find(self, email: str, file_id: str, *roles: str) -> Item:
        item = self.items.get(file_id)
        role = self._role(email, item) if item else None
        if role is None:
            raise DriveError(404, "notFound", f"File not found: {file_id}")
        if roles and role not in roles:
            message = "The user does not have sufficient permissions for this file."
            raise DriveError(403, "insufficientFilePermissions", message)
        return item

    def _list(self, email: str, query: dict) -> dict:
        """Las dos preguntas que hace PyDrive2: los hijos de unas carpetas y uno por nombre."""
        text = query["q"]
        title = re.search(r" and title='((?:[^'\\]|\\.)*)'$", text)
        text = text[: title.start()] if title else text
        parents = re.findall(r"'([\w-]+)' in parents", text)
        either = " or ".join(f"'{parent}' in parents" for parent in parents)
        if text not in (f"({either}) and trashed=false", f"trashed=false and ({either})"):
            raise DriveError(400, "invalid", "Invalid Value: q")
        found = [
            item
            for item in self.items.values()
            if item.parent in parents and self._role(email, item)
        ]
        if title:
            # Drive compara los nombres sin distinguir mayúsculas.
            wanted = re.sub(r"\\(.)", r"\1", title[1]).lower()
            found = [item for item in found if item.title.lower() == wanted]
        if len(found) > int(query.get("maxResults", 100)):
            raise DriveError(400, "invalid", "Este servidor no reparte las listas en páginas.")
        return {"items": [item.metadata() for item in found]}

    def _download(self, item: Item) -> Answer:
        if not item.content:
            # PyDrive2 pide siempre un rango, y un fichero vacío no tiene ninguno.
            return Answer(b"", 416, {"Content-Range": "bytes */0"})
        return Answer(item.content, 200, {"Content-Type": "application/octet-stream"})

    def _insert(self, email: str, metadata: dict) -> dict:
        parent = self._find(email, metadata["parents"][0]["id"], "owner", "writer")
        item = Item(_new_id(), metadata["title"], email, parent.id, metadata["mimeType"])
        self.items[item.id] = item
        return item.metadata()

    def _start_upload(self, email: str, metadata: dict) -> Answer:
        self._find(email, metadata["parents"][0]["id"], "owner", "writer")
        if email in self.service_keys:
            message = (
                "Service Accounts do not have storage quota. Leverage shared drives "
                "(https://developers.google.com/workspace/drive/api/guides/"
                "about-shareddrives), or use OAuth delegation "
                "(http://support.google.com/a/answer/7281227) instead."
            )
            raise DriveError(403, "storageQuotaExceeded", message)
        upload_id = secrets.token_urlsafe()
        self._uploads[upload_id] = (email, metadata)
        location = f"https://{API}{UPLOADS}?uploadType=resumable&upload_id={upload_id}"
        return Answer("", 200, {"Location": location})

    def _upload(self, upload_id: str, body: bytes) -> dict:
        email, metadata = self._uploads[upload_id]
        created = self._insert(email, {"mimeType": "application/octet-stream"} | metadata)
        self.items[created["id"]].content = body
        return self.items[created["id"]].metadata()

    def _delete(self, email: str, file_id: str) -> Answer:
        self._find(email, file_id, "owner")
        del self.items[file_id]
        return Answer("", 204)


class _Handler(BaseHTTPRequestHandler):
    """La parte de HTTP: hace de proxy, termina el TLS y pasa cada petición a `Drive.handle`."""

    drive: Drive
    protocol_version = "HTTP/1.1"
    # Si se cierra antes una conexión parada, una subida de cientos de ficheros falla al final.
    timeout = 240
    host: str | None = None

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        if host not in HOSTS:
            self.drive.blocked.append(self.path)
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        self.send_response(HTTPStatus.OK)
        self.end_headers()
        self.connection = self.drive.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.host = host
        self.close_connection = False

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.host is None:
            self.drive.blocked.append(self.path)
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        answer = self.drive.handle(self.command, self.host, self.path, self.headers, body)
        data = answer.body
        if isinstance(data, dict):
            data, answer.headers = json.dumps(data), {"Content-Type": "application/json"}
        data = data.encode() if isinstance(data, str) else data
        length = len(data) if answer.declared_length is None else answer.declared_length
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = length != len(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def handle(self) -> None:
        # Un cliente que muere a media petición es parte de lo que se prueba.
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def log_message(self, *args) -> None:
        """No escribe nada: lo que importa está en `requests` y `blocked`."""


def _new_id() -> str:
    # Un guion al principio o al final no es raro en Drive, pero lo tomaría por una opción la shell.
    return "1" + secrets.token_urlsafe(24).replace("-", "_")


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _tls_context(workdir: Path, ca_file: Path) -> ssl.SSLContext:
    """Crea una autoridad de certificados de usar y tirar y, con ella, el certificado de HOSTS."""
    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Autoridad de los tests")])
    ca = _certificate(
        issuer, issuer, authority, authority, x509.BasicConstraints(ca=True, path_length=0)
    )
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, API)])
    leaf = _certificate(subject, issuer, server, authority, names)
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    chain = workdir / "server.pem"
    chain.write_bytes(_pem(server).encode() + leaf.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def _certificate(subject, issuer, key, signer, extension) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    return builder.add_extension(extension, critical=True).sign(signer, hashes.SHA256())
