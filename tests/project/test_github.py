"""What GitHub reads: forms for issues. The schemas are those that check-jsonschema ships."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from apps import ROOT

yaml = pytest.importorskip("yaml")

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))

pytestmark = pytest.mark.skipif(not FORMS, reason="not in a source tree")


def checked(schema: str, *files: Path) -> None:
    """Hold files against a schema."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def fields(path: Path) -> dict[str, dict[str, object]]:
    """The fields of a form by their labels."""
    form = yaml.safe_load(path.read_text("utf-8"))
    return {item["attributes"]["label"]: item for item in form["body"]
            if item["type"] != "markdown"}


def test_forms_are_what_github_understands() -> None:
    checked("vendor.github-issue-forms", *(path for path in FORMS if path.stem != "config"))
    checked("vendor.github-issue-config", ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml")


@pytest.mark.parametrize("label", [
    "The bytes", "fastwsgi --version --verbose", "fastwsgi --print-config"])
def test_a_fault_is_reported_with_what_is_needed_to_find_it(label: str) -> None:
    form = fields(ROOT / ".github" / "ISSUE_TEMPLATE" / "fault.yml")
    assert form[label]["validations"] == {"required": True}


def test_no_form_asks_for_a_vulnerability_in_public() -> None:
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / "fault.yml").read_text("utf-8")
    assert re.search(r"vulnerability does not belong here.*SECURITY\.md", text, re.DOTALL)
