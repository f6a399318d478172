"""`python tests/conformance`: the matrix."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    tests = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(tests), str(tests.parent)]
    from conformance.matrix import main

    raise SystemExit(main())
