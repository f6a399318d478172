from collections.abc import Callable
from typing import Any

class Ending:
    result: Any
    close: Callable[[], object]
    def __init__(self, result: Any, close: Callable[[], object]) -> None: ...
