# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server's backups stand: all that is looked at, judged, and said."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import LISTED_WHOLE
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.access import access_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.status import (
    alerts as rules,
    cron_jobs,
    schedules,
    text,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.status.facts import verdict_of
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered, ask_server, gather
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import Health, judge

_SHOWN = ("id", "engine", "kind", "stopped_at", "size", "encryption", "verified_at", "drilled_at", "pinned", "scope")


@dataclass(frozen=True)
class Overview:
    """``found`` None: nothing could be read."""

    server_name: str
    now: datetime.datetime
    found: Optional[Gathered]
    health: Optional[Health]
    alerts: list[rules.Alert]
    schedules: list[schedules.Schedule]
    schedules_unknown: Optional[str]
    #: seconds in which a good backup is expected
    every: Optional[int] = None
    #: what the server says of its archiving, where it was asked and answered
    archiver: Optional[Mapping[str, Any]] = None

    def describe(self, limit: int) -> dict[str, Any]:
        """For a module's result; ``limit`` backups are listed."""
        order = in_order(self.found.records.values()) if self.found else []
        where = self.found.where if self.found else {}
        shown = [
            {
                **{name: record.to_dict()[name] for name in _SHOWN},
                "tiers": where[record.id],
                "drill_verdict": verdict_of(self.found, record.id) if self.found else None,
            }
            for record in order[-limit:]
        ]
        good = self.health.last_good if self.health else None
        parts = [
            text.of_backups(len(order) if self.found else None, good, where[good.id] if good else [], self.now),
            self._window(),
            text.of_schedules(self.schedules, self.schedules_unknown, self.now),
        ]
        short = text.in_short(self.alerts)
        level = rules.level(self.alerts)
        return {
            "status": level,
            "summary": f"{self.server_name}: {'; '.join([*parts, short])}",
            "lines": [
                f"{self.server_name}: {level}, {short}",
                *(part[:1].upper() + part[1:] for part in parts),
                *text.of_alerts(self.alerts),
                *(text.of_each(shown, self.now) if shown else []),
                *([f"and {len(order) - len(shown)} older ones"] if len(order) > len(shown) else []),
            ],
            "alerts": [alert.describe() for alert in self.alerts],
            "count": len(order) if self.found else None,
            "last_good": good.id if good else None,
            "last_success": self.health.last_success if self.health else None,
            "overdue": self.health.overdue if self.health else None,
            "backups": shown[::-1],
            "window": text.window(self.found.wal) if self.found else None,
            "schedules": [schedule.describe() for schedule in self.schedules],
        }

    def _window(self) -> str:
        if self.found is None:
            return "which moments can be reached is not known"
        return text.of_window(self.found.wal, self.now, bool(self.found.unread))


def look(params: Mapping[str, Any], every: Optional[int], space: str, now: datetime.datetime) -> Overview:
    """Look at everything that the options name; what cannot be looked at is an alert. ``every``: seconds in which a good backup is expected;
    None: as often as the schedules of this host, and of the cluster, make them.

    Raises:
        BadOption: an option is wrong, so that nobody knows what was asked for.
    """
    found: Optional[Gathered] = None
    health: Optional[Health] = None
    alerts = []
    there, unknown = schedules.look(params["server_name"], params["schedule_dir"], params["cron_dir"])
    cluster = access_of(params["kubernetes"])
    if cluster.given:
        try:
            there = there + cron_jobs.look(Cluster(cluster), params["server_name"], now)
        except HoldfastError as exc:
            alerts.append(rules.no_answer("What runs in the cluster", exc))
    every = every or schedules.expected_every(there)
    try:
        found = gather({**params, "archiving": False}, space)
        health = judge(found.records.values(), every, now, found.damage, LISTED_WHOLE, found.failures())
        alerts += rules.of_backups(found, health, every)
    except BadOption:
        raise
    except HoldfastError as exc:
        alerts.append(rules.no_answer("What backups there are", exc))
    archiver = None
    if params["archiving"]:
        try:
            archiver = ask_server(params, space)
        except HoldfastError as exc:
            alerts.append(rules.no_answer("Whether the server archives", exc))
    alerts += rules.of_archive(found.wal if found else None, archiver)
    alerts += rules.of_shipping(found.shipping if found else None)
    alerts += rules.of_schedules(there)
    return Overview(params["server_name"], now, found, health, alerts, there, unknown, every, archiver)
