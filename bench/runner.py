"""Starts a peer without a usable command line: `python -m bench.runner KIND MODULE:APP PORT`."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main(kind: str, target: str, port: int) -> None:
    """Serve `target` on 127.0.0.1:port with bjoern, meinheld or the namesake, until a signal."""
    module, _, name = target.partition(":")
    application: Any = getattr(importlib.import_module(module), name)
    server: Any = importlib.import_module(
        {"meinheld": "meinheld.server", "namesake": "fastwsgi"}.get(kind, kind)
    )
    if kind == "bjoern":
        server.run(application, "127.0.0.1", port, listen_backlog=2048)
    elif kind == "meinheld":
        server.set_access_logger(None)
        server.set_keepalive(75)
        server.set_backlog(2048)
        server.listen(("127.0.0.1", port))
        server.run(application)
    elif kind == "namesake":
        server.server.backlog = 2048
        server.run(application, "127.0.0.1", port, loglevel=0)
    else:
        raise SystemExit(f"unknown kind of server: {kind}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
