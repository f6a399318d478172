"""``fastwsgi man``: the manual page, from the table of settings.

``fastwsgi man | man -l -`` shows it; ``fastwsgi man > fastwsgi.1`` makes the file that a package of
a distribution installs.
"""

from __future__ import annotations

import argparse
import re

from fastwsgi._version import __version__
from fastwsgi.commandline.options import COMMANDS, Option, options
from fastwsgi.config.table import SETTINGS

HEAD = r"""'\" t
.TH FASTWSGI 1 "" "fastwsgi @VERSION@" "User Commands"
.SH NAME
fastwsgi \- serve a WSGI application over HTTP/1.1
.SH SYNOPSIS
.B fastwsgi
.RI [ OPTIONS ]
.I MODULE:APP
.br
.B fastwsgi
.RI @COMMANDS@
.RI [ ARGUMENT " ...]"
.SH DESCRIPTION
.B fastwsgi
serves a WSGI (PEP 3333) application: an attribute of a Python module, or what a factory returns
.RI ( MODULE:make_app() ).
A master keeps worker processes; each has an event loop in C and a number of threads for the
application.
.PP
Each setting can come from the command line, a variable
.BI FASTWSGI_ NAME\fR,
a configuration file
.RB ( fastwsgi.conf.py ,
or that of
.BR \-\-config ),
or the table [tool.fastwsgi] of pyproject.toml. The first of these counts.
.B fastwsgi \-\-print\-config
shows every value with its origin.
.SH COMMANDS
"""

TAIL = r"""
.SH SIGNALS
.TP
.B TERM
Finish the requests in flight and stop.
.TP
.BR INT ", " QUIT
Stop at once.
.TP
.B HUP
Read settings and application again, worker by worker.
.TP
.B USR1
Reopen the logs.
.TP
.B USR2
Start a new master on the same sockets. TERM to the old one finishes the upgrade.
.TP
.BR TTIN ", " TTOU
One worker more, one fewer.
.SH EXIT STATUS
.TP
.B 0
Asked to stop.
.TP
.B 1
A failure while it ran, such as an address in use.
.TP
.B 2
Wrong usage or configuration.
.TP
.B 3
A worker did not start.
.TP
.B 4
The application did not load.
.SH ENVIRONMENT
.TP
.BI FASTWSGI_ NAME
The setting of that name.
.TP
.BR PORT ", " WEB_CONCURRENCY ", " FORWARDED_ALLOW_IPS
Defaults of bind, workers and forwarded_allow_ips.
.TP
.B GUNICORN_CMD_ARGS
A command line of gunicorn, which counts after the variables above.
.TP
.BR NO_COLOR ", " FORCE_COLOR
Whether
.B \-\-help
has colours.
.TP
.BR LISTEN_FDS ", " NOTIFY_SOCKET ", " WATCHDOG_USEC
Set by
.BR systemd (1):
sockets to serve, readiness and the watchdog.
.SH FILES
.TP
.B ./fastwsgi.conf.py
The configuration file, in Python: one NAME = VALUE for each setting.
.TP
.B ./pyproject.toml
The table [tool.fastwsgi].
.SH EXAMPLES
.nf
fastwsgi mysite.wsgi:application
fastwsgi \-\-workers auto \-\-bind 0.0.0.0:8000 mysite:app
fastwsgi \-\-threads 16 \-\-health\-path /healthz \(aqmysite:create_app()\(aq
fastwsgi migrate gunicorn.conf.py > fastwsgi.conf.py
.fi
.SH SEE ALSO
.BR gunicorn (1),
.BR nginx (8),
.BR systemd.service (5)
"""


def man(parser: argparse.ArgumentParser) -> str:
    """Return the page, in the language of groff's man macros."""
    parts = [HEAD.replace("@VERSION@", __version__).replace("@COMMANDS@", "|".join(COMMANDS))]
    for name, text in COMMANDS.items():
        parts.append(f".TP\n.B fastwsgi {_plain(name)}\n{_sentence(text)}\n")
    parts.append(".SH OPTIONS\n")
    group = ""
    for option in options(parser):
        if option.group != group:
            group = option.group
            parts.append(f".SS {_plain(group.capitalize())}\n")
        parts.append(_entry(option))
    parts.append(".SS Settings without an option\n")
    parts += [f".TP\n.B {_plain(setting.name)}\n{_sentence(setting.doc)}\n"
              for setting in SETTINGS.values() if not setting.flags and not setting.metavar]
    return "".join(parts) + TAIL.lstrip("\n")


def _entry(option: Option) -> str:
    argument = ""
    if option.argument:
        named = rf"\fI{_plain(option.argument)}\fR"
        argument = rf" [{named}]" if option.optional else f" {named}"
    flags = ", ".join(rf"\fB{_plain(flag)}\fR{argument}" for flag in option.flags)
    return f".TP\n{flags}\n{_sentence(option.text)}\n"


def _sentence(text: str) -> str:
    """A setting's text as a sentence; its default is in brackets behind it."""
    found = re.fullmatch(r"(.*?)( \[[^]]*\])?", text, re.DOTALL)
    assert found is not None
    words = found[1][:1].upper() + found[1][1:] + "."
    default = f" Default:{found[2].replace('[', '').replace(']', '')}." if found[2] else ""
    return _plain(words + default)


def _plain(text: str) -> str:
    """The text as groff shows it: no escapes, no requests, dashes that can be copied."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("^", r"\(ha")
    text = text.replace("~", r"\(ti").replace("`", r"\(ga")
    return rf"\&{text}" if text.startswith(".") else text
