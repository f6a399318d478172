"""The logs as the settings describe them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TextIO

from fastwsgi.config.config import Config
from fastwsgi.logs.access import AccessFile
from fastwsgi.logs.error import ErrorLog

if TYPE_CHECKING:
    from fastwsgi.logs.syslog import Sender, SyslogHandler


def open_error_log(
    config: Config, owner: tuple[int, int] = (-1, -1), target: TextIO | None = None,
) -> ErrorLog:
    """Open the error log, ``target`` in place of its file if given; raise ConfigError."""
    form = None
    if config.log_format == "json":
        from fastwsgi.logs.records import JsonForm  # imported where somebody wants it

        form = JsonForm()
    log: list[ErrorLog] = []
    more: tuple[SyslogHandler, ...] = ()
    if config.syslog:
        from fastwsgi.logs import syslog  # likewise

        handler = syslog.SyslogHandler(syslog_sender(config), lambda text: log[0].complain(text))
        if form is not None:
            handler.setFormatter(form)
        more = (handler,)
    log.append(ErrorLog(target or config.errorlog, config.loglevel, owner, form=form,
                        configure=_configuration(config), more=more))
    return log[0]


def _configuration(config: Config) -> Callable[[], None] | None:
    """Return what sets up ``logging``; the first of gunicorn's three settings that is there."""
    if not (config.logconfig_dict or config.logconfig_json or config.logconfig):
        return None
    from fastwsgi.logs import configuration  # imported where somebody wants one

    if config.logconfig_dict:
        return partial(configuration.use_dict, config.logconfig_dict,
                       config.origin("logconfig_dict"))
    if config.logconfig_json:
        return partial(configuration.use_json, config.logconfig_json,
                       config.origin("logconfig_json"))
    return partial(configuration.use_file, config.logconfig, config.origin("logconfig"))


def syslog_sender(config: Config) -> Sender:
    """Return how the server speaks to syslog."""
    from fastwsgi.logs.syslog import Sender
    from fastwsgi.system.syslog import FACILITIES, parse_place

    name = f"fastwsgi.{config.syslog_prefix}" if config.syslog_prefix else (
        config.proc_name or "fastwsgi")
    return Sender(parse_place(config.syslog_addr), name, FACILITIES[config.syslog_facility])


def open_access_log(config: Config, owner: tuple[int, int] = (-1, -1)) -> AccessFile | None:
    """Open the access log, None if there is to be none; raise ConfigError."""
    sends = config.syslog and not config.disable_redirect_access_to_syslog
    if not config.accesslog and not sends:
        return None
    return AccessFile(config.accesslog, config.access_log_format, config.access_log_fields, owner,
                      syslog_sender(config) if sends else None, leaves=config.daemon)


def request_ids(config: Config, access: AccessFile | None) -> int:
    """Return what the core does about ids of requests: 0 nothing, 1 make them, 2 answer them."""
    if config.request_id == "auto":
        return int(config.log_format == "json" or bool(config.logconfig or config.logconfig_json
                                                       or config.logconfig_dict)
                   or (access is not None and access.says("request_id")))
    return ("off", "on", "response").index(config.request_id)
