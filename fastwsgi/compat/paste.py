"""The application of a PasteDeploy file: ``--paste FILE#NAME``, as gunicorn has it.

The file's ``[server:...]`` sections are not read: pserve does that.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastwsgi.errors import AppImportError


def target(uri: str, settings: Iterable[str]) -> str:
    """Return the name of the application as the loader takes it.

    ``settings`` are KEY=VALUE, where a backslash makes an equals sign part of KEY or VALUE.
    """
    pairs = (re.split(r"(?<!\\)=", item, maxsplit=1) for item in settings)
    if os.path.isfile(uri.partition("#")[0]):  # from here, not from --chdir
        uri = os.path.abspath(uri)
    values = {pair[0].replace("\\=", "="): pair[-1].replace("\\=", "=") for pair in pairs}
    return f"fastwsgi.compat.paste:load({uri!r}, {values!r})"


def load(uri: str, values: Mapping[str, str]) -> Callable[..., Any]:
    """Load the application; ``uri`` is FILE, FILE#NAME, or what PasteDeploy calls a URI."""
    try:
        deploy = importlib.import_module("paste.deploy")  # which has no types
    except ImportError:
        raise AppImportError("--paste needs the PasteDeploy library: pip install fastwsgi[paste]"
                             ) from None
    kind, colon, rest = uri.partition(":")
    if not colon or kind == "config":
        path = (rest if colon else uri).partition("#")[0]
        if not os.path.isfile(path):
            raise AppImportError(f"cannot load the application of --paste {uri}: there is no file "
                                 f"{path} (current directory {os.getcwd()})")
    try:
        found: Callable[..., Any] = deploy.loadapp(
            uri if colon else f"config:{uri}", relative_to=os.getcwd(), global_conf=dict(values))
    except LookupError as error:
        if type(error) is not LookupError:  # the application's own
            raise
        raise AppImportError(f"cannot load the application of --paste {uri}: "
                             f"{' '.join(str(error).split())}") from None
    return found
