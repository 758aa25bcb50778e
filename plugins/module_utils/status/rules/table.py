# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All rules, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules import backups, proofs, stores, wal
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import Limits, Seen, Standing


@dataclass(frozen=True)
class Limit:
    """What a rule compares with: its default, and what it is: ``duration`` (seconds, written 36h), ``share`` (0 to 1), ``count``. None: the rule does
    not ask, unless somebody says it."""

    default: Optional[Union[float, str]]
    kind: str


@dataclass(frozen=True)
class Rule:
    """``title`` is the first column of the table."""

    title: str
    severity: str
    look: Callable[[Standing, Limits], Optional[Seen]]
    limits: Mapping[str, Limit] = field(default_factory=dict)


_DURATION = "duration"
#: in the order of the table
RULES: Mapping[str, Rule] = {
    "newest_backup": Rule(
        "Newest good backup", "critical", backups.newest_backup, {"max_age": Limit("36h", _DURATION)}
    ),
    "failed_verification": Rule("Failed verification", "critical", proofs.failed),
    "verified": Rule("Verified since", "warning", proofs.verified, {"max_age": Limit("30d", _DURATION)}),
    "last_drill": Rule("Last drill", "critical", proofs.last_drill),
    "drilled": Rule("Drilled", "warning", proofs.drilled, {"max_age": Limit("35d", _DURATION)}),
    "drilled_newest": Rule("Drilled what", "warning", proofs.drilled_newest, {"drills": Limit(3, "count")}),
    "window": Rule("Any moment", "warning", wal.window, {"promised": Limit(None, _DURATION)}),
    "wal_lag": Rule("WAL waiting", "warning", wal.wal_lag, {"max_age": Limit("15min", _DURATION)}),
    "space": Rule("Room", "warning", stores.space, {"used": Limit(80, "count"), "backups": Limit(2, "count")}),
    "copies": Rule("Copies", "warning", stores.copies, {"least": Limit(2, "count")}),
    "encrypted": Rule("Encryption", "warning", stores.encrypted),
    "size_changed": Rule(
        "Size", "warning", backups.size_changed, {"by": Limit(0.5, "share"), "backups": Limit(4, "count")}
    ),
    "duration_changed": Rule(
        "Duration", "warning", backups.duration_changed, {"by": Limit(0.5, "share"), "backups": Limit(4, "count")}
    ),
    "store_settings": Rule("Store", "warning", stores.store_settings),
    "clocks": Rule("Clocks", "warning", backups.clocks),
    "one_server": Rule("One server", "critical", backups.one_server),
}
