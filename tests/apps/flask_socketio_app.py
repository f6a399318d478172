"""Socket.IO by Flask-SocketIO in its threaded mode: an echo in capitals, and a word to all."""

from __future__ import annotations

from flask import Flask
from flask_socketio import SocketIO, emit

flask = Flask(__name__)
socketio = SocketIO(flask, async_mode="threading")
app = flask


@flask.get("/hello")
def hello() -> str:
    return "hello"


@socketio.on("word")
def word(text: str) -> None:
    emit("word", text.upper())


@socketio.on("all")
def to_all(text: str) -> None:
    emit("all", text, broadcast=True)
