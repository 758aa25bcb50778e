# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules over where backups are kept: room, copies, encryption, and what stores say of themselves."""

from __future__ import annotations

from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.backups import RECENT
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import (
    BAD,
    GOOD,
    UNKNOWN,
    Limits,
    Seen,
    Standing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.units import count, listing, size


def space(standing: Standing, limits: Limits) -> Optional[Seen]:
    """A repository's disk is nearly full, or the next backups do not fit."""
    if not standing.disks:
        return None
    largest = {name: 0.0 for name in standing.disks}
    for record in standing.order[-RECENT:]:
        for name in standing.found.where.get(record.id, ()):
            if name in largest:
                largest[name] = max(largest[name], float(record.size))
    told, severity = [], None
    for name, disk in standing.disks.items():
        used = 1 - disk.free / disk.total if disk.total else 0.0
        if disk.free < largest[name] * limits["backups"]:
            told.append(
                f"{name} has {size(disk.free)} left, and the largest of the last backups has {size(largest[name])}"
            )
            severity = "critical"
        elif used * 100 > limits["used"]:
            told.append(f"{name} is full by {used:.0%}, {size(disk.free)} are left")
    if told:
        return Seen(BAD, listing(told, 3), "Make room, or keep less (retention).", severity)
    return Seen(GOOD, listing([f"{name}: {size(disk.free)} free" for name, disk in standing.disks.items()], 3))


def copies(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The newest good backup is in one place alone, or all of its copies fall together."""
    last = standing.health.last_good
    if last is None or not standing.domains:
        return None
    tiers = [name for name in standing.found.where[last.id] if name in standing.domains]
    domains = {standing.domains[name] for name in tiers}
    if not tiers:
        return None
    away = "Keep another copy elsewhere: a second repository (holdfast_repositories), or the playbook copy."
    if len(tiers) < limits["least"]:
        return Seen(
            BAD, f"{count(len(tiers), 'copy', 'copies')} of the newest good one, and {limits['least']} are wanted", away
        )
    if len(domains) < 2 <= len(tiers):
        return Seen(BAD, f"all {len(tiers)} copies are in {next(iter(domains))}, and go together", away)
    return Seen(GOOD, f"in {listing(tiers)}")


def encrypted(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The newest good backup is not encrypted."""
    last = standing.health.last_good
    if last is None:
        return None
    method = last.encryption.get("method")
    if method is None:
        return Seen(UNKNOWN, f"whether {last.id} is encrypted is not known")
    if method == "none":
        return Seen(
            BAD,
            f"{last.id} is not encrypted",
            "Give encryption, or switch this rule off where the storage is encrypted.",
        )
    return Seen(GOOD, str(method))


def store_settings(standing: Standing, limits: Limits) -> Optional[Seen]:
    """What the stores say of themselves: object lock, versioning, tokens that expire."""
    if not standing.findings:
        return None
    worst = [entry for entry in standing.findings if entry[1] == "error"]
    bad = worst or [entry for entry in standing.findings if entry[1] == "warning"]
    if not bad:
        return Seen(GOOD, "nothing that the store says speaks against it")
    told = [f"{tier}: {text.rstrip('.')}" for tier, _level, text in bad]
    return Seen(BAD, "; ".join(told[:3]), "The playbook check says all of it.", "critical" if worst else None)
