"""Django's StreamingHttpResponse over a cursor of an SQLite database in $STREAM_PLACE.

Django hands a thread its own connection, and raises when that is used in another one; here the
connection is used anew for each block.

GET /rows?name=NAME   $STREAM_ROWS lines that begin with NAME
GET /open             how many of these are on their way
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

ROWS = int(os.environ["STREAM_ROWS"])
STEP = 500
PLACE = Path(os.environ["STREAM_PLACE"], f"rows-{os.getpid()}.sqlite3")

with sqlite3.connect(PLACE) as made:
    made.execute("CREATE TABLE line (number INTEGER PRIMARY KEY, text TEXT)")
    made.executemany("INSERT INTO line VALUES (?, ?)", ((n, "-" * 80) for n in range(ROWS)))
made.close()

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    ROOT_URLCONF=__name__,
    SECRET_KEY="a fixture's secret",
    MIDDLEWARE=[],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(PLACE),
            "CONN_MAX_AGE": None,

        }
    },
    LOGGING_CONFIG=None,
)
django.setup()


streams: set[object] = set()


def count(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(streams)), content_type="text/plain")


def blocks(name: str) -> Iterator[str]:
    """Two cursors: one stays open for the whole response, one is made for each block."""
    connection = connections["default"]
    mark = object()
    streams.add(mark)
    with connection.cursor() as cursor:
        cursor.execute("SELECT number, text FROM line ORDER BY number")
        while rows := cursor.fetchmany(STEP):
            with connection.cursor() as counting:
                counting.execute("SELECT count(*) FROM line WHERE number <= %s", [rows[-1][0]])
                if counting.fetchone() != (rows[-1][0] + 1,):
                    raise RuntimeError(f"lines are missing before {rows[-1]}")
            yield "".join(f"{name} {number:07} {text}\n" for number, text in rows)
    streams.discard(mark)


def stream(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(blocks(request.GET["name"]), content_type="text/plain")


urlpatterns = [path("open", count), path("rows", stream)]

app = get_wsgi_application()
