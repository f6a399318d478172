"""WebSocket by Flask-Sock: an echo in capitals, and a page that talks with it."""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)

PAGE = """<!doctype html><title>echo</title><script>
const heard = [];
function talk(words) {
  return new Promise((yes, no) => {
    const ws = new WebSocket(`ws://${location.host}/echo`);
    const answers = [];
    ws.onopen = () => ws.send(words[0]);
    ws.onmessage = event => {
      answers.push(event.data);
      if (answers.length < words.length) ws.send(words[answers.length]); else ws.close(1000);
    };
    ws.onclose = event => yes([event.code, event.wasClean, ...answers]);
    ws.onerror = () => no(new Error("the socket failed"));
  });
}
</script>"""


@app.get("/")
def page() -> str:
    return PAGE


@app.get("/hello")
def hello() -> str:
    return "hello"


@sock.route("/echo")
def echo(ws: Any) -> None:
    while True:
        said = ws.receive()
        ws.send(said.upper())
        if said in ("bye", b"bye"):
            return  # the server ends it


@sock.route("/count")
def count(ws: Any) -> None:
    for number in range(int(request.args["to"])):
        ws.send(str(number))


@sock.route("/fail")
def fail(ws: Any) -> None:
    ws.receive()
    raise LookupError("an error within the conversation")
