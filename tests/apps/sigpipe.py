"""An application that gives SIGPIPE its default effect, the end of the process, as some tools do.

GET /file/<port>    stands still until the test lets it go (apps.gated), then sends 8 MiB of a file
anything else       `hello`, said to wsgi.errors too
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

from apps.gated import stand

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    first, _, port = environ["PATH_INFO"][1:].partition("/")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if first == "file":
        stand(int(port), gripping=False)
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.truncate(8 << 20)
        return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]
    environ["wsgi.errors"].write("hello\n")
    environ["wsgi.errors"].flush()
    return [b"hello"]
