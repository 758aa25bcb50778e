# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a forge runs is there to be run. Kind: a job that calls what was renamed, or that leaves out a version that is supported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[2]
TARGETS = set(re.findall(r"^([\w-]+):(?!=)", (TOP / "Makefile").read_text(), re.MULTILINE))
JOBS: dict[str, Any] = yaml.safe_load((TOP / ".github/workflows/ci.yml").read_text())["jobs"]


def commands() -> list[str]:
    return [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]


def test_its_targets_are_there() -> None:
    called = {target for command in commands() for target in re.findall(r"\bmake ([\w-]+)", command)}
    assert called <= TARGETS
    assert called >= {"lint", "unit", "integration", "test-kubernetes", "docs", "molecule", "release"}


def test_every_target_is_phony_and_told() -> None:
    text = (TOP / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert TARGETS - {"help"} <= set(phony.split())


def test_every_supported_controller_is_tried() -> None:
    oldest = re.findall(r"requires_ansible: .>=(2\.\d+)", (TOP / "meta/runtime.yml").read_text())
    matrix = JOBS["sanity"]["strategy"]["matrix"]
    tried = {*matrix["ansible"], *(entry["ansible"] for entry in matrix["include"])}
    assert oldest[0] in tried and len(tried) >= 4


def test_what_is_needed_is_a_job() -> None:
    assert all(set(job.get("needs", [])) <= set(JOBS) for job in JOBS.values())
    assert all(job["timeout-minutes"] for job in JOBS.values())


def test_what_it_uploads_is_where_the_makefile_puts_it() -> None:
    """An artifact below a folder with a dot is left out, unless it is asked for."""
    uploads = [
        step["with"] for job in JOBS.values() for step in job["steps"] if "upload-artifact" in step.get("uses", "")
    ]
    assert uploads
    for upload in uploads:
        assert (
            upload["include-hidden-files"] and "/".join(upload["path"].split("/")[:2]) in (TOP / "Makefile").read_text()
        )
