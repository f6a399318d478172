"""A headless Chromium, driven over its DevTools pipe: enough to open a page, ask it and look at it.

Rule: nothing beyond the standard library; every wait ends after `TIMEOUT` seconds with an error.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT = 60.0

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def installed() -> str | None:
    """The path of a Chromium, if the machine has one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Browser:
    """One page of a running Chromium."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._received = b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.errors: list[str] = []
        """What the page complained about: uncaught exceptions, console errors, refused loads."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> Any:
        """The result of a DevTools command."""
        number = next(self._numbers)
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _next(self) -> Any:
        deadline = time.monotonic() + TIMEOUT
        while b"\0" not in self._received:
            readable = select.select([self._answers], [], [], deadline - time.monotonic())[0]
            assert readable, "Chromium does not answer"
            block = os.read(self._answers, 1 << 20)
            assert block, "Chromium has ended"
            self._received += block
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def _note(self, event: Any) -> None:
        details = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(details["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.errors.append(f"{details['entry']['text']} {details['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        """Go to a page and wait until it and its script are loaded."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait for a JavaScript condition; the page itself looks for it, frame by frame."""
        look = (
            f"function look() {{ if ({condition}) yes(true);"
            f" else if (performance.now() > end) no(new Error('never came true'));"
            f" else setTimeout(look, 20); }}"
        )
        end = f"performance.now() + {TIMEOUT * 1000}"
        self.ask(f"new Promise((yes, no) => {{ const end = {end}; ({look})(); }})")

    def choose_files(self, selector: str, *paths: Path) -> None:
        """Put files into a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window and the reader's colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Write the whole page, beyond the window's end, as a PNG file."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(executable: str) -> Iterator[Browser]:
    """A Chromium with an empty profile; it has ended when the block ends."""
    profile = tempfile.mkdtemp(prefix="chromium-")
    command_end, commands = os.pipe()
    answers, answer_end = os.pipe()
    # Chromium reads commands at descriptor 3 and writes answers at 4; the shell puts them there.
    run = f'exec "$0" "$@" 3<&{command_end} 4>&{answer_end}'
    process = subprocess.Popen(
        ["/bin/bash", "-c", run, executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(command_end, answer_end),
        env={key: value for key, value in os.environ.items() if key != "LD_PRELOAD"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_end)
    os.close(answer_end)
    try:
        page = Browser(commands, answers)
        yield page
        page._session = None
        page.call("Browser.close")
        process.wait(TIMEOUT)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(commands)
        os.close(answers)
        shutil.rmtree(profile, ignore_errors=True)
