"""Files that the server serves itself: ``--static /PREFIX=DIR``.

The loop answers requests below a prefix (csrc/io/statics.h), so this file only says what it is to
know: folders, media types, patterns. A folder is opened by each worker, with the worker's account.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastwsgi.config.config import Config
from fastwsgi.errors import ConfigError

PACKED = frozenset((
    ".7z", ".aac", ".avif", ".br", ".bz2", ".flac", ".gif", ".gz", ".heic", ".jpeg", ".jpg",
    ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".ogg", ".ogv", ".opus", ".png", ".tgz",
    ".webm", ".webp", ".woff", ".woff2", ".xz", ".zip", ".zst"))
"""Endings of files that no other coding makes smaller: none is looked for."""

TYPES = {".avif": "image/avif", ".br": "application/x-brotli", ".bz2": "application/x-bzip2",
         ".gz": "application/gzip", ".js": "text/javascript", ".mjs": "text/javascript",
         ".map": "application/json", ".tgz": "application/gzip", ".wasm": "application/wasm",
         ".webmanifest": "application/manifest+json", ".webp": "image/webp",
         ".woff": "font/woff", ".woff2": "font/woff2", ".xz": "application/x-xz",
         ".zst": "application/zstd"}
"""What systems do not know, know otherwise, or take for a coding of another file."""

_LONGEST = 15  # bytes of an ending that the core looks at


class Statics(NamedTuple):
    """What the core needs: see ``Statics`` in _core/statics.pxi."""

    folders: tuple[tuple[bytes, bytes], ...]
    types: tuple[tuple[bytes, bytes, bool], ...]
    index_file: bytes
    immutable: tuple[tuple[bytes, int], ...]


def _folders(config: Config, setting: str = "static") -> Iterator[tuple[str, str]]:
    for item in getattr(config, setting):
        prefix, _, path = item.partition("=")
        yield prefix.rstrip("/"), path


def check_folders(config: Config) -> None:
    """Raise ConfigError if a folder is none. Relative paths start in the working directory."""
    for setting in ("static", "static_internal"):
        for prefix, path in _folders(config, setting):
            if not os.path.isdir(path):
                raise ConfigError(f"{setting} (from {config.origin(setting)}) must name existing "
                                  f"directories, not {path!r} for {prefix or '/'}")


def _prefixes(config: Config) -> dict[str, str]:
    """Return the folders by prefix; with a SCRIPT_NAME a proxy may keep it in front, or not."""
    found = dict(_folders(config))
    if config.script_name:
        for prefix, path in list(found.items()):
            if not f"{prefix}/".startswith(f"{config.script_name}/"):
                found.setdefault(config.script_name + prefix, path)
    return found


def media_types() -> tuple[tuple[bytes, bytes, bool], ...]:
    """Return the media type of each ending, those of the system included, sorted for the core."""
    mimetypes.init()
    known = {**mimetypes.types_map, **TYPES}
    return tuple(sorted(
        (ending.encode(), _with_charset(name).encode(), ending in PACKED)
        for ending, name in {ending.lower(): name for ending, name in known.items()}.items()
        if ending.isascii() and 1 < len(ending) <= _LONGEST and name.isascii() and len(name) < 128
        and name.isprintable()))


def _with_charset(name: str) -> str:
    """Name the encoding that files of text have nowadays; browsers would guess another one."""
    return f"{name}; charset=utf-8" if name.startswith("text/") else name


def statics(config: Config) -> Statics | None:
    """Return what the core is to serve; None if there is nothing."""
    if not config.static:
        return None
    return _statics(_prefixes(config).items(), os.fsencode(config.static_index),
                    tuple((glob.encode(), 0) for glob in config.static_immutable))


def internal(config: Config) -> tuple[Statics, tuple[tuple[bytes, int], ...]] | None:
    """Return what the core needs for files that the application names; None if it may not.

    With it go the paths by which X-Sendfile may name each folder, the longest first.
    """
    if not config.static_internal:
        return None
    made = _statics(_folders(config, "static_internal"), b"", ())
    paths = {name.rstrip(b"/"): number for number, (_, path) in enumerate(made.folders)
             for name in (os.path.realpath(path), path)}
    return made, tuple(sorted(paths.items(), key=lambda item: -len(item[0])))


def _statics(
    folders: Iterable[tuple[str, str]], index: bytes, immutable: tuple[tuple[bytes, int], ...],
) -> Statics:
    longest_first = sorted(folders, key=lambda item: -len(item[0]))
    return Statics(
        tuple((prefix.encode(), os.fsencode(os.path.abspath(path)))
              for prefix, path in longest_first),
        media_types(), index, immutable)
