"""The errors that fastwsgi raises, sorted by whose fault they are.

Each carries the exit code of the command line, so that cli.py has one ``except`` and no table. The
text of an error is one line, written for the person who can fix it.
"""


class FastwsgiError(Exception):
    """Base of all errors raised by fastwsgi itself.

    ``exit_code`` is the exit code of the process when the error reaches the command line.
    """

    exit_code = 1


class ConfigError(FastwsgiError):
    """The operator's fault: an unknown setting, a wrong value, a wrong command line.

    The text names the setting and its origin (command line, environment variable, file).
    """

    exit_code = 2


class AppImportError(FastwsgiError):
    """The application could not be loaded.

    When the application's own code raised, that exception is the ``__cause__`` and its traceback is
    worth showing. Without a cause, the name that the operator gave was wrong.
    """

    exit_code = 4


class ListenError(FastwsgiError):
    """A listening socket could not be opened: address in use, no permission, unknown host."""


class CoreError(FastwsgiError):
    """The compiled core cannot be used: not built, or httptools is outside the tested range."""


class TlsError(FastwsgiError):
    """TLS cannot be served: no OpenSSL was found whose functions can be called."""


class PidFileError(FastwsgiError):
    """The pid file cannot be written, or names a process that is still running."""


class ControlError(FastwsgiError):
    """A running server could not be asked over its control socket, or has refused."""


class WarmUpError(FastwsgiError):
    """The warm-up request was not answered with a status below 500."""


class RequestTimeout(BaseException):
    """Raised within a request that has been in the application for longer than ``timeout``.

    It is not an Exception, so that an application's ``except Exception`` does not catch it.
    ``finally`` and ``with`` clean up as usual. The client gets 503.
    """


class ClientGone(BaseException):
    """Raised within a request whose client has gone, with the setting ``cancel_gone``.

    It is not an Exception, for the same reason. It is raised once, and the connection closes.
    """
