"""``use = egg:fastwsgi`` in a PasteDeploy file: Pyramid's pserve, Zope's runwsgi and others.

As with other servers that they start, one process serves in threads unless ``workers`` is given:
the application has opened its database by then, and a fork would share that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import fastwsgi

DEFAULTS = {"workers": "0", "threads": "4"}


def server_factory(
    _global_conf: Mapping[str, str], **settings: str,
) -> Callable[[Callable[..., Any]], None]:
    """Return a function that serves an application with the settings of the section.

    ``host`` and ``port`` are understood beside ``bind``, and ``listen`` as waitress has it. Raises
    ConfigError for a setting that is wrong.
    """
    from fastwsgi.config.sources import from_keywords

    given = {**DEFAULTS, **settings}
    host, port = given.pop("host", ""), given.pop("port", "")
    if "listen" in given:
        given.setdefault("bind", ",".join(given.pop("listen").replace("*:", ":").split()))
    if host or port:
        given.setdefault("bind", f"{host or '127.0.0.1'}:{port or '8000'}")
    from_keywords(given)

    def serve(application: Callable[..., Any]) -> None:
        code = fastwsgi.run(application, **given)
        if code:
            raise SystemExit(code)

    return serve
