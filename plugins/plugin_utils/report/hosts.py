# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of each host of a play, as its result of backup_report was registered. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.fleet import Looked


def looked(results: Mapping[str, Any]) -> Sequence[Looked]:
    """One for each host, also for those of which there is nothing."""
    return [_one(host, result) for host, result in results.items()]


def _one(host: str, result: Any) -> Looked:
    if not isinstance(result, Mapping):
        return Looked(host, error="it was not looked at: a task before that failed, or the host was left out")
    report = result.get("report")
    if isinstance(report, Mapping) and not result.get("failed") and not result.get("unreachable"):
        return Looked(host, report)
    how = "the host could not be reached" if result.get("unreachable") else "it could not be looked at"
    if result.get("skipped"):
        return Looked(host, error="it was left out (skipped)")
    said = " ".join(str(result.get("msg") or "").split())
    return Looked(host, error=f"{how}: {said}" if said else how)
