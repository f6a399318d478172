"""The logs as the settings describe them."""

from __future__ import annotations

from fastwsgi.config.config import Config
from fastwsgi.logs.access import AccessFile


def open_access_log(config: Config, owner: tuple[int, int] = (-1, -1)) -> AccessFile | None:
    """Open the access log, None if there is to be none; raise ConfigError."""
    if not config.accesslog:
        return None
    return AccessFile(config.accesslog, config.access_log_format, config.access_log_fields, owner)


def request_ids(config: Config, access: AccessFile | None) -> int:
    """Return what the core does about ids of requests: 0 nothing, 1 make them, 2 answer them."""
    if config.request_id == "auto":
        return int(access is not None and access.says("request_id"))
    return ("off", "on", "response").index(config.request_id)
