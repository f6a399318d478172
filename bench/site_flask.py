"""The Flask site: `/` is the hello of the table, the rest is what locustfile.py's visitors do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Flask, Response, jsonify, render_template_string, request

from bench.site_content import PAGE, articles, checked_upload, compute, stream_blocks

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 16 << 20


@app.get("/")
def hello() -> Response:
    return Response("Hello, World!", mimetype="text/plain")


@app.get("/page")
def page() -> str:
    return render_template_string(PAGE, articles=articles(request.args.get("page", 1, int)))


@app.get("/api/articles")
def api() -> Response:
    return jsonify(articles=articles(request.args.get("page", 1, int)))


@app.post("/form")
def form() -> Response:
    return Response(f"thank you, {request.form['name']}", mimetype="text/plain")


@app.post("/upload")
def upload() -> Response:
    return jsonify(checked_upload(request.files["file"].read()))


@app.get("/stream")
def stream() -> Response:
    def blocks() -> Iterator[bytes]:
        yield from stream_blocks()

    return Response(blocks(), mimetype="text/csv")


@app.get("/slow")
def slow() -> Response:
    time.sleep(0.05)
    return Response("at last", mimetype="text/plain")


@app.get("/compute")
def computing() -> Response:
    return Response(compute(), mimetype="text/plain")
