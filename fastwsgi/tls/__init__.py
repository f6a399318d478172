"""TLS: the settings and files from which the core's contexts are made.

Only this is imported where nothing speaks TLS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastwsgi.config.config import Config
    from fastwsgi.tls.settings import Tls


def load_tls(config: Config, before: Tls | None = None) -> Tls | None:
    """Read what the settings name, and prove that it works; None where there is no certificate.

    Sessions of ``before``, which this takes the place of, can be resumed. Raises ConfigError with
    the setting's name, and TlsError where no OpenSSL can be used.
    """
    if not config.tls:
        return None
    from fastwsgi.tls.settings import load  # imported where somebody wants it

    return load(config, before)
