"""What GitHub reads: forms for issues, and workflows, which are held to what a release promises.

The schemas are those that check-jsonschema ships.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apps import ROOT

yaml = pytest.importorskip("yaml")

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

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


# ---- workflows ----


def jobs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text("utf-8"))["jobs"]  # type: ignore[no-any-return]


def test_workflows_are_what_github_understands() -> None:
    assert WORKFLOWS
    checked("vendor.github-workflows", *WORKFLOWS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.stem))
def test_actions_are_pinned_by_hash_with_their_version_beside_it(path: Path) -> None:
    used = re.findall(r"uses: (.*)$", path.read_text("utf-8"), re.M)
    assert used
    assert [use for use in used
            if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


def test_an_action_has_one_hash_everywhere() -> None:
    used: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for name, pin in re.findall(r"uses: ([\w./-]+)@(.*)$", path.read_text("utf-8"), re.M):
            used.setdefault(name, set()).add(pin)
    assert {name: pins for name, pins in used.items() if len(pins) > 1} == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.stem))
def test_workflows_may_read_and_nothing_else_but_to_publish(path: Path) -> None:
    whole = yaml.safe_load(path.read_text("utf-8"))
    assert whole["permissions"] in ({}, {"contents": "read"})
    for name, job in whole["jobs"].items():
        more = {what for what, may in job.get("permissions", {}).items() if may == "write"}
        assert more <= ({"id-token", "attestations"} if name == "publish" else set()), name
    assert "secrets." not in path.read_text("utf-8")
    assert "pull_request_target" not in path.read_text("utf-8")


def test_only_a_tag_publishes_what_was_tried_and_attests_it() -> None:
    found = jobs(ROOT / ".github" / "workflows" / "wheels.yml")
    publish = found["publish"]
    assert publish["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(publish["needs"]) == set(found) - {"publish"}
    assert publish["environment"] == "pypi"
    used = [step["uses"].split("@")[0] for step in publish["steps"]]
    assert used == ["actions/download-artifact", "actions/attest-build-provenance",
                    "pypa/gh-action-pypi-publish"]
    assert publish["steps"][-1]["with"]["attestations"] is True


def test_wheels_are_built_for_each_architecture() -> None:
    rows = jobs(ROOT / ".github" / "workflows" / "wheels.yml")["wheels"]["strategy"]["matrix"]
    assert sorted((row["system"].partition("-")[0], row["archs"]) for row in rows["include"]) == [
        ("macos", "arm64"), ("macos", "x86_64"), ("ubuntu", "aarch64"), ("ubuntu", "armv7l"),
        ("ubuntu", "x86_64")]
