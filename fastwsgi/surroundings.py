"""What a process finds around it: directory, import path, variables, and who it is.

The settings for all of these are applied before anything is opened or imported; privileges are
dropped by each worker for itself.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from pathlib import Path

from fastwsgi.config_sources import Config
from fastwsgi.errors import ConfigError
from fastwsgi.loader import prefer_directory


def prepare(config: Config, *, importing: bool) -> None:
    """Apply what must come before anything is opened or imported: directory, path, variables.

    With ``importing`` the application is going to be imported by name, as ``python -m`` would: the
    working directory is on the import path.
    """
    if config.chdir:
        os.chdir(config.chdir)
    if importing:
        prefer_directory(str(Path.cwd()))
    set_variables(config)
    set_import_path(config)


def set_variables(config: Config) -> None:
    """Set the environment variables of the settings."""
    for item in config.raw_env:
        key, _, value = item.partition("=")
        os.environ[key] = value


def set_import_path(config: Config) -> None:
    """Put the directories of the settings in front of the import path, in their order."""
    for path in reversed(config.pythonpath):
        prefer_directory(str(Path(path).absolute()))


def account_ids(config: Config) -> tuple[int, int]:
    """Return the user and group id the workers change to, -1 for what stays as it is.

    Raises ConfigError when that takes privileges this process does not have.
    """
    uid = gid = -1
    if isinstance(config.user, str):
        entry = pwd.getpwnam(config.user)
        uid, gid = entry.pw_uid, entry.pw_gid
    elif config.user is not None:
        uid = config.user
        with contextlib.suppress(KeyError):
            gid = pwd.getpwuid(uid).pw_gid
    if isinstance(config.group, str):
        gid = grp.getgrnam(config.group).gr_gid
    elif config.group is not None:
        gid = config.group
    uid = -1 if uid == os.geteuid() else uid
    gid = -1 if gid == os.getegid() else gid
    if (uid, gid) != (-1, -1) and os.geteuid() != 0:
        name, value = ("user", config.user) if uid != -1 else ("group", config.group)
        origin = config.origin(name)
        raise ConfigError(f"{name} {value!r} (from {origin}): only root can change to it")
    return uid, gid


def drop_privileges(config: Config) -> None:
    """Change umask, group, supplementary groups and user, in this order, for good."""
    if config.umask is not None:
        os.umask(config.umask)
    uid, gid = account_ids(config)
    if gid != -1:
        os.setgid(gid)
    if (uid, gid) != (-1, -1):
        if config.initgroups and config.user is not None:
            known = isinstance(config.user, str)
            name = config.user if known else pwd.getpwuid(config.user).pw_name
            os.initgroups(name, os.getgid())
        else:
            os.setgroups([os.getgid()])
    if uid != -1:
        os.setuid(uid)
