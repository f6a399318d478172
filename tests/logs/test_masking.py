"""No log line tells a secret: wrong header fields, strict mode, environ, targets, settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from apps.client import GET, request

from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.logs import masking
from fastwsgi.testing import raw, serve

HIDDEN = "S3CR3T"

Start = Callable[..., Any]

SECRET_NAMES = [
    "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "set-cookie", "SET-COOKIE",
    "X-Auth-User", "X-CSRF-Token", "Client-Secret", "X-Api-Key", "X-Session-Id", "HTTP_COOKIE",
    "HTTP_AUTHORIZATION", "HTTP_X_API_KEY"]


def log_of(headers: Any, status: str = "200 OK", *, strict: bool) -> str:
    """What is in the error log after a response with this head."""

    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response(status, headers)
        return [b"hello"]

    with serve(app, strict_wsgi=strict) as server:
        raw(server.address, GET)
        return "\n".join(server.log)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", SECRET_NAMES)
def test_the_value_of_a_secret_field_is_told_by_the_place_of_its_fault(
    name: str, strict: bool,
) -> None:
    log = log_of([(name, f"sid={HIDDEN}\r\n")], strict=strict)
    assert HIDDEN not in log
    assert f"control character in the value of header {name}: character 11 of 12" in log
    if strict:
        assert f"value of header {name!r} contains a control character: character 11 of 12" in log


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("header", [
    ("Set-Cookie", f"sid={HIDDEN}\u20ac"), ("Set-Cookie", f"sid={HIDDEN}".encode()),
    ["Set-Cookie", f"sid={HIDDEN}"], ("Set-Cookie", f"sid={HIDDEN}", ""), f"Set-Cookie: {HIDDEN}",
    (f"Set-Cookie: {HIDDEN}", ""), (f"Set-Cookie: {HIDDEN}".encode(), "x"),
    ("X-Thing", f"a\r\nSet-Cookie: sid={HIDDEN}"), ("X-Thing", f"a\u20ac{HIDDEN}"),
    ("Proxy-Authorization", HIDDEN), (f"X-\u20ac{HIDDEN}", "x"), ("Set-Cookie", [HIDDEN]),
], ids=ascii)
def test_a_field_of_a_wrong_form_tells_no_secret(header: Any, strict: bool) -> None:
    log = log_of([header], strict=strict)
    assert HIDDEN not in log
    assert "header" in log


@pytest.mark.parametrize("strict", [False, True])
def test_a_status_line_is_told_up_to_its_fault(strict: bool) -> None:
    log = log_of([], f"200 OK\r\nSet-Cookie: sid={HIDDEN}", strict=strict)
    assert HIDDEN not in log
    assert "'200 OK', then character 7 of 30" in log


def test_strict_mode_tells_values_that_are_no_secrets() -> None:
    assert "of type int, must be str: 42" in log_of([("X-Pages", 42)], strict=True)
    assert "must be a decimal number: 'four'" in log_of([("Content-Length", "four")], strict=True)


@pytest.mark.parametrize("value", [HIDDEN.encode(), f"{HIDDEN}\u20ac"], ids=ascii)
@pytest.mark.parametrize("key", [
    "HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_X_SESSION", "QUERY_STRING"])
def test_strict_mode_tells_no_secret_of_environ(key: str, value: Any) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        environ[key] = value
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    with serve(app, strict_wsgi=True) as server:
        raw(server.address, GET)
        log = "\n".join(server.log)
    assert f"environ[{key!r}]" in log
    assert HIDDEN not in log


@pytest.mark.parametrize("strict", [False, True])
def test_no_block_of_a_body_is_told(strict: bool) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Iterable[Any]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"token {HIDDEN}"]

    with serve(app, strict_wsgi=strict) as server:
        raw(server.address, GET)
        log = "\n".join(server.log)
    assert "bytes" in log
    assert HIDDEN not in log


@pytest.mark.parametrize("strict", [False, True])
def test_the_target_of_a_failed_request_is_told_without_its_secrets(strict: bool) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [("A", "b\n")])
        return []

    with serve(app, strict_wsgi=strict) as server:
        raw(server.address, request(
            f"/a?page=7&access_token={HIDDEN}&%74oken={HIDDEN}", "Connection: close"))
        log = "\n".join(server.log)
    assert HIDDEN not in log
    assert "/a?page=7&access_token=<6 characters>&%74oken=<6 characters>" in log


def test_the_target_of_a_request_over_its_time_is_told_without_its_secrets() -> None:
    ended = threading.Event()

    def app(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        ended.wait()
        return []

    with serve(app, threads=2, timeout=0.1) as server:
        raw(server.address, request(f"/a?key={HIDDEN}", "Connection: close"))
        ended.set()
        log = "\n".join(server.log)
    assert "GET /a?key=<6 characters> from 127.0.0.1 has been in the application for" in log
    assert HIDDEN not in log


@pytest.mark.parametrize(("text", "told"), [
    ("GET /a", "GET /a"), ("GET /a?b=c&d", "GET /a?b=c&d"), ("GET /a?token=", "GET /a?token="),
    ("GET /a?key=12345&b=1;SESSION=1", "GET /a?key=<5 characters>&b=1;SESSION=<1 character>"),
    ("GET http://me:word@host/a", "GET http://<7 characters>@host/a"),
    ("GET /a?mail=me@host", "GET /a?mail=me@host"),
    ("GET /a?next=%2Fb%3Ftoken%3D1&to=%2Fb%3Fc%3D1", "GET /a?next=<16 characters>&to=%2Fb%3Fc%3D1"),
])
def test_a_target_keeps_what_is_no_secret(text: str, told: str) -> None:
    assert masking.mask_secrets(text) == told


def test_a_wrong_variable_of_the_settings_is_told_without_its_value() -> None:
    with pytest.raises(ConfigError, match="raw_env must be KEY=VALUE") as caught:
        from_keywords({"raw_env": [f"={HIDDEN}"]})
    assert HIDDEN not in str(caught.value)
