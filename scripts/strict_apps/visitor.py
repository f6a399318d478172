"""A visitor: requests with cookies and credentials, and a look at the status of each answer."""

from __future__ import annotations

import base64
import http.client
import http.cookies
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

EDGE = "edge-of-a-part"


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def find(self, pattern: str) -> str:
        """The first group of a regular expression in the body."""
        found = re.search(pattern, self.body.decode("utf-8", "replace"))
        assert found, f"no {pattern!r} in {self.body[:2000]!r}"
        return found[1]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Visitor:
    """One user of one server; ``place`` is the folder that the application has for its data."""

    def __init__(self, port: int, place: Path) -> None:
        self.port = port
        self.place = place
        self.count = 0
        self.fields: dict[str, str] = {}
        self.cookies: dict[str, str] = {}

    def log_in(self, user: str, password: str) -> None:
        """Send these credentials (RFC 7617) with every request from now on."""
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.fields["Authorization"] = f"Basic {pair}"

    def __call__(
        self, method: str, target: str, body: bytes | str | None = None, *,
        status: int | tuple[int, ...] = 200, **fields: str,
    ) -> Answer:
        """One request on a connection of its own; ``If_Match`` names the field If-Match."""
        sent = {**self.fields, **{name.replace("_", "-"): value for name, value in fields.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        data = body.encode() if isinstance(body, str) else body
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, target, data, sent)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        self.count += 1
        for field in answer.headers.get_all("Set-Cookie", ()):
            for name, morsel in http.cookies.SimpleCookie(field).items():
                self.cookies[name] = morsel.value
        wanted = (status,) if isinstance(status, int) else status
        assert answer.status in wanted, (
            f"{method} {target}: {answer.status}, not {wanted}: {answer.body[:2000]!r}")
        return answer

    def head(self, target: str, **fields: str) -> Answer:
        """HEAD, whose answer has no body."""
        answer = self("HEAD", target, **fields)
        assert answer.body == b""
        return answer

    def unchanged(self, target: str, **fields: str) -> None:
        """GET, and again with the validators that came: 304."""
        answer = self("GET", target, **fields)
        if answer.headers["ETag"]:
            fields["If_None_Match"] = answer.headers["ETag"]
        if answer.headers["Last-Modified"]:
            fields["If_Modified_Since"] = answer.headers["Last-Modified"]
        assert answer.headers["ETag"] or answer.headers["Last-Modified"], f"no validators: {target}"
        self("GET", target, status=304, **fields)

    def form(self, target: str, status: int | tuple[int, ...] = 200, /, **values: str) -> Answer:
        """POST a form."""
        return self("POST", target, urlencode(values), status=status,
                    Content_Type="application/x-www-form-urlencoded")

    def upload(
        self, target: str, file: tuple[str, str, bytes], status: int | tuple[int, ...] = 200, /,
        **values: str,
    ) -> Answer:
        """POST a form with a file: the name of its part, its own name, its bytes."""
        part, name, data = file
        text = "".join(
            f'--{EDGE}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in values.items())
        text += (f'--{EDGE}\r\nContent-Disposition: form-data; name="{part}"; filename="{name}"\r\n'
                 "Content-Type: application/octet-stream\r\n\r\n")
        body = text.encode() + data + f"\r\n--{EDGE}--\r\n".encode()
        return self("POST", target, body, status=status,
                    Content_Type=f"multipart/form-data; boundary={EDGE}")

    def git(self, command: str, path: str) -> None:
        """Run git against the server, as one request."""
        address = f"http://127.0.0.1:{self.port}/{path}"
        subprocess.run(["git", command, "--quiet", address, str(self.place / "cloned")], check=True)
        self.count += 1

    def send_json(
        self, method: str, target: str, value: object, *, status: int | tuple[int, ...] = 200,
        **fields: str,
    ) -> Answer:
        """Send a value as JSON."""
        return self(method, target, json.dumps(value), status=status,
                    Content_Type="application/json", **fields)
