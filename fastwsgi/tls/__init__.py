"""TLS: the settings and files from which the core's contexts are made.

Only this is imported where nothing speaks TLS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastwsgi.config.config import Config
    from fastwsgi.logs.error import ErrorLog
    from fastwsgi.tls.rotation import Rotation
    from fastwsgi.tls.settings import Tls


def load_tls(config: Config, before: Tls | None = None, tickets: bytes = b"") -> Tls | None:
    """Read what the settings name, and prove that it works; None where there is no certificate.

    Sessions of ``before``, which this takes the place of, can be resumed, and those of another
    master, which has passed on ``tickets``. Raises ConfigError with the setting's name, and
    TlsError where no OpenSSL can be used.
    """
    if not config.tls:
        return None
    from fastwsgi.tls.settings import load  # imported where somebody wants it

    return load(config, before, tickets)


def rotation_of(tls: Tls | None, log: ErrorLog) -> Rotation | None:
    """Return who notices that certificates have changed, None where there is none."""
    if tls is None:
        return None
    from fastwsgi.tls.rotation import Rotation  # as above

    return Rotation(tls, log)
