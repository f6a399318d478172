"""``--strict-wsgi``: reports each misuse of PEP 3333 and changes no response."""

from fastwsgi.strict.checker import check

__all__ = ["check"]
