"""Which frameworks the suite serves, and the form that is posted to each."""

from __future__ import annotations

import sys

FORM = b"name=Ada+L.&colour=bleu+fonc%C3%A9"
URLENCODED = "application/x-www-form-urlencoded"

# Framework -> (first Python that it no longer installs on, reason); None while it installs on
# every Python that the server supports.
FRAMEWORKS: dict[str, tuple[tuple[int, int], str] | None] = {
    "bottle": None,
    "cherrypy": None,
    "django": None,
    "falcon": None,
    "flask": None,
    "morepath": None,
    "pyramid": None,
    "webob": None,
    "webpy": ((3, 15), "web.py 0.76 declares Requires-Python <3.15"),
    "werkzeug": None,
}


def installable() -> list[str]:
    """The frameworks that this Python can have; apps.NAME_app serves each."""
    return [
        name
        for name, excluded in FRAMEWORKS.items()
        if excluded is None or sys.version_info < excluded[0]
    ]
