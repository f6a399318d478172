"""The other side of the control socket: whoever asks a running server."""

from __future__ import annotations

import json
import os
import socket
from types import TracebackType
from typing import Any

from fastwsgi.control.lines import line
from fastwsgi.errors import ControlError

TIMEOUT = 10.0
"""Seconds that an answer may take."""
VARIABLE = "FASTWSGI_CONTROL_SOCKET"


class Client:
    """A connection to the control socket at ``path``. Raises ControlError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(TIMEOUT)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ControlError(f"no server answers at {path}: {error.strerror or error}") from None
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, command: str, **members: object) -> dict[str, Any]:
        """Return the answer to a command. Raises ControlError if it is refused or none comes."""
        try:
            self._socket.sendall(line({"command": command, **members}))
            text = self._file.readline()
        except OSError as error:
            text = self._last_words()
            if not text:
                raise ControlError(
                    f"the server at {self.path} does not answer: {error}") from None
        if not text:
            raise ControlError(f"the server at {self.path} has ended the conversation")
        answer: dict[str, Any] = json.loads(text)
        if not answer.pop("ok", False):
            raise ControlError(f"the server refuses: {answer.get('error', 'it does not say why')}")
        return answer

    def wait_for_end(self) -> None:
        """Return when the server has closed the connection."""
        self._socket.settimeout(None)
        try:
            while self._file.read1(4096):
                pass
        except OSError:
            pass

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def _last_words(self) -> bytes:
        """Return what a server has sent that has not read the question: why it turned us away."""
        try:
            return self._file.readline()
        except OSError:
            return b""


def place(given: str, configured: str = "") -> str:
    """Return the path that is meant: given, in the environment, or configured here.

    Raises ControlError.
    """
    path = given or os.environ.get(VARIABLE, "") or configured
    if not path:
        raise ControlError("which server? Name its control socket with --socket PATH or "
                           f"${VARIABLE}; a server has one if it was started with "
                           "--control-socket PATH")
    return path
