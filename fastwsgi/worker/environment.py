"""The environment of a process: directory, import path, variables, user and group.

All of these are set before anything is opened or imported. Each worker drops its own privileges.
"""

from __future__ import annotations

import grp
import os
import pwd

from fastwsgi.config.config import Config
from fastwsgi.errors import ConfigError
from fastwsgi.system.paths import absolute
from fastwsgi.worker.loader import prefer_directory


def prepare(config: Config, *, importing: bool) -> None:
    """Apply what must come before anything is opened or imported: directory, path, variables.

    With ``importing`` the application is going to be imported by name, as ``python -m`` would: the
    working directory is on the import path.
    """
    if config.chdir:
        os.chdir(config.chdir)
    if importing:
        prefer_directory(os.getcwd())
    set_variables(config)
    set_import_path(config)


def set_variables(config: Config) -> None:
    """Set the environment variables of the settings."""
    for item in config.raw_env:
        key, _, value = item.partition("=")
        os.environ[key] = value


def set_import_path(config: Config) -> None:
    """Put the directories of the settings at the front of the import path, in their order."""
    for path in reversed(config.pythonpath):
        prefer_directory(absolute(path))


def user_and_group(config: Config) -> tuple[int, int]:
    """Return the user and group id the workers change to, -1 for what stays as it is.

    Raises ConfigError when that takes privileges this process does not have, and for a user without
    an account whose group is not told: the workers would keep the group of this process, root's.
    """
    uid = gid = -1
    if config.user is not None:
        account = _account(config.user)
        if account is not None:
            uid, gid = account.pw_uid, account.pw_gid
        elif isinstance(config.user, int):
            uid = config.user
        else:  # it had one when the settings were read
            raise ConfigError(f"user {config.user!r} (from {config.origin('user')}) has no account "
                              "any more")
        lacking = account is None and uid != os.geteuid()
        if lacking and config.group is None:
            raise ConfigError(f"user {config.user} (from {config.origin('user')}) has no account "
                              "with a main group: name a group with --group")
        if lacking and config.initgroups:
            raise ConfigError(f"user {config.user} (from {config.origin('user')}) has no account "
                              "and so no groups: drop initgroups (from "
                              f"{config.origin('initgroups')})")
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


def _account(user: str | int) -> pwd.struct_passwd | None:
    """Return the account of a user; None for a number without one."""
    try:
        return pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:
        return None


def drop_privileges(config: Config) -> None:
    """Change umask, group, supplementary groups and user, in this order, for good."""
    if config.umask is not None:
        os.umask(config.umask)
    uid, gid = user_and_group(config)
    if gid != -1:
        os.setgid(gid)
    if (uid, gid) != (-1, -1):
        account = None
        if config.initgroups and config.user is not None:
            account = _account(config.user)
        if account is not None:
            os.initgroups(account.pw_name, os.getgid())
        else:
            os.setgroups([os.getgid()])
    if uid != -1:
        os.setuid(uid)
