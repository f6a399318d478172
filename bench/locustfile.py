"""What visitors of a real site do, for Locust's FastHttpUser (locust_run.py starts it; `locust -f`
works too).

Readers go from page to page and call the JSON interface; editors send forms and upload files; an
exporter streams; some requests are slow. Between two requests a visitor thinks. Every answer is
checked, a wrong one counts as failure.
"""

from __future__ import annotations

import hashlib
import random
import uuid

from locust import between, task
from locust.contrib.fasthttp import FastHttpUser

FILE = random.Random(6).randbytes(200_000)
DIGEST = hashlib.sha256(FILE).hexdigest()
STREAMED = 50


def multipart(name: str, data: bytes) -> tuple[bytes, str]:
    """(body, content type) of a form with one file."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="file.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


class Visitor(FastHttpUser):
    """What all visitors share."""

    abstract = True
    wait_time = between(0.05, 0.3)
    connection_timeout = 10.0
    network_timeout = 10.0

    def expect(self, found: bool, response: object) -> None:
        """Mark a response as failed when what it should hold is not there."""
        if not found:
            response.failure("wrong content")  # type: ignore[attr-defined]


class Reader(Visitor):
    """Pages, the JSON interface, now and then something slow."""

    weight = 8

    @task(10)
    def page(self) -> None:
        number = random.randrange(1, 50)
        with self.client.get(f"/page?page={number}", name="/page", catch_response=True) as response:
            self.expect(f"Article {number * 20} &lt;on&gt;" in (response.text or ""), response)

    @task(6)
    def api(self) -> None:
        number = random.randrange(1, 50)
        path = f"/api/articles?page={number}"
        with self.client.get(path, name="/api/articles", catch_response=True) as response:
            found = (
                response.status_code == 200 and response.json()["articles"][0]["id"] == number * 20
            )
            self.expect(found, response)

    @task(4)
    def hello(self) -> None:
        with self.client.get("/", catch_response=True) as response:
            self.expect(response.text == "Hello, World!", response)

    @task(1)
    def slow(self) -> None:
        with self.client.get("/slow", catch_response=True) as response:
            self.expect(response.text == "at last", response)


class Editor(Visitor):
    """Forms and uploads."""

    weight = 2

    @task(6)
    def form(self) -> None:
        data = {"name": "visitor", "text": "words " * 60}
        with self.client.post("/form", data=data, catch_response=True) as response:
            self.expect(response.text == "thank you, visitor", response)

    @task(2)
    def upload(self) -> None:
        body, kind = multipart("file", FILE)
        headers = {"Content-Type": kind}
        with self.client.post(
            "/upload", data=body, headers=headers, catch_response=True
        ) as response:
            found = response.status_code == 200 and response.json()["sha256"] == DIGEST
            self.expect(found, response)

    @task(1)
    def stream(self) -> None:
        with self.client.get("/stream", catch_response=True) as response:
            self.expect((response.text or "").count("\n") == STREAMED, response)
