"""Un navegador de mentira: abre la página de permiso como la cuenta de FAKE_ACCOUNT y acepta.

DVC lo arranca él mismo, como a cualquier navegador, porque lo nombra la variable BROWSER. Lo que
conteste la página queda en el fichero de FAKE_BROWSER_LOG.
"""

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path


def main() -> None:
    request = urllib.request.Request(sys.argv[1])
    # La cabecera no se repite al ir de Google a localhost: es la sesión abierta en Google.
    request.add_unredirected_header("Cookie", f"account={os.environ['FAKE_ACCOUNT']}")
    try:
        with urllib.request.urlopen(request, timeout=30) as page:
            text = page.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    Path(os.environ["FAKE_BROWSER_LOG"]).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
