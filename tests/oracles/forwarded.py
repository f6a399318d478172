"""What a trusted proxy's fields make of the environ, worked out the long way.

Rule: written from contract 7 and RFC 7239, with the standard library's `ipaddress`. Lists are
lists, walked from the right; nothing is done in one pass.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

Fields = list[tuple[str, str]]
_HOST = re.compile(r"(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{0,5})?", re.I)
_PAIR = re.compile(r'([!#$%&\'*+.^_`|~\w-]+)=("(?:[^"\\]|\\.)*"|[!#$%&\'*+.^_`|~\w:\[\]-]+)\s*')
_NODES = (r"(\d+\.\d+\.\d+\.\d+)(?::(\d{1,5}))?", r"\[([^]]*)\](?::(\d{1,5}))?", r"(.*)()")
SCHEMES = {"x-forwarded-proto": "https", "x-forwarded-protocol": "ssl", "x-forwarded-ssl": "on"}


class Refused(Exception):
    """The server answers 400."""


@dataclass
class Told:
    """What one kind of fields says."""

    scheme: str | None = None
    address: tuple[str, str] | None = None
    host: str | None = None
    place: int = 0


@dataclass
class Trust:
    """Who is trusted."""

    networks: list[str] = field(default_factory=list)

    def __contains__(self, address: str) -> bool:
        found = ipaddress.ip_address(address)
        return any(found in ipaddress.ip_network(one) for one in self.networks)


def node(text: str) -> tuple[str, str] | None:
    """(address, port or the empty string) of an element, or None."""
    for pattern in _NODES:
        if matched := re.fullmatch(pattern, text):
            try:
                address = str(ipaddress.ip_address(matched[1]))
            except ValueError:
                return None
            port = matched[2] or ""
            return None if port and int(port) > 65535 else (address, str(int(port or 0) or ""))
    return None


def items(fields: Fields, name: str) -> list[str]:
    """The elements of all fields of a name, from left to right."""
    joined = ",".join(value for key, value in fields if key.lower() == name)
    return [item for part in joined.split(",") if (item := part.strip(" \t"))]


def walk(nodes: list[str], trust: Trust) -> tuple[int, tuple[str, str] | None]:
    """The client's place from the right, and who was known last."""
    known = None
    for place, text in enumerate(reversed(nodes)):
        found = node(text)
        known = found or known
        if found is None or found[0] not in trust:
            return place, known
    return max(len(nodes) - 1, 0), known


def at(elements: list[str], place: int) -> str | None:
    """The element at a place from the right, or the leftmost."""
    return elements[max(-1 - place, -len(elements))] if elements else None


def x_forwarded(fields: Fields, trust: Trust) -> Told | None:
    """What X-Forwarded-* say, but for port and prefix; None if there are none."""
    told = Told()
    told.place, told.address = walk(items(fields, "x-forwarded-for"), trust)
    for name, value in fields:
        if name.lower() in SCHEMES:
            said = value if "," not in value else at(items([("x", value)], "x"), told.place)
            scheme = "https" if said == SCHEMES[name.lower()] else "http"
            if told.scheme not in (None, scheme):
                raise Refused
            told.scheme = scheme
    told.host = at(items(fields, "x-forwarded-host"), told.place)
    if told.host is not None and not _HOST.fullmatch(told.host):
        raise Refused
    kinds = {*SCHEMES, "x-forwarded-for", "x-forwarded-host", "x-forwarded-port"}
    return told if kinds & {name.lower() for name, _ in fields} else None


def forwarded(fields: Fields, trust: Trust) -> Told | None:
    """What Forwarded says; None if it says nothing."""
    elements: list[dict[str, str]] = []
    for name, value in fields:
        if name.lower() == "forwarded":
            elements += _elements(value)
    elements = [one for one in elements if {"for", "host", "proto"} & one.keys()]
    if not elements:
        return None
    told = Told()
    told.place, told.address = walk([one.get("for", "") for one in elements], trust)
    client = elements[-1 - told.place]
    if "proto" in client:
        told.scheme = "https" if client["proto"].lower() == "https" else "http"
    told.host = client.get("host")
    return told


def _elements(value: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [{}]
    rest = value
    while rest := rest.lstrip(" \t"):
        if rest[0] == ",":
            found.append({})
            rest = rest[1:]
        elif rest[0] == ";":
            rest = rest[1:]
        elif matched := _PAIR.match(rest):
            name, text = matched[1].lower(), matched[2]
            if name in found[-1] and name in ("for", "host", "proto"):
                raise Refused
            found[-1][name] = text[1:-1] if text[0] == '"' else text
            rest = rest[matched.end():]
            if rest and rest[0] not in ",;":
                raise Refused
        else:
            raise Refused
    return found


def follow(fields: Fields, trust: Trust) -> dict[str, str]:
    """What changes in the environ when everything is followed; raises Refused."""
    first, second = x_forwarded(fields, trust), forwarded(fields, trust)
    told = first or second or Told()
    if first and second:
        pairs = [(first.scheme, second.scheme), (first.address and first.address[0],
                 second.address and second.address[0]),
                 (first.host and first.host.lower(), second.host and second.host.lower())]
        if any(one is not None and other not in (None, one) for one, other in pairs):
            raise Refused
    elif second and second.host is not None and not _HOST.fullmatch(second.host):
        raise Refused
    changes: dict[str, str] = {}
    if told.scheme is not None:
        changes["wsgi.url_scheme"] = told.scheme
    if told.address is not None:
        changes["REMOTE_ADDR"], changes["REMOTE_PORT"] = told.address
    if told.host is not None:
        changes["HTTP_HOST"] = told.host
    place = walk(items(fields, "x-forwarded-for"), trust)[0]
    port = at(items(fields, "x-forwarded-port"), place)
    if not first and second and second.host and (matched := re.search(r":(\d+)\Z", second.host)):
        port = matched[1] if int(matched[1]) else None
    if port is not None:
        if not re.fullmatch(r"\d{1,5}", port) or not 1 <= int(port) <= 65535:
            raise Refused
        changes["SERVER_PORT"] = str(int(port))
    prefixes = items(fields, "x-forwarded-prefix")
    taken = prefixes[max(-1 - place, -len(prefixes)):] if prefixes else []
    if any(not re.fullmatch(r"/|/[a-z%20][a-z/%20]*", one) for one in taken):
        raise Refused
    if taken:
        changes["SCRIPT_NAME"] = "".join(one.rstrip("/") for one in taken).replace("%20", " ")
    return changes
