"""Django's live servers over this server: LiveServerTestCase's and pytest-django's.

``use()`` replaces Django's thread by one with this server in it, for all of them. With pytest it is
one line of the configuration: ``fastwsgi_live_server = true``.
"""

from __future__ import annotations

import importlib
from typing import Any

from fastwsgi.frameworks.simple import Server, make_server


def use() -> None:
    """Let live servers be this server, from now on."""
    testcases: Any = importlib.import_module("django.test.testcases")
    if getattr(testcases.LiveServerThread, "of_fastwsgi", False):
        return

    class LiveServerThread(testcases.LiveServerThread):  # type: ignore[misc]
        """Django's thread of a live server. The application runs in it, with its connections."""

        of_fastwsgi = True

        def _create_server(self, **_options: object) -> Server:
            return make_server(self.host, self.port, None, loglevel="warning")

    testcases.LiveServerTestCase.server_thread_class = LiveServerThread
    testcases.LiveServerThread = LiveServerThread
