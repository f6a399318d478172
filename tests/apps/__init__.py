"""Fixture applications, and the client that drives them.

Rule: nothing here knows which server runs it.  A framework's application is a module
`<framework>_app` with a WSGI callable `app` that keeps the contract of URLs in `contract.py`;
a real server process is pointed at it by name (`apps.flask_app:app`, with `TESTS` as its
working directory).  `client.py` is the tests' side of the socket, `command.py` of the command.
"""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
"""The directory of the tests: a server finds the applications there."""
ROOT = TESTS.parent
"""The source tree."""

TEXT = [("Content-Type", "text/plain")]
"""The headers of an application that has nothing to say about its headers."""
