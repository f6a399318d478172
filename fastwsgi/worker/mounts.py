"""Several applications in one server: ``--mount /PREFIX=MODULE:APP``.

A request goes to the application with the longest prefix of whole segments. The prefix moves from
PATH_INFO to the end of SCRIPT_NAME (PEP 3333), below what ``script_name`` or a proxy has put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastwsgi.config.config import Config
from fastwsgi.errors import AppImportError
from fastwsgi.worker.loader import Application, load

NOT_FOUND = b"404 Not Found\n"


def load_all(target: Application | str, config: Config) -> Application:
    """Load the application, or those of ``mount`` with it as the one of all other paths.

    An empty ``target`` means that all other paths are answered 404. Raises AppImportError.
    """
    if not config.mount or isinstance(target, Mounts):  # a fork server's is loaded
        return load(target)
    if target and any(item.startswith("/=") for item in config.mount):
        raise AppImportError(
            f"mount / (from {config.origin('mount')}) and the application contradict each other: "
            "both are for all other paths")
    mounts = []
    for item in config.mount:
        prefix, _, name = item.partition("=")
        try:
            mounts.append((prefix.rstrip("/"), load(name)))
        except AppImportError as error:
            raise AppImportError(f"mount {prefix}: {error}") from error.__cause__
    return Mounts(mounts, load(target) if target else None)


class Mounts:
    """A WSGI application that passes requests on by path; ``rest`` gets all others."""

    def __init__(
        self, mounts: Iterable[tuple[str, Application]], rest: Application | None = None,
    ) -> None:
        self._mounts = sorted(mounts, key=lambda item: -len(item[0]))
        self._rest = rest

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        """Pass a request on."""
        path = environ["PATH_INFO"]
        for prefix, application in self._mounts:
            if path.startswith(prefix) and path[len(prefix):len(prefix) + 1] in ("", "/"):
                environ["SCRIPT_NAME"] += prefix
                environ["PATH_INFO"] = path[len(prefix):]
                return application(environ, start_response)  # type: ignore[no-any-return]
        if self._rest is not None:
            return self._rest(environ, start_response)  # type: ignore[no-any-return]
        start_response("404 Not Found", [
            ("Content-Type", "text/plain"), ("Content-Length", str(len(NOT_FOUND)))])
        return [NOT_FOUND]
