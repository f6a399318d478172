"""Let testssl.sh look at the server: protocols, ciphers, defaults, what is known to be vulnerable.

Usage: python scripts/tls_audit.py [OPTION OF TESTSSL...]

The certificates are made for this and expire in 90 days. What testssl.sh (Debian: testssl.sh) rates
LOW or worse fails the run, but for what the authority of a certificate would have to do. Takes two
minutes for each kind of key.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from apps.certificates import Authority  # noqa: E402
from apps.tls_client import hello  # noqa: E402

from fastwsgi.testing import serve  # noqa: E402

PARTS = ("--protocols", "--std", "--fs", "--server-preference", "--server-defaults",
         "--vulnerable")
AUTHORITYS = {"cert_revocation", "DNS_CAArecord"}  # a CRL or OCSP, and an entry in DNS
MINUTES = 10


def main(options: list[str]) -> int:
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if program is None:
        print("testssl.sh is not installed", file=sys.stderr)
        return 2
    complaints = []
    with tempfile.TemporaryDirectory() as name:
        authority = Authority(Path(name))
        for kind in ("ec", "rsa"):
            files = authority.sign(kind, "localhost", kind=kind, days=90)
            with serve(hello, certfile=files.cert, keyfile=files.key) as server:
                report = Path(name, f"{kind}.json")
                complaints += audit([
                    program, "--color", "0", "--quiet", "--warnings", "off", "--add-ca",
                    authority.file, "--jsonfile", str(report), *(options or PARTS),
                    f"localhost:{server.port}"], report)
    for one in complaints:
        print(f"{one['severity']}: {one['id']}: {one['finding']}", file=sys.stderr)
    return 1 if complaints else 0


def audit(command: list[str], report: Path) -> list[dict[str, str]]:
    """Run it; return what it complains about."""
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60 * MINUTES, check=False)
    found: list[dict[str, str]] = json.loads(report.read_text())
    if not any(one["severity"] == "OK" for one in found):
        raise SystemExit("testssl.sh has said nothing good, so it has seen nothing")
    return [one for one in found
            if one["severity"] not in ("OK", "INFO") and one["id"] not in AUTHORITYS]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
