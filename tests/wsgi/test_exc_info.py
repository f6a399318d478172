"""The third argument of start_response: PEP 3333, "The start_response() Callable".

Rule: what an application passes there is looked at only when the head is on its way; then it is
raised, and what cannot be raised is an error all the same, never an access to what is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from apps.client import Client, request

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ODD: dict[str, Any] = {
    "no element": (),
    "one element": (ValueError,),
    "two elements": (ValueError, ValueError("short")),
    "four elements": (ValueError, ValueError("long"), None, None),
    "an empty list": [],
    "a string": "",
    "three letters": "abc",
    "a number": 5,
    "three times None": (None, None, None),
    "a class in place of the error": (ValueError, ValueError, None),
    "no traceback": (ValueError, ValueError("bare"), 5),
}


@pytest.mark.parametrize("exc_info", ODD.values(), ids=ODD)
def test_odd_exc_info_after_the_head_is_the_applications_error(exc_info: Any) -> None:
    """It raises something in the application, the response is cut, and the server lives on."""
    raised: list[BaseException] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"begin"
        if environ["PATH_INFO"] == "/odd":
            try:
                start_response("500 Sorry", [], exc_info)
            except BaseException as error:
                raised.append(error)
                raise
        yield b"end"

    with serve(app) as server:
        with Client(server.address) as client:
            client.send(request("/odd"))
            assert client.head().status == 200
            assert client.chunk() == b"begin"
            assert client.rest() == b""
        with Client(server.address) as client:
            assert client.fetch("/even").body == b"beginend"
    assert len(raised) == 1


@pytest.mark.parametrize("exc_info", ODD.values(), ids=ODD)
def test_odd_exc_info_before_the_head_replaces_it(exc_info: Any) -> None:
    """Nothing is to be raised yet: only that there is one counts."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        start_response("503 Sorry", [], exc_info)
        return [b"sorry"]

    with serve(app) as server, Client(server.address) as client:
        response = client.fetch()
    assert (response.status, response.body) == (503, b"sorry")


def test_the_error_is_raised_with_its_traceback() -> None:
    """The very exception comes back, and its traceback still leads to where it was raised."""
    places: list[list[str]] = []

    def fail() -> None:
        raise ValueError("asked for")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begin"
        try:
            fail()
        except ValueError as first:
            try:
                start_response("500 Sorry", [], sys.exc_info())
            except ValueError as second:
                assert second is first
                trace, names = second.__traceback__, []
                while trace is not None:
                    names.append(trace.tb_frame.f_code.co_name)
                    trace = trace.tb_next
                places.append(names)
                raise

    with serve(app) as server, Client(server.address) as client:
        client.send(request())
        assert client.head().status == 200
        assert client.chunk() == b"begin"
        assert client.rest() == b""
    assert places[0][-1] == "fail"
