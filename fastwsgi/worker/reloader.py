"""Watching source files (--reload): the worker that runs them reports when one has changed.

It watches the files of the imported modules and those that the operator adds. The watchfiles
library wakes the watcher when something happens in their directories. Without it the files are
checked twice a second. In both cases a file has changed when its time or size has. An application
that does not import is watched too: its worker waits for a change.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from fastwsgi.config.combinations import can_watch

PERIOD = 0.5
"""Seconds between two looks at the files, or for modules imported since."""

State = tuple[object, ...]


class Reloader:
    """Watches what this process has imported.

    ``engine`` is ``auto``, ``poll`` or ``inotify``; ``extra`` are more files. What has changed
    since the process was built, while it imported, counts as changed. The extra files may be
    settings, which others have read before: of them it is what has changed since the moment
    ``extra_since`` (of ``file_time``).
    """

    def __init__(self, engine: str, extra: Iterable[str], extra_since: int) -> None:
        self._library = engine != "poll" and can_watch()
        self._fixed = {str(Path(path).absolute()) for path in extra}
        self._before = dict.fromkeys(self._fixed, extra_since)
        self._folders: set[str] = set()
        self._seen: dict[str, State] = {}
        self._since = time.time_ns()

    def wait(self, failure: BaseException | None = None) -> str:
        """Wait for a change and return the path of the file.

        ``failure`` is what the import raised, if it did: then the files and directories that it
        speaks of are watched, as an import that failed leaves no module behind.
        """
        if failure is not None:
            self._watch_failure(failure)
        for _ in self._moments():
            if path := self._changed():
                return path
        raise AssertionError("there is always another moment")

    def _watch_failure(self, failure: BaseException) -> None:
        found = {frame.filename for frame in traceback.extract_tb(failure.__traceback__)}
        if isinstance(failure, SyntaxError) and failure.filename:
            found.add(failure.filename)
        self._fixed |= {str(Path(name).absolute()) for name in found if Path(name).exists()}
        self._folders |= {str(Path(name).parent) for name in self._fixed} | {str(Path.cwd())}

    def _files(self) -> set[str]:
        """Return the files: modules may be imported at any time."""
        found = self._fixed | self._folders
        for folder in self._folders:
            found |= {str(path) for path in Path(folder).glob("*.py")}
        for module in list(sys.modules.values()):
            name = getattr(module, "__file__", None)
            if isinstance(name, str):
                found.add(os.path.abspath(name))
        return found

    def _changed(self) -> str:
        """Return a file that has changed since it was first seen, empty for none."""
        for path in sorted(self._files()):
            state = self._state(path)
            before = self._seen.get(path)
            self._seen[path] = state
            if before is None and self._is_young(path, state):
                return path
            if before is not None and before != state:
                return path
        return ""

    def _state(self, path: str) -> State:
        try:
            if path in self._folders:
                return tuple(sorted(name for name in os.listdir(path)
                                    if name[0] != "." and name != "__pycache__"))
            found = os.stat(path)
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size

    def _is_young(self, path: str, state: State) -> bool:
        """Whether a file was written since the start; a time in the future does not count."""
        if path in self._folders or not state or not isinstance(state[0], int):
            return False
        since = self._before.get(path, self._since + 1)
        return since <= state[0] <= time.time_ns()

    def _moments(self) -> Iterator[None]:
        """Return each time the files should be checked."""
        if not self._library:
            while True:
                yield
                time.sleep(PERIOD)
        watch = importlib.import_module("watchfiles").watch
        while True:
            folders = {path if path in self._folders else os.path.dirname(path)
                       for path in self._files()}
            for _ in watch(*filter(os.path.isdir, folders), watch_filter=None, recursive=False,
                           debounce=100, step=20, rust_timeout=int(PERIOD * 1000),
                           yield_on_timeout=True, raise_interrupt=False):
                yield
                if not self._files() <= self._seen.keys():  # more has been imported
                    break
