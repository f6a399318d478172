"""The data: one module for each category, each with its `CATEGORY`.

Rule: the expectation comes from the RFC, the PEP or the contract, never from what a server does.
"""

from __future__ import annotations

from importlib import import_module

from ..model import Case, Category

MODULES = (
    "target",
    "request_line",
    "headers",
    "host",
    "content_length",
    "transfer_encoding",
    "chunked",
    "trailers",
    "expect",
    "pipelining",
    "persistence",
    "bodiless",
    "limits",
    "patience",
    "smuggling",
    "smuggling_fields",
    "forwarded",
    "proxy_protocol",
    "files",
    "wsgi_environ",
    "wsgi_input",
    "wsgi_start",
    "wsgi_headers",
    "wsgi_body",
    "wsgi_close",
    "wsgi_errors",
)


def load(module: str) -> Category:
    """The cases of one module."""
    category: Category = import_module(f"{__name__}.{module}").CATEGORY
    return category


def all_cases() -> dict[str, Case]:
    """Every case by its id, `category/name`, in the order of the modules."""
    cases: dict[str, Case] = {}
    for module in MODULES:
        for case in load(module).cases.values():
            if case.id in cases:
                raise ValueError(f"two cases named {case.id}")
            cases[case.id] = case
    return cases


def short_requests() -> list[bytes]:
    """What the cases send, if it is short enough to be spoilt thousands of times."""
    return [case.raw for case in all_cases().values() if 0 < len(case.raw) < 600]
