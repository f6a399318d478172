from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TextIO

from typing_extensions import Buffer

class Worker:
    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        listeners: Sequence[tuple[int, str, str]],
        settings: Mapping[str, object],
        *,
        log: Callable[[int, str, BaseException | None], None],
        errors: TextIO,
        multiprocess: bool = ...,
        version: str = ...,
        access: object = ...,
        shown: Callable[[str], str] | None = ...,
        board: Buffer | None = ...,
        beat_ms: int = ...,
        lifeline: int | None = ...,
        memo: bool = ...,
        timeout_error: type[BaseException] | None = ...,
    ) -> None: ...
    @property
    def wakeup_fd(self) -> int: ...
    def run(self) -> None: ...
    def stop(self, graceful: bool = ...) -> None: ...
    @property
    def stopping(self) -> bool: ...
    def calls(self) -> list[tuple[int, int, bool, float, str, str, str, int]]: ...
    def interrupt(self, index: int, number: int, by_signal: bool) -> bool: ...
    def take_overdue(self) -> bool: ...
    def stats(self) -> dict[str, int]: ...
