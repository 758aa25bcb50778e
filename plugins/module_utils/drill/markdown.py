# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence for people: a page of Markdown that an auditor reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MEANS = {
    "pass": "The backup was restored, all checks were made and held, and the objectives, where there are some, were met.",
    "missed": "The backup was restored, and all checks were made and held. An objective was not met.",
    "partial": "The backup was restored, and nothing speaks against it. A check could not be made.",
    "fail": "The backup was not restored, or a check did not hold.",
}
_HELD = {True: "held", False: "FAILED", None: "not made"}


def tell(evidence: Mapping[str, Any]) -> str:
    """The evidence as it was sealed, as Markdown."""
    backup, measured, target = evidence["backup"] or {}, evidence["measured"], evidence["target"]
    lines = [
        f"# Restore drill {evidence['id']}",
        "",
        f"**Verdict: {evidence['verdict']}.** {_MEANS[evidence['verdict']]}",
        "",
        *(f"- {_plain(reason)}" for reason in evidence["reasons"]),
        *([""] if evidence["reasons"] else []),
        *_table(
            ("", ""),
            [
                (
                    "Server",
                    f"{evidence['server']['name']} (system identifier {_known(evidence['server']['system_id'])})",
                ),
                ("Backup", _known(backup.get("id"))),
                (
                    "Made by",
                    f"{_known(backup.get('engine'))}, {_known(backup.get('kind'))}, ended {_known(backup.get('stopped_at'))}",
                ),
                ("Read from", _known(backup.get("tier"))),
                (
                    "Target",
                    f"asked: {target['asked']}; reached: {_known(target['reached'])} at {_known(target['lsn'])}",
                ),
                ("Drilled", f"{evidence['started_at']} to {evidence['stopped_at']}"),
                ("On", f"{evidence['host']['name']} ({evidence['host']['os']}, {evidence['host']['cores']} cores)"),
                ("By", f"{_known(evidence['operator'])}, {evidence['trigger']}"),
                ("Scenario", _known(evidence["scenario"])),
                ("RTO measured", _seconds(measured["rto_seconds"], evidence["objectives"]["rto"])),
                ("RPO measured", _seconds(measured["rpo_seconds"], evidence["objectives"]["rpo"])),
            ],
        ),
        "",
        "RTO: from the decision to drill to the first write by an ordinary role; it holds for this host. RPO: from the decision back to the "
        "last transaction that was found.",
        "",
        "## Steps",
        "",
        *_table(
            ("step", "began", "seconds", ""),
            [
                (
                    phase["name"],
                    phase["started_at"],
                    f"{phase['seconds']:g}",
                    "" if phase["ok"] else f"FAILED: {phase['error']}",
                )
                for phase in evidence["phases"]
            ],
        ),
        "",
        "## Checks",
        "",
        *_table(
            ("check", "of", "expected", "found", "", "detail"),
            [
                (row["name"], row["scope"], row["expected"], row["found"], _HELD[row["ok"]], row["detail"])
                for row in evidence["checks"]
            ],
        ),
        "",
        *_assertions(evidence["assertions"]),
        "## Isolation",
        "",
        *(f"- {name}: {_plain(value)}" for name, value in evidence["isolation"].items()),
        "",
        *(["## Notes", "", *(f"- {_plain(note)}" for note in evidence["notes"]), ""] if evidence["notes"] else []),
        "## Chain",
        "",
        f"- sha256 of this evidence: `{evidence['sha256']}`",
        f"- the one before: {_before(evidence['previous'])}",
        "",
    ]
    return "\n".join(lines)


def _assertions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    cells = [
        (
            row["name"],
            row["database"],
            f"{row['operator']} {row['expected']}",
            row["found"],
            _HELD[row["ok"]],
            row["detail"] or f"sql sha256 {row['sql_sha256'][:16]}…",
        )
        for row in rows
    ]
    return ["## Assertions", "", *_table(("assertion", "database", "expected", "found", "", ""), cells), ""]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _name in head)} |"]
    return lines + [f"| {' | '.join(_plain('' if cell is None else cell) for cell in row)} |" for row in rows]


def _plain(value: Any) -> str:
    """In one line, without what would make markup of it."""
    text = " ".join(str(value).split())
    for sign in ("\\", "|", "<", "`", "[", "*", "_"):
        text = text.replace(sign, f"\\{sign}")
    return text


def _known(value: Any) -> str:
    return "not known" if value is None else str(value)


def _seconds(measured: Any, objective: Any) -> str:
    text = "not measured" if measured is None else f"{measured:g} s"
    return text if objective is None else f"{text} (objective: {objective} s)"


def _before(previous: Any) -> str:
    return "none, this is the first" if previous is None else f"{previous['id']}, sha256 `{previous['sha256']}`"
