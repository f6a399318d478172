"""The warm-up request: the application answers one request before its worker counts as ready.

It is made as a server makes it (PEP 3333) but without a socket, in the process and thread that is
about to serve. So a framework's lazy initialisation is done, and a worker that cannot answer never
replaces one that can.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from fastwsgi.errors import WarmUpError


def warm_up(
    application: Callable[..., Any], path: str, environ: dict[str, Any],
) -> str:
    """Request ``path`` (with its query) from the application and return the status.

    It is the path that a client asks for: below SCRIPT_NAME, which is taken off it. ``environ`` has
    what does not depend on the request; it is changed. Raises WarmUpError for a status of 500 or
    above, and whatever the application raises.
    """
    target, _, query = path.partition("?")
    decoded = unquote_to_bytes(target).decode("latin-1")
    statuses: list[str] = []

    def start_response(status: str, headers: object, exc_info: Any = None) -> Callable[..., int]:
        if exc_info is not None and exc_info[1] is not None and not statuses:
            raise exc_info[1].with_traceback(exc_info[2])
        statuses.append(status)
        return io.BytesIO().write

    environ.update({
        "REQUEST_METHOD": "GET", "PATH_INFO": decoded.removeprefix(environ["SCRIPT_NAME"]),
        "QUERY_STRING": query,
        "RAW_URI": path, "REQUEST_URI": path, "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "0", "HTTP_USER_AGENT": "fastwsgi-warmup",
        "GATEWAY_INTERFACE": "CGI/1.1", "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(), "wsgi.input_terminated": True, "wsgi.run_once": False,
    })
    answer = application(environ, start_response)
    try:
        for _ in answer:
            pass
    finally:
        if hasattr(answer, "close"):
            answer.close()
    status = statuses[-1] if statuses else "nothing"
    if not statuses or not status[:3].isdigit() or int(status[:3]) >= 500:
        raise WarmUpError(f"the warm-up request GET {path} was answered {status}")
    return status
