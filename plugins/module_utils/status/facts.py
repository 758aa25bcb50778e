# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a server's backups, which ``backup_facts`` returns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import Health
from ansible_collections.holdfast.postgres.plugins.module_utils.status.shipping import behind_of


def describe(server_name: str, found: Gathered, health: Health, details: bool, limit: Optional[int]) -> dict[str, Any]:
    """The facts, as the module documents them: of the newest ``limit`` backups (None: of all), with what is in each if ``details``."""
    backups = in_order(found.records.values())
    return {
        "server_name": server_name,
        "backups": _shown(backups[-limit if limit else 0 :], found, details),
        "count": len(backups),
        "newest": backups[-1].id if backups else None,
        "oldest": backups[0].id if backups else None,
        "total_size": sum(tier.total_size for tier in found.tiers) + found.stored,
        "last_success": health.last_success,
        "overdue": health.overdue,
        "lock": next((tier.lock for tier in found.tiers if tier.lock), None),
        "leftovers": [leftover for tier in found.tiers for leftover in tier.leftovers],
        "problems": problems(found, health),
        "tiers": [asdict(tier) for tier in found.tiers],
        "wal": found.wal,
        "archiver": found.archiver,
        "shipping": found.shipping,
    }


def problems(found: Gathered, health: Health) -> list[str]:
    """What is wrong, a sentence each."""
    said = [message for tier in found.tiers for message in (*tier.problems, *filter(None, [tier.error]))]
    said += found.unread
    said += (found.archiver or {}).get("problems", [])
    said += found.lost.values()
    said += [f"The backup {name} is damaged: {wrong}." for name, wrong in health.damaged.items()]
    said += damaged_copies(found, health)
    said += [behind.text for behind in behind_of(found.shipping)]
    if health.unverified:
        more = f" and {len(health.unverified) - 1} older ones" if len(health.unverified) > 1 else ""
        said.append(
            f"Nobody verified the backup {health.unverified[0]}{more}, so that it does not count as a success: pg_backup verifies what it "
            "makes."
        )
    return said


def damaged_copies(found: Gathered, health: Health) -> list[str]:
    """What is damaged in one tier and whole elsewhere."""
    return [
        f"The backup {name} is whole elsewhere, and in {tier} it is not: {wrong}."
        for (name, tier), wrong in found.hurt.items()
        if name not in health.damaged
    ]


def _shown(backups: Sequence[Record], found: Gathered, details: bool) -> list[dict[str, Any]]:
    shown = [
        {**record.to_dict(), "tiers": found.where[record.id], "drill_verdict": verdict_of(found, record.id)}
        for record in backups
    ]
    if not details:
        for entry in shown:
            del entry["artifacts"], entry["databases"]
    return shown


def verdict_of(found: Gathered, backup: str) -> Optional[str]:
    """How the last drill of a backup ended; None: there was none."""
    return found.drills[backup].verdict if backup in found.drills else None
