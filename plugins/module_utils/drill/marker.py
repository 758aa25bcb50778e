# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marker: a row that was written after the backup and before the target. Where it is back, what was replayed is proven by data."""

from __future__ import annotations

import datetime
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import Connect
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.assertions import Assertion, value_of
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.findings import Check
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.form import Form
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact, parse_time


def look_for(connect: Connect, marker: Assertion, form: Form) -> tuple[Check, Optional[str]]:
    """Ask when the marker was written. Returns the check, and that moment (ISO 8601; None: not known)."""
    answer = value_of(connect, marker)
    scope, seconds = marker.database, answer.seconds
    if answer.detail is not None:
        return Check(
            "marker", scope, "when it was written", None, False, seconds, f"The statement {answer.detail}"
        ), None
    try:
        written = _moment(answer.found)
    except BadOption as exc:
        return Check("marker", scope, "a moment with an offset (timestamptz)", None, False, seconds, str(exc)), None
    ok, expected, detail = judge(written, form.backup_ended(), form.marks_time(), form.reaches_beyond())
    return Check("marker", scope, expected, format_exact(written), ok, seconds, detail), format_exact(written)


def judge(
    written: datetime.datetime, ended: Optional[str], until: Optional[datetime.datetime], beyond: bool
) -> tuple[bool, str, Optional[str]]:
    """Whether a marker is one, what is expected of it, and why it is not. ``ended``: when the backup was; ``until``: the target, where it is a
    time; ``beyond``: whether something after the backup was to come back. Pure."""
    if until is not None and written > until:
        return False, f"not after {format_exact(until)}", "It was written after the target, and should not be there."
    if not beyond or ended is None:
        return (
            True,
            "any moment",
            "This drill ends with the backup itself: nothing that was written later can be in it.",
        )
    if written <= parse_time(ended, "stopped_at"):
        told = "It is from before the backup's end: what was written since is not there, or nobody writes a marker."
        return False, f"after {ended}", told
    return True, f"after {ended}", None


def _moment(found: object) -> datetime.datetime:
    """Raises BadOption: it is none."""
    return parse_time(found.isoformat() if isinstance(found, datetime.datetime) else str(found), "marker.sql")
