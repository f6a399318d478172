"""The hook ``ssl_context``: an ``ssl.SSLContext`` whose inside the core uses.

Behind the head of such an object lies a pointer to OpenSSL's ``SSL_CTX``, in CPython 3.10 to 3.14.
It is taken for that only if the options that Python reads of the context and those that the core
reads behind the pointer are the same, before and after Python has changed one. What a context holds
that calls Python is refused: handshakes run without the interpreter lock.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastwsgi.config.config import Config
from fastwsgi.errors import ConfigError
from fastwsgi.system.openssl import Library
from fastwsgi.tls.choice import choices
from fastwsgi.tls.files import Pair

if TYPE_CHECKING:
    import ssl

    from fastwsgi._core.core import TlsContext


def from_hook(config: Config, pairs: Sequence[Pair], library: Library) -> ssl.SSLContext:
    """Call the hook as gunicorn does; return its context."""
    import ssl

    from fastwsgi._core.core import limit_groups

    def default() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if library.is_pythons:
            limit_groups(_inside(context))
        only = config.ssl_version or config.tls_minimum
        context.minimum_version = getattr(ssl.TLSVersion, f"TLSv{only.replace('.', '_')}")
        if config.ssl_version:
            context.maximum_version = context.minimum_version
        if config.ciphers:
            context.set_ciphers(config.ciphers)
        if config.ca_certs:
            context.load_verify_locations(config.ca_certs)
        context.verify_mode = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL,
                               "required": ssl.CERT_REQUIRED}[config.cert_reqs]
        for pair in choices(pairs)[0].pairs if pairs else ():
            context.load_cert_chain(pair.certfile, pair.keyfile, password=_no_password)
        return context

    hook: Callable[..., Any] = config.hooks.functions["ssl_context"]
    try:
        context = hook(config, default)
    except Exception as error:
        raise ConfigError(
            f"the hook ssl_context failed: {type(error).__name__}: {error}") from error
    if not isinstance(context, ssl.SSLContext):
        raise ConfigError("the hook ssl_context must return an ssl.SSLContext, not "
                          f"{type(context).__name__}")
    if why := _calls_python(context):
        raise ConfigError(f"the hook ssl_context: {why}")
    return context


def borrow(context: ssl.SSLContext, library: Library, to: TlsContext) -> None:
    """Let the core use the context; raise ConfigError where it cannot."""
    if not library.is_pythons:
        raise ConfigError(
            f"the hook ssl_context needs Python's own OpenSSL, and TLS is served by {library.text} "
            f"({library.origin}) because that one cannot be called")
    to.borrow(_inside(context))


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is here to be asked for its password")


def _calls_python(context: ssl.SSLContext) -> str:
    """Say what would need Python during a handshake; empty if nothing does."""
    if context.sni_callback is not None:
        return ("a sni_callback in Python cannot be called; name several --certfile instead, which "
                "are chosen by their names")
    if getattr(context, "keylog_filename", None) is not None:
        return "keylog_filename cannot be served, for Python writes that file"
    if getattr(context, "_msg_callback", None) is not None:
        return "a _msg_callback in Python cannot be called"
    return ""


def _inside(context: ssl.SSLContext) -> int:
    """Find the SSL_CTX, and prove that it is one."""
    import ssl

    from fastwsgi._core.core import ssl_context_options

    refusal = ConfigError(f"the hook ssl_context: the inside of an ssl.SSLContext of Python "
                          f"{sys.version.split()[0]} is not known")
    if sys.implementation.name != "cpython" or type(context).__basicsize__ < object.__basicsize__:
        raise refusal
    where = id(context) + object.__basicsize__
    pointer = ctypes.c_void_p.from_address(where).value or 0
    if not pointer or pointer % ctypes.alignment(ctypes.c_void_p):
        raise refusal
    before = context.options
    try:
        for change in (0, ssl.OP_NO_TICKET, ssl.OP_CIPHER_SERVER_PREFERENCE):
            context.options = before ^ change
            if int(context.options) != _as_python(ssl_context_options(pointer)):
                raise refusal
    finally:
        context.options = before
    return pointer


def _as_python(options: int) -> int:
    import ssl

    return int(ssl.Options(options))
