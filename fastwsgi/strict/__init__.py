"""``--strict-wsgi``: reports each misuse of PEP 3333 and changes no response."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastwsgi.strict.checker import check as check

__all__ = ["check"]


def __getattr__(name: str) -> object:
    """Import ``check`` when it is asked for: it needs the compiled core, the rules do not."""
    if name != "check":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastwsgi.strict.checker import check

    return check
