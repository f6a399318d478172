"""The one table of what ``strict_wsgi`` reports: name, severity, text, and the clause that decides.

All reports are written here, and docs/strict.md is made from the table. A rule that the
specification words as "must" is an error. What it only advises against, or what HTTP requires
beyond PEP 3333, is a warning. In a text, ``{x!r}`` is a value of the application's, cut to a
readable length and masked if it may be a secret, and ``{x!t}`` is the name of its type. Everything
else is the checker's own.
"""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import NamedTuple

MUST = logging.ERROR
SHOULD = logging.WARNING


class Rule(NamedTuple):
    """One kind of report. ``level`` is a logging level, ``clause`` names specification and part."""

    name: str
    level: int
    text: str
    clause: str


DETAILS = "PEP 3333, Specification Details"
ENVIRON = "PEP 3333, environ Variables"
STREAMS = "PEP 3333, Input and Error Streams"
START = "PEP 3333, The start_response() Callable"
LENGTH = "PEP 3333, Handling the Content-Length Header"
WRITE = "PEP 3333, The write() Callable"
UNICODE = "PEP 3333, Unicode Issues"
HANDLING = "PEP 3333, Error Handling"
OTHER = "PEP 3333, Other HTTP Features"
FILES = "PEP 3333, Optional Platform-Specific File Handling"

_TABLE = (
    # -- the application and what it returns
    Rule("application-arguments", MUST,
         "the application cannot be called with two positional arguments: {error}", DETAILS),
    Rule("return-string", MUST,
         "the application returned {found!t} itself, whose items are not bytes objects: return a "
         "list of one bytes object", DETAILS),
    Rule("return-not-iterable", MUST,
         "the application returned {found!t}, not an iterable of bytes{hint}", DETAILS),
    Rule("block-type", MUST,
         "block {number} of the body is of type {found!t}, must be bytes", UNICODE),
    Rule("length-inaccurate", MUST,
         "len() of the returned iterable said {said}, but it yielded {made} blocks", DETAILS),
    Rule("close-not-callable", MUST,
         "the returned iterable has a close attribute that cannot be called: {found!r}", DETAILS),
    Rule("close-missing", MUST,
         "middleware has dropped the iterable of the application beneath it without calling its "
         "close()", DETAILS),
    Rule("read-after-close", MUST,
         "middleware asks the iterable of the application beneath it for a block after close()",
         DETAILS),

    # -- start_response
    Rule("start-arguments", MUST,
         "start_response() takes status, headers and exc_info as positional arguments; it was "
         "called with {given}", START),
    Rule("start-missing", MUST,
         "the application {what} without having called start_response()", DETAILS),
    Rule("start-repeated", MUST,
         "start_response() was called again without exc_info; the first call was {first}", START),
    Rule("start-after-end", MUST,
         "start_response() was called after the response had ended", START),
    Rule("start-result", MUST,
         "start_response() of the middleware returned {found!t}, must return a write() callable",
         START),
    Rule("exc-info-type", MUST,
         "exc_info must be the tuple of sys.exc_info(), not {found!t}{why}", START),
    Rule("exc-info-trapped", MUST,
         "the exception that start_response() raised was trapped: with exc_info it must get "
         "through to the server", HANDLING),

    # -- status
    Rule("status-type", MUST,
         "status is of type {found!t}, must be str: {found!r}", START),
    Rule("status-form", MUST,
         "status must be three digits, one space and a reason, with nothing before or after them: "
         "{found!r}", START),
    Rule("status-code", MUST,
         "status must be final, from 200 to 599: {found!r}", "RFC 9110, 15"),
    Rule("status-control", MUST,
         "status contains a control character: {found!r}", START),
    Rule("status-latin1", MUST,
         "status contains a character outside ISO-8859-1: {found!r}", UNICODE),

    # -- header fields
    Rule("headers-type", MUST,
         "response_headers is of type {found!t}, must be a list (no subclass)", START),
    Rule("headers-changed", MUST,
         "the list given to start_response() was changed after the call: the server owns it from "
         "then on", START),
    Rule("header-pair", MUST,
         "item {number} of response_headers must be a (name, value) tuple, not {shape}", START),
    Rule("header-name-type", MUST,
         "header name is of type {found!t}, must be str: {found!r}", UNICODE),
    Rule("header-name", MUST,
         "header name is not a token (letters, digits and !#$%&'*+-.^_`|~): {found!r}", START),
    Rule("header-name-end", SHOULD,
         "header name ends in punctuation: {found!r}", START),
    Rule("header-status", SHOULD,
         "a header named Status is the status line for CGI gateways; only start_response() sets "
         "the status", "RFC 3875, 6.3.3"),
    Rule("header-value-type", MUST,
         "value of header {name!r} is of type {found!t}, must be str: {found!r}", UNICODE),
    Rule("header-value-control", MUST,
         "value of header {name!r} contains a control character: {found!r}", START),
    Rule("header-value-latin1", MUST,
         "value of header {name!r} contains a character outside ISO-8859-1: {found!r}", UNICODE),
    Rule("hop-by-hop", MUST,
         "header {name!r} is hop-by-hop, which only the server may send: {found!r}", OTHER),
    Rule("content-length-form", MUST,
         "Content-Length must be a decimal number: {found!r}", "RFC 9110, 8.6"),
    Rule("content-length-repeated", MUST,
         "more than one Content-Length", "RFC 9110, 8.6"),
    Rule("content-length-204", MUST,
         "Content-Length with status 204", "RFC 9110, 8.6"),
    Rule("content-length-304", SHOULD,
         "Content-Length {found!r} with status 304 is right only if 200 would have the same",
         "RFC 9110, 8.6"),
    Rule("content-type-repeated", MUST,
         "more than one Content-Type", "RFC 9110, 8.3"),
    Rule("content-type-bodiless", SHOULD,
         "Content-Type with status {code}, which has no content",
         "wsgiref.validate; of 304 RFC 9110, 15.4.5"),
    Rule("content-type-missing", SHOULD,
         "a body without Content-Type: clients will guess", "RFC 9110, 8.3"),

    # -- body
    Rule("body-short", MUST,
         "the body has {sent} bytes, Content-Length promised {length}: the connection is closed",
         LENGTH),
    Rule("body-long", MUST,
         "the body has more than the {length} bytes of its Content-Length: the rest is dropped",
         LENGTH),
    Rule("body-forbidden", MUST,
         "a body with status {code}, which must not have one",
         "RFC 9110, 15.3.5, 15.3.6 and 15.4.5"),

    # -- write()
    Rule("write-arguments", MUST,
         "write() takes one positional argument; it was called with {given}", WRITE),
    Rule("write-type", MUST,
         "write() was given an object of type {found!t}, must be bytes", UNICODE),
    Rule("write-in-iteration", MUST,
         "write() was called from within the returned iterable", WRITE),
    Rule("write-after-end", MUST,
         "write() was called after the response had ended", WRITE),

    # -- environ
    Rule("environ-type", MUST,
         "the application was given an environ of type {found!t}, must be a dict (no subclass)",
         DETAILS),
    Rule("environ-missing", SHOULD,
         "{key} was removed from environ, or emptied: an application that is handed this environ "
         "relies on it", ENVIRON),
    Rule("environ-value", SHOULD,
         "environ[{key!r}] was set to an object of type {found!t}: an application that is handed "
         "this environ relies on {wanted}: {found!r}", ENVIRON),
    Rule("environ-latin1", SHOULD,
         "environ[{key!r}] was set to text with a character outside ISO-8859-1: an application "
         "that is handed this environ cannot decode it: {found!r}", UNICODE),
    Rule("environ-path", SHOULD,
         "environ[{key!r}] {problem}: {found!r}", "RFC 3875, 4.1.5 and 4.1.13"),
    Rule("environ-stream", SHOULD,
         "environ[{key!r}] was replaced by an object of type {found!t}, without {method}(): an "
         "application that is handed this environ relies on it", STREAMS),

    # -- wsgi.input and wsgi.errors
    Rule("input-arguments", MUST,
         "wsgi.input.{method}() takes at most one whole number, as a positional argument; it was "
         "called with {given}", STREAMS),
    Rule("input-close", MUST,
         "wsgi.input must not be closed", STREAMS),
    Rule("input-attribute", MUST,
         "wsgi.input has read, readline, readlines and iteration only; {name!r} was used", STREAMS),
    Rule("errors-arguments", MUST,
         "wsgi.errors.{method}() {wanted}; it was called with {given}", STREAMS),
    Rule("errors-close", MUST,
         "wsgi.errors must not be closed", STREAMS),
    Rule("errors-attribute", MUST,
         "wsgi.errors has write, writelines and flush only; {name!r} was used", STREAMS),

    # -- wsgi.file_wrapper
    Rule("file-arguments", MUST,
         "wsgi.file_wrapper() takes a file and optionally a block size, as positional arguments; "
         "it was called with {given}", FILES),
    Rule("file-read", MUST,
         "wsgi.file_wrapper() was given an object of type {found!t}, which has no read()", FILES),
    Rule("file-text", MUST,
         "wsgi.file_wrapper() was given a file opened as text, must be binary: {found!r}",
         FILES),
    Rule("hints-arguments", MUST,
         "wsgi.early_hints() takes one list of (name, value) pairs; it was called with {given}",
         "RFC 8297, 2"),
    Rule("hints-length", MUST,
         "Content-Length in early hints, which have no body", "RFC 9110, 8.6"),
)

RULES: MappingProxyType[str, Rule] = MappingProxyType({rule.name: rule for rule in _TABLE})
"""All rules by name, in the order of the documentation."""
