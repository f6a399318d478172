"""Take pictures of the demo page in headless Chromium: light, dark and narrow.

Usage: python scripts/screenshot.py URL DIRECTORY

Start `fastwsgi fastwsgi.demo:app` first. The pictures are page-light.png, page-dark.png,
page-narrow.png and problem.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from apps.browser import browser, installed  # noqa: E402

LOOKS = (("light", 1280, False), ("dark", 1280, True), ("narrow", 390, True))


def main(url: str, directory: Path) -> int:
    executable = installed()
    if executable is None:
        print("no Chromium found; on Debian: apt-get install chromium", file=sys.stderr)
        return 1
    with browser(executable) as page:
        page.open(url)
        page.until("document.querySelector('#stream-start').textContent.includes('again')")
        page.ask("document.querySelector('#stream-start').click()")
        page.until("document.querySelectorAll('.lit').length == 20")
        page.ask("document.querySelector('#json-send').click()")
        page.choose_files("#files", ROOT / "README.md", ROOT / "LICENSE")
        page.ask("document.querySelector('#form').requestSubmit()")
        page.until("document.querySelectorAll('.part').length >= 3")
        page.until("document.querySelector('#trip').textContent.startsWith('answered')")
        for name, width, dark in LOOKS:
            page.look(width, 900, dark=dark)
            page.screenshot(directory / f"page-{name}.png")
        page.look(1000, 700)
        page.open(f"{url.rstrip('/')}/no-such-page")
        page.screenshot(directory / "problem.png")
        for error in page.errors:
            print("the page complains:", error)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
