"""Flask's stream_with_context: the request is asked for its argument at every block.

GET /rows?name=NAME   $STREAM_ROWS lines that begin with NAME
GET /open             how many of these are on their way
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from flask import Flask, Response, g, request, stream_with_context

ROWS = int(os.environ["STREAM_ROWS"])
STEP = 500

app = Flask(__name__)
streams: set[object] = set()


@app.get("/open")
def count() -> str:
    return str(len(streams))


@app.get("/rows")
def rows() -> Response:
    g.name = request.args["name"]

    def blocks() -> Iterator[str]:
        mark = object()
        streams.add(mark)
        for start in range(0, ROWS, STEP):
            name = request.args["name"]
            if name != g.name:
                raise RuntimeError(f"{name} in the context of {g.name}")
            yield "".join(f"{name} {n:07} {'-' * 80}\n" for n in range(start, start + STEP))
        streams.discard(mark)

    return Response(stream_with_context(blocks()), content_type="text/plain")
