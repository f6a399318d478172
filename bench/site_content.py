"""What both sites show, so that Flask and Django do the same work."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

#: Understood alike by Jinja and by Django's template language.
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Articles</title></head><body>
<h1>Articles</h1>
<ul>{% for article in articles %}
<li class="{% if article.new %}new{% else %}old{% endif %}">
<a href="/page?article={{ article.id }}">{{ article.title }}</a>
<p>{{ article.summary }}</p></li>{% endfor %}
</ul></body></html>
"""


def articles(page: int) -> list[dict[str, object]]:
    """Twenty articles of a page."""
    return [
        {
            "id": page * 20 + number,
            "title": f"Article {page * 20 + number} <on> servers & clients",
            "summary": "A few words that say what it is about. " * 3,
            "new": number < 3,
        }
        for number in range(20)
    ]


def checked_upload(data: bytes) -> dict[str, object]:
    """The answer to an upload: proof that every byte came."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def stream_blocks() -> Iterator[bytes]:
    """An export of 50 lines, one block each."""
    for number in range(50):
        yield b"%d,article %d,%d\n" % (number, number, number * 7)


def compute(seconds: float = 0.005) -> str:
    """Use so much CPU."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return "ok"
