"""What a setting's value may be: one converter per kind of value.

A converter takes what an origin offers (text from the command line or the environment, a Python or
TOML value from a file, a keyword argument) and the bounds of the setting, if its kind has any. It
returns the value the server works with, or raises ``ValueError`` whose text completes the sentence
"NAME must be ...". It knows nothing of origins; sources.py adds those. The type it returns becomes
the type of the setting in config.py.
It has more than 500 lines because there are so many kinds.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence

from fastwsgi.logs.format import parse, parse_fields
from fastwsgi.system.address import Address, parse_address
from fastwsgi.system.networks import EVERYBODY, parse_network

Converter = Callable[..., object]

def _items(value: object, kind: str) -> list[str]:
    """Split a comma-separated text, or take a list or tuple of texts as it is."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        return [part for part in parts if part]
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return [part for item in value for part in _items(item, kind)]
    raise ValueError(f"{kind}, not {value!r}")


def addresses(value: object) -> tuple[Address, ...]:
    """Convert a text, or a list of texts, each holding one or several addresses with commas."""
    if isinstance(value, Address):
        return (value,)
    if isinstance(value, tuple) and value and all(isinstance(item, Address) for item in value):
        return value
    found = tuple(parse_address(text) for text in _items(value, "an address or a list of them"))
    if not found:
        raise ValueError("at least one address")
    return found


def optional_addresses(value: object) -> tuple[Address, ...]:
    """Convert addresses of something that may be left out, and speaks plain HTTP."""
    if value is None or value in ("", (), []):
        return ()
    found = addresses(value)
    for address in found:
        if address.scheme:
            raise ValueError(f"an address without a scheme, not {str(address)!r}")
    return found


def statsd_address(value: object) -> Address | None:
    """Convert the address of a statsd: HOST, HOST:PORT or unix:PATH; empty means none."""
    if value is None or isinstance(value, Address):
        return value
    if isinstance(value, tuple) and len(value) == 2:  # as gunicorn's own
        value = f"{value[0]}:{value[1]}"
    asked = text(value).strip()
    if not asked:
        return None
    try:
        found = parse_address(asked.removeprefix("udp://"))
    except ValueError:
        found = None
    if found is None or found.scheme or found.kind == "fd" or asked.startswith(":"):
        raise ValueError(f"HOST:PORT or unix:PATH, not {value!r}")
    if found.kind == "tcp" and re.search(r":\d+\Z", asked) is None:
        found = found._replace(port=8125)
    if found.kind == "tcp" and not found.port:
        raise ValueError(f"HOST:PORT with a port from 1 to 65535, not {value!r}")
    return found


def statsd_text(value: object) -> str:
    """Convert a part of a line for statsd: visible ASCII that does not end another part."""
    found = text(value)
    if not re.fullmatch(r"[!-~]*", found) or set(found) & set("|@\n"):
        raise ValueError(f"visible ASCII without '|' and '@', not {value!r}")
    return found


def route_labels(value: object) -> tuple[str, ...]:
    """Convert variables of the environ, and patterns of paths with the names of routes."""
    found = tuple(_items(value, "KEY, PATTERN=NAME or a list of them"))
    for item in found:
        pattern, equals, name = item.partition("=")
        if pattern.startswith("/"):
            if not name or len(name.encode()) > 95 or not name.isprintable():
                raise ValueError(f"PATTERN=NAME with a name of 1 to 95 bytes, not {item!r}")
        elif equals or not re.fullmatch(r"[!-<>-~]+", item):
            raise ValueError(f"a variable of the environ, or PATTERN=NAME with a pattern that "
                             f"begins with '/', not {item!r}")
    return found


def buckets(value: object, most: int) -> tuple[float, ...]:
    """Convert ascending bounds in seconds, a list of numbers or a text of them."""
    items = value if isinstance(value, (list, tuple)) else (
        value.split(",") if isinstance(value, str) else [value])
    try:
        found = tuple(math.nan if isinstance(item, bool) else float(item)  # type: ignore[arg-type]
                      for item in items)
    except (TypeError, ValueError):
        found = ()
    whole = [round(bound * 1e6) if 0 < bound <= 86400 else 0 for bound in found]
    if not whole or len(whole) > most or 0 in whole or sorted(set(whole)) != whole:
        raise ValueError(f"1 to {most} numbers of seconds (microseconds to a day), ascending, "
                         f"not {value!r}")
    return found


def whole(value: object, least: int, most: int) -> int:
    """Convert a whole number from ``least`` to ``most``."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value, re.ASCII):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"a whole number from {least} to {most}, not {value!r}")
    return value


def seconds(value: object, least: float = 0.0) -> float:
    """Convert a number of seconds, whole or with a fraction, from ``least`` to a year."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number <= 31_536_000:
        kind = "seconds, 0 or more" if least == 0 else "seconds, more than 0"
        raise ValueError(f"a number of {kind} (a year at most), not {value!r}")
    return number


def slow(value: object) -> float | str:
    """Convert a number of seconds, or ``p99``."""
    if isinstance(value, str) and value.strip().lower() == "p99":
        return "p99"
    try:
        return seconds(value)
    except ValueError as error:
        raise ValueError(f"p99, or {error}") from None


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size(value: object) -> int:
    """Convert a number of bytes, as text also with a unit: ``64K``, ``1M`` or ``1MiB``, ``2G``."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d{1,15})\s*([kmg]?)(?:i?b)?\s*", value, re.ASCII | re.I)
        if found is not None:
            value = int(found[1]) * _UNITS[found[2].lower()]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError(f"a number of bytes (K, M and G are allowed), not {value!r}")
    return value


def switch(value: object) -> bool:
    """Convert a truth value; as text ``true``/``false``, ``yes``/``no``, ``on``/``off``, 1/0."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
    if isinstance(value, bool):
        return value
    raise ValueError(f"true or false, not {value!r}")


def choice(value: object, *words: str) -> str:
    """Convert one of a few words, in any case."""
    if isinstance(value, str) and value.lower() in words:
        return value.lower()
    if isinstance(value, int) and str(value) in words:
        return str(value)
    raise ValueError(f"{_either(words)}, not {value!r}")


def choices(value: object, *words: str) -> tuple[str, ...]:
    """Convert some of a few words, or none, in the order in which they are listed there."""
    found = [item.lower() for item in _items(value, f"some of {', '.join(words)}")]
    for item in found:
        if item not in words:
            raise ValueError(f"some of {', '.join(words)}, not {item!r}")
    return tuple(word for word in words if word in found)


def networks(value: object) -> tuple[str, ...]:
    """Convert a list of addresses and networks, or a text of them; ``*`` stands for everybody."""
    found = _items(value, "an address, a network or a list of them")
    for item in found:
        if item != EVERYBODY:
            try:
                parse_network(item)
            except ValueError as error:
                raise ValueError(f"addresses, networks or '*', but {error}") from None
    return tuple(found)


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


def field_names(value: object) -> tuple[str, ...]:
    """Convert a list of names of header fields, or a text of them, to capitals."""
    found = _items(value, "a header name or a list of them")
    for item in found:
        if not _TOKEN.fullmatch(item):
            raise ValueError(f"names of header fields, not {item!r}")
    return tuple(item.upper() for item in found)


def field_name(value: object) -> str:
    """Convert the name of one header field, or none, to capitals."""
    name = text(value).strip()
    if name and (not _TOKEN.fullmatch(name) or "_" in name):
        raise ValueError(f"the name of a header field, without underscores, not {value!r}")
    return name.upper()


def field_values(value: object) -> dict[str, str]:
    """Convert a dictionary of header fields, or NAME=VALUE texts; names become capitals."""
    if isinstance(value, dict):
        pairs = list(value.items())
    else:
        items = (item.partition("=") for item in _items(value, "a dictionary or NAME=VALUE"))
        pairs = [(name.strip(), wanted.strip()) for name, _, wanted in items]
    found = {}
    for name, wanted in pairs:
        if not isinstance(name, str) or not isinstance(wanted, str):
            raise ValueError(f"a dictionary of texts, not {value!r}")
        if not _TOKEN.fullmatch(name) or not re.fullmatch(r"[!-~]+( +[!-~]+)*", wanted):
            raise ValueError(f"names of header fields with a value each, not {name!r}: {wanted!r}")
        if "," in wanted:
            raise ValueError(f"without commas, which separate values of proxies, not {wanted!r}")
        found[name.upper()] = wanted
    return found


def _glob(value: object) -> str:
    """Check a pattern of paths."""
    if not isinstance(value, str) or not re.fullmatch(r"[/*\[?][^\0-\x20\x7f]*", value):
        raise ValueError(f"a path that begins with '/', or a pattern of paths, not {value!r}")
    return value


def globs(value: object) -> tuple[str, ...]:
    """Convert a list of patterns of paths, or a text of them separated by commas."""
    return tuple(_glob(item) for item in _items(value, "a pattern of paths or a list of them"))


def path_seconds(value: object) -> dict[str, float]:
    """Convert a dictionary of patterns of paths with seconds, or GLOB=SECONDS texts."""
    if isinstance(value, dict):
        pairs = list(value.items())
    else:
        items = (item.rpartition("=") for item in _items(value, "a dictionary or GLOB=SECONDS"))
        pairs = [(glob.strip(), text.strip()) for glob, _, text in items]
    found: dict[str, float] = {}
    for glob, number in pairs:
        try:
            found.setdefault(_glob(glob), seconds(number))
        except ValueError as error:
            given = f"{glob}={number}" if glob else number
            raise ValueError(f"GLOB=SECONDS: {error} in {given!r}") from None
    return found


def proxy_protocol(value: object, *words: str) -> str:
    """Convert a version of the PROXY protocol; as in gunicorn, true means ``auto``."""
    return choice({True: "auto", False: "off"}[value] if isinstance(value, bool) else value, *words)


def request_id(value: object, *words: str) -> str:
    """Convert one of a few words; true means ``on``."""
    return choice({True: "on", False: "off"}[value] if isinstance(value, bool) else value, *words)


def preload_memory(value: object, *words: str) -> str:
    """Convert one of a few words; ``immortal`` needs an interpreter that has such objects."""
    word = choice(value, *words)
    if word == "immortal" and (reason := _no_immortal_objects()):
        raise ValueError(f"{_either(other for other in words if other != word)}: {reason}")
    return word


def collections(value: object, *words: str) -> str:
    """Convert when garbage is collected; from 3.14 on the interpreter does it in small steps."""
    word = choice(value, *words)
    if word != "default" and (sys.version_info >= (3, 14) or "t" in sys.abiflags):
        version = "{}.{}{}".format(*sys.version_info[:2], "t" * ("t" in sys.abiflags))
        raise ValueError(f"default: Python {version} collects in another way, with short pauses")
    return word


def _no_immortal_objects() -> str:
    """Say why this interpreter cannot make objects immortal; empty if it can."""
    version = "{}.{}".format(*sys.version_info)
    if sys.version_info < (3, 12):
        return f"Python {version} has no immortal objects, 3.12 and 3.13 have"
    if sys.version_info >= (3, 14):
        return f"Python {version} counts immortal constants, 3.12 and 3.13 do not"
    if "t" in sys.abiflags:
        return "a free-threaded Python counts references in another way"
    if hasattr(sys, "gettotalrefcount") or hasattr(sys, "getobjects"):
        return "a debug build of Python checks reference counts"
    return ""


def pinning(value: object) -> bool:
    """Convert a truth value that only a system with CPU affinity can grant."""
    wanted = switch(value)
    if wanted and not hasattr(os, "sched_setaffinity"):
        raise ValueError("off: this system cannot bind processes to CPUs")
    return wanted


def _either(words: Iterable[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last


def text(value: object) -> str:
    """Convert a text; None counts as the empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"a text, not {value!r}")
    if "\0" in value:
        raise ValueError("a text without NUL characters")
    return value


def dictionary(value: object) -> dict[str, object]:
    """Convert a dictionary with names as keys."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"a dictionary with texts as keys, not {type(value).__name__}")
    return value


def syslog_address(value: object) -> str:
    """Convert the address of syslog."""
    from fastwsgi.system.syslog import parse_place

    place = text(value)
    parse_place(place)
    return place


def access_format(value: object) -> str:
    """Convert the format of the access log: gunicorn's atoms, or the name of a format."""
    pattern = text(value)
    parse(pattern)
    return pattern


def access_fields(value: object) -> tuple[str, ...]:
    """Convert the members of a line in JSON: a list of ``KEY`` or ``KEY=ATOM``, or a dictionary."""
    if isinstance(value, dict):
        value = [f"{key}={atom}" for key, atom in value.items()]
    fields = tuple(_items(value, "KEY or KEY=ATOM, or a list of them"))
    parse_fields(fields)
    return fields


def directory(value: object) -> str:
    """Convert the path of an existing directory; empty means the current one."""
    path = text(value)
    if path and not os.path.isdir(path):
        raise ValueError(f"an existing directory, not {path!r}")
    return path


def paths(value: object) -> tuple[str, ...]:
    """Convert a list of paths, or a text of them separated by commas."""
    return tuple(_items(value, "a path or a list of them"))


def environment(value: object) -> tuple[str, ...]:
    """Convert one ``KEY=VALUE`` or a list of them."""
    found = [value] if isinstance(value, str) else value
    if isinstance(found, dict):
        found = [f"{key}={content}" for key, content in found.items()]
    if not isinstance(found, (list, tuple)):
        raise ValueError(f"KEY=VALUE or a list of them, not {type(value).__name__}")
    for item in found:
        if not isinstance(item, str) or not re.match(r"[^=\0]+=[^\0]*\Z", item):
            # without its value, which may be a secret
            name = item.partition("=")[0] if isinstance(item, str) else item
            raise ValueError(f"KEY=VALUE, not {name!r}")
    return tuple(found)


def workers(value: object) -> int:
    """Convert a number of workers; ``auto`` stands for the CPUs this process may use."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return usable_cpus()
    try:
        return whole(value, 0, 4096)
    except ValueError:
        raise ValueError(f"a whole number from 0 to 4096 or 'auto', not {value!r}") from None


def usable_cpus() -> int:
    """Count the CPUs this process may use: its affinity mask, cut by a control group's quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:
        # cgroup v2: "QUOTA PERIOD", in microseconds
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max": no quota
        pass
    return max(1, count)


def mode(value: object) -> int | None:
    """Convert a umask: octal as text (``022``, ``0o22``), or a number; None means: leave it."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        found = re.fullmatch(r"(?:0o?)?([0-7]{1,4})", value.strip(), re.ASCII)
        value = int(found[1], 8) if found is not None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 0o777:
        raise ValueError(f"an octal number from 0 to 0777, not {value!r}")
    return value


def user(value: object) -> str | int | None:
    """Convert the name or number of a user; None means: the one who started the server."""
    import pwd

    return _known(value, "user", lambda name: pwd.getpwnam(name).pw_uid)


def group(value: object) -> str | int | None:
    """Convert the name or number of a group; None means: the one of the starting process."""
    import grp

    return _known(value, "group", lambda name: grp.getgrnam(name).gr_gid)


def _known(value: object, kind: str, find: Callable[[str], int]) -> str | int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and not value.isdigit():
        try:
            find(value)
        except KeyError:
            raise ValueError(f"the name or number of a {kind}; {value!r} does not exist") from None
        return value
    try:
        return whole(value, 0, 2**32 - 2)
    except ValueError:
        raise ValueError(f"the name or number of a {kind}, not {value!r}") from None


def url_path(value: object, also: str = "") -> str:
    """Convert a path as requests ask for it: empty, or ``/`` and visible ASCII.

    ``?`` and ``#``, which end a path, are refused unless they are in ``also``.
    """
    path = text(value)
    if path and not (path.startswith("/") and all(
            "!" <= c <= "~" and (c not in "?#" or c in also) for c in path)):
        raise ValueError(f"empty or a path that begins with '/', not {value!r}")
    return path


def url_target(value: object) -> str:
    """Convert a path that a query may follow."""
    return url_path(value, "?#")


def mount(value: object) -> str:
    """Convert SCRIPT_NAME (PEP 3333), which is decoded and has no slash at its end."""
    return url_path(value, "?#").rstrip("/")


def _by_prefix(value: object, separator: str, form: str) -> Sequence[str]:
    """Return the items of a text, a list or a dictionary whose keys are the prefixes."""
    if isinstance(value, dict):
        return [f"{prefix}={what}" for prefix, what in value.items()]
    items = re.split(separator, value.strip()) if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{form} or a list of them, not {value!r}")
    return items


def mounts(value: object) -> tuple[str, ...]:
    """Convert ``/PREFIX=MODULE:APP`` or a list of them, each prefix once; ``/`` is all the rest.

    A dictionary has the prefixes as its keys. Commas may be in the arguments of a factory, so they
    do not separate.
    """
    found: dict[str, str] = {}
    for item in _by_prefix(value, r"\s+(?=/)", "/PREFIX=MODULE:APP"):
        prefix, _, name = item.partition("=")
        prefix, name = prefix.strip().rstrip("/"), name.strip()
        if not name or not item.lstrip().startswith("/"):
            raise ValueError(f"/PREFIX=MODULE:APP, not {item!r}")
        if url_path(prefix) in found:
            raise ValueError(f"a list with each prefix once, not {prefix or '/'!r} twice")
        found[prefix] = name
    found = {prefix or "/": name for prefix, name in found.items()}
    return tuple(f"{prefix}={name}" for prefix, name in found.items())


def folders(value: object) -> tuple[str, ...]:
    """Convert ``/PREFIX=DIR`` or a list of them, each prefix once; ``/`` is all paths.

    A dictionary has the prefixes as its keys; in a text they are separated by commas.
    """
    items = _by_prefix(value, r"[,\s]\s*(?=/[^=,]*=)", "/PREFIX=DIR")
    found: dict[str, str] = {}
    for item in (part for part in items if part.strip()):
        prefix, _, path = item.strip().partition("=")
        prefix = prefix.strip().rstrip("/")
        if not path or "\0" in path or not item.lstrip().startswith("/"):
            raise ValueError(f"/PREFIX=DIR, not {item!r}")
        if re.search(r"%|\\|//|/\.{1,2}(/|$)", url_path(prefix)):
            raise ValueError(f"a prefix of plain segments, not {prefix!r}")
        if prefix in found:
            raise ValueError(f"a list with each prefix once, not {prefix or '/'!r} twice")
        found[prefix] = path
    return tuple(f"{prefix or '/'}={path}" for prefix, path in found.items())


def file_name(value: object) -> str:
    """Convert the name of a file without folders; empty for none."""
    name = text(value)
    if "/" in name or "\0" in name or name.startswith(".") or len(os.fsencode(name)) > 255:
        raise ValueError(f"the name of a file, not hidden and without folders, not {value!r}")
    return name


def cert_reqs(value: object, *words: str) -> str:
    """Convert what clients' certificates are: one of the words, or Python's ``ssl.CERT_*``."""
    if isinstance(value, str) and value.strip() in ("0", "1", "2"):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(words):
        return words[value]
    return choice(value, *words)


def ssl_version(value: object, *words: str) -> str:
    """Convert the one version of TLS to speak, as gunicorn spells it; empty for all."""
    name = text(str(int(value)) if isinstance(value, int) else value).strip()
    name = name.removeprefix("ssl.").removeprefix("PROTOCOL_").lower().replace("_", ".")
    if name in ("", "tls", "tls.server", "sslv23", "2", "17"):
        return ""
    if name in ("5", *(f"tlsv{word}" for word in words)):
        return words[0] if name == "5" else name.removeprefix("tlsv")
    if name in ("sslv2", "sslv3", "tlsv1", "tlsv1.1", "0", "1", "3", "4"):
        raise ValueError(f"TLSv1_2 or TLSv1_3, not {value!r}: older versions are broken")
    raise ValueError(f"TLS, TLSv1_2 or TLSv1_3, not {value!r}")


_GUNICORNS_WORKERS = {
    "gunicorn.workers.sync.syncworker": "sync", "gunicorn.workers.gthread.threadworker": "gthread"}


def worker_class(value: object) -> str:
    """Convert gunicorn's worker class: the two kinds that fastwsgi's own worker replaces.

    As in gunicorn, it is a name, the path of a class or the class.
    """
    given = f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else text(value)
    name = given.strip().lower().removeprefix("egg:gunicorn#")
    name = _GUNICORNS_WORKERS.get(name, name)
    if name in ("", "sync", "gthread"):
        return name
    if any(word in name for word in ("gevent", "eventlet", "tornado")):
        raise ValueError(
            f"sync or gthread, not {given!r}: green threads are not needed to hold many "
            "connections here, so drop the option, and set --threads to the number of requests "
            "that may wait at the same time")
    if any(word in name for word in ("asgi", "uvicorn", "aiohttp", "uvloop")):
        raise ValueError(
            f"sync or gthread, not {given!r}: fastwsgi serves WSGI; serve an ASGI application with "
            "uvicorn, hypercorn or granian")
    raise ValueError(f"sync or gthread, not {given!r}: fastwsgi has one kind of worker")
