from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

class Worker:
    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        listeners: Sequence[tuple[int, str, str]],
        settings: Mapping[str, Any],
        *,
        log: Callable[[int, str, BaseException | None], None],
        errors: TextIO,
        multiprocess: bool = ...,
    ) -> None: ...
    @property
    def wakeup_fd(self) -> int: ...
    def run(self) -> None: ...
    def stop(self, graceful: bool = ...) -> None: ...
    def stats(self) -> dict[str, int]: ...
