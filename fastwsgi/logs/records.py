"""A record of the error log as an object in JSON."""

from __future__ import annotations

import json
import logging
import time
from typing import Any


class JsonForm(logging.Formatter):
    """One object on one line, of ASCII; a traceback is a member of it.

    Members: time, level, message, logger (if it is not the server's own), pid, worker, thread,
    request_id, method and path (if there is a request), exception (its type) and traceback. What a
    caller gives as ``extra`` is there, too.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        found: dict[str, Any] = {
            "time": iso_time(record.created), "level": record.levelname,
            "message": record.getMessage()}
        if record.name != "fastwsgi.error":
            found["logger"] = record.name
        found["pid"] = record.process
        for name, value in vars(record).items():
            if name not in _USUAL and value != "":
                found["thread" if name == "wsgi_thread" else name] = value
        if record.exc_info and record.exc_info[0] is not None:
            found["exception"] = record.exc_info[0].__qualname__
            found["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:
            found["traceback"] = record.exc_text
        if record.stack_info:
            found["stack"] = self.formatStack(record.stack_info)
        return json.dumps(found, default=_shown)


_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def iso_time(moment: float) -> str:
    """Return a time as ISO 8601 and RFC 3339 have it: local, with microseconds and its zone."""
    seconds = int(moment)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    return (f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int((moment - seconds) * 1e6):06d}"
            f"{zone[:3]}:{zone[3:]}")
