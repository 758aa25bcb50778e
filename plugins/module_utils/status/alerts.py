# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a server's backups, as sentences with what to do. Pure. What is not known is an alert too, and never good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.status.facts import damaged_copies
from ansible_collections.holdfast.postgres.plugins.module_utils.status.gather import Gathered
from ansible_collections.holdfast.postgres.plugins.module_utils.status.health import Health
from ansible_collections.holdfast.postgres.plugins.module_utils.status.schedules import NOTHING, Schedule
from ansible_collections.holdfast.postgres.plugins.module_utils.status.shipping import behind_of
from ansible_collections.holdfast.postgres.plugins.module_utils.units import listing, size

LEVELS = ("ok", "warning", "critical")
#: the rules below, by name; those of WAL are wal_ and what the finding is called
CODES = frozenset(
    {
        "unreadable", "manifest", "dead_lock", "unread", "damaged", "no_backup", "overdue", "newest", "damaged_copy", "missing_copy",
        "wal_unread", "server", "archiving_fails", "slot_lost", "slot", "shipping_fails", "shipping_late", "receiver_down", "run_failed",
        "runs_missed", "never_runs", "no_answer",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Alert:
    """``severity`` is ``warning`` or ``critical``; ``code`` names the rule; ``text`` and ``remedy`` are for people."""

    severity: str
    code: str
    text: str
    remedy: str = ""

    def describe(self) -> dict[str, Any]:
        """For a module's result."""
        return asdict(self)


def level(alerts: Iterable[Alert]) -> str:
    """ok, warning or critical: the worst of them."""
    return max((alert.severity for alert in alerts), key=LEVELS.index, default="ok")


def of_backups(found: Gathered, health: Health, every: Optional[int] = None) -> list[Alert]:
    """What the repositories tell. ``every``: seconds in which a good backup is expected."""
    alerts = []
    order = in_order(found.records.values())
    for tier in found.tiers:
        if tier.error:
            alerts.append(Alert("critical", "unreadable", f"What {tier.name} has is not known: {tier.error}"))
        alerts += [Alert("warning", "manifest", problem) for problem in tier.problems]
        if tier.lock and tier.lock.get("dead"):
            who = f"The run that held the lock of {tier.name} died."
            alerts.append(Alert("warning", "dead_lock", who, "The next run takes it over."))
    alerts += [Alert("warning", "unread", text) for text in found.unread]
    alerts += [
        Alert("critical", "damaged", f"The backup {name} cannot be relied on: {wrong}.")
        for name, wrong in health.damaged.items()
    ]
    alerts += [Alert("critical", "damaged", text) for text in found.lost.values()]
    if health.last_good is None:
        some = "None of the backups that were found can be relied on" if order else "There is no backup"
        unread = ", of what could be read" if any(tier.error for tier in found.tiers) or found.unread else ""
        alerts.append(
            Alert("critical", "no_backup", f"{some}{unread}.", "Run the playbook backup, and look at what it says.")
        )
        return alerts
    if health.overdue:
        alerts.append(
            Alert(
                "critical",
                "overdue",
                "The newest good backup is older than expected"
                + (f" ({every / 3600:.3g} h)." if every is not None else "."),
                "Look at the last runs of backup.",
            )
        )
    if order and order[-1].id != health.last_good.id and order[-1].id not in health.damaged:
        alerts.append(
            Alert(
                "warning", "newest", f"The newest backup, {order[-1].id}, is not verified or lacks what it is based on."
            )
        )
    alerts += [Alert("warning", "damaged_copy", text) for text in damaged_copies(found, health)]
    has = found.where[health.last_good.id]
    without = [tier.name for tier in found.tiers if tier.name not in has and not tier.error]
    if without and any(tier.name in has for tier in found.tiers):
        text = f"The newest good backup is in {listing(has)}, and not in {listing(without)}."
        alerts.append(Alert("warning", "missing_copy", text, "The next backup, or the playbook copy, brings it there."))
    return alerts


def of_archive(wal: Optional[dict[str, Any]], archiver: Optional[dict[str, Any]]) -> list[Alert]:
    """What the archive and the server tell of WAL."""
    alerts = []
    for finding in (wal or {}).get("findings", []):
        if finding["level"] != "fine":
            severity = "critical" if finding["level"] == "error" else "warning"
            alerts.append(Alert(severity, f"wal_{finding['code']}", finding["text"]))
    alerts += [Alert("warning", "wal_unread", text) for text in (wal or {}).get("problems", [])]
    alerts += [Alert("critical", "server", text) for text in (archiver or {}).get("problems", [])]
    if archiver and archiver.get("failing"):
        text = f"archive_command fails since {archiver.get('failing_since') or 'an unknown time'} ({archiver.get('failing_segment')})."
        alerts.append(
            Alert(
                "critical",
                "archiving_fails",
                text,
                "The server's log has the command's own words; WAL piles up until it works.",
            )
        )
    for slot in (archiver or {}).get("slots") or []:
        if slot.get("wal_status") == "lost":
            alerts.append(
                Alert("critical", "slot_lost", f"The replication slot {slot.get('name')} has lost WAL that it needs.")
            )
        elif not slot.get("active", True) and (slot.get("held_bytes") or 0) > 1 << 30:
            text = f"The replication slot {slot.get('name')} is used by nobody, and holds back {size(slot['held_bytes'])} of WAL."
            alerts.append(Alert("warning", "slot", text, "Drop it if nobody comes back for it: the disk fills."))
    return alerts


def of_shipping(shipping: Optional[dict[str, Any]]) -> list[Alert]:
    """What is known of WAL that is shipped from this host."""
    return [Alert("critical", behind.code, behind.text, behind.remedy) for behind in behind_of(shipping)]


def of_schedules(schedules: Sequence[Schedule]) -> list[Alert]:
    """What the host's scheduler, or the cluster's, tells."""
    alerts = []
    for schedule in schedules:
        if schedule.goes_on:
            why = schedule.failed or schedule.idle
            text = f"WAL is not received or not shipped: {schedule.by} is not at work ({why})."
            remedy = "It begins anew by itself once that is mended." if schedule.failed else "Run the playbook archive."
            alerts += [Alert("critical", "receiver_down", text, remedy)] if why else []
            continue
        if schedule.failed:
            text = f"The last run of the schedule {schedule.name} failed ({schedule.failed})."
            output = f"journalctl -u {schedule.name}.service has its output."
            again = f"Once it is mended, run it by hand: k8s_job with from_cron_job: {schedule.name}."
            alerts.append(Alert("critical", "run_failed", text, again if schedule.in_cluster else output))
        if schedule.missed:
            text = f"Of the schedule {schedule.name} {schedule.missed}."
            look = f"kubectl describe cronjob {schedule.name} says why; k8s_job with from_cron_job: {schedule.name} runs it now."
            alerts.append(Alert("critical", "runs_missed", text, look))
        if schedule.idle:
            text = f"The schedule {schedule.name} never runs: {schedule.idle}."
            enable = f"systemctl enable --now {schedule.name}.timer"
            remedy = "Run the playbook schedule." if schedule.by == NOTHING or schedule.in_cluster else enable
            alerts.append(Alert("critical", "never_runs", text, remedy))
    return alerts


def no_answer(what: str, why: object) -> Alert:
    """Something could not be asked, so that nothing is known of it."""
    return Alert("critical", "no_answer", f"{what} is not known: {why}")
