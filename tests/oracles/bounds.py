"""How many examples a generated test tries.

Rule: in CI (the variable CI is set) the examples are the same in every run, so that a red gate is
about the change.  FASTWSGI_EXAMPLES multiplies their number for a long search by hand.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get("FASTWSGI_EXAMPLES", "1"))


def bounded(examples: int, **options: Any) -> settings:
    """Settings for a generated test that tries `examples` examples, with no limit on time."""
    in_ci = bool(os.environ.get("CI"))
    if in_ci:
        options["database"] = None
    return settings(
        max_examples=max(1, round(examples * FACTOR)),
        deadline=None,
        derandomize=in_ci,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        **options,
    )
