"""Serve the demo from the installed package and ask for its page: is this wheel alive?

Used by cibuildwheel on every wheel it builds, with nothing of the source tree around.
"""

from __future__ import annotations

import json
import sys
from urllib.request import Request, urlopen

import fastwsgi
from fastwsgi.demo import app
from fastwsgi.testing import serve


def main() -> int:
    with serve(app) as server:
        with urlopen(server.url, timeout=30) as response:
            assert "Your server answers" in response.read().decode()
        body = b"x" * (2 << 20)  # past the mark where a body moves to a file
        with urlopen(Request(f"{server.url}/json", data=body), timeout=30) as response:
            assert json.load(response)["headers"]["Content-Length"] == str(len(body))
        with urlopen(f"{server.url}/clock?blocks=3", timeout=30) as response:
            assert len(response.read().splitlines()) == 3
    print(f"fastwsgi {fastwsgi.__version__} answers on Python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
