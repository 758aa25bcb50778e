# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rule sees, and what it answers: good, bad, or not known. What it cannot be asked about says nothing (None)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITHOUT_DATA
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import Health

GOOD, BAD, UNKNOWN = "good", "bad", "unknown"

Limits = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What a rule measured: ``state``, a sentence or its end, and what to do. ``severity``: where it is another one than the rule's."""

    state: str
    text: str
    remedy: str = ""
    severity: Optional[str] = None


@dataclass(frozen=True)
class Disk:
    """The file system of a repository, in bytes."""

    free: int
    total: int


@dataclass
class Standing:
    """All that rules look at. ``every``: seconds in which a good backup is expected, where somebody said so. ``disks`` and ``findings`` (severity,
    sentence) are by tier; ``domains`` names for each tier what it falls with (a disk, a bucket)."""

    found: Gathered
    health: Health
    now: datetime.datetime
    every: Optional[int] = None
    archiver: Optional[Mapping[str, Any]] = None
    disks: Mapping[str, Disk] = field(default_factory=dict)
    findings: Sequence[tuple[str, str, str]] = ()
    domains: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def order(self) -> list[Record]:
        """All backups that have data of the server, the oldest first."""
        return in_order(record for record in self.found.records.values() if record.engine not in WITHOUT_DATA)
