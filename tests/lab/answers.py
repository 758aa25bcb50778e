# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of each answer of a module."""

from __future__ import annotations

import json
from typing import Any

from .playbooks import ModuleResult


def ok(done: ModuleResult) -> dict[str, Any]:
    """The result of a module that did not fail."""
    assert not done.failed and done.result, done.msg or done.stderr
    return done.result


def refused(done: ModuleResult, *parts: str) -> None:
    """One clear error with all these parts, no traceback, and no change."""
    assert done.failed, done.result or done.stderr
    assert not done.changed
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert "exception" not in done.result, done.result["exception"]
    for part in parts:
        assert part in done.msg, done.msg


def warned(done: ModuleResult) -> str:
    """All warnings. (Texts, or from ansible-core 2.19 on objects with texts.)"""
    return json.dumps(done.result.get("warnings", []), ensure_ascii=False)
