# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a policy, applied to nothing but times. Pure.

Each rule has for each backup a verdict and its reason, whether the backup stays or goes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import format_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy

Moments = Sequence[datetime.datetime]
Verdict = tuple[bool, str]


def judge(
    moments: Moments, policy: Policy, now: datetime.datetime, zone: datetime.tzinfo
) -> Iterator[tuple[bool, tuple[str, ...]]]:
    """For each time, newest first, whether the policy wants its backup, and why, or why not."""
    rules = list(_rules(moments, policy, now, zone))
    if not rules:
        yield from ((True, ("no retention rule is set",)) for _moment in moments)
        return
    combine = any if policy.buckets else all
    for _moment, *verdicts in zip(moments, *rules):
        wanted = combine([keep for keep, _reason in verdicts])
        yield wanted, tuple([reason for keep, reason in verdicts if keep == wanted])


def _rules(
    moments: Moments, policy: Policy, now: datetime.datetime, zone: datetime.tzinfo
) -> Iterator[Iterator[Verdict]]:
    for name, wanted in (("keep_last", policy.keep_last), ("count", policy.count)):
        if wanted is not None:
            yield _newest(name, wanted)
    for name, limit in (("keep_within", policy.keep_within), ("max_age", policy.max_age)):
        if limit is not None:
            yield _age(name, limit, moments, now)
    for name, wanted, period, spacing in (
        ("keep_daily", policy.keep_daily, _day, datetime.timedelta(hours=20)),
        ("keep_weekly", policy.keep_weekly, _week, datetime.timedelta(days=6, hours=12)),
        ("keep_monthly", policy.keep_monthly, _month, datetime.timedelta(days=27)),
        ("keep_yearly", policy.keep_yearly, _year, datetime.timedelta(days=360)),
    ):
        if wanted is not None:
            periods = map(period, (moment.astimezone(zone) for moment in moments))
            yield _periods(name, wanted, periods, moments, spacing)


# The period that a time of the zone lies in, in words that a reason tells.


def _day(moment: datetime.datetime) -> str:
    return moment.date().isoformat()


def _week(moment: datetime.datetime) -> str:
    year, week, _weekday = moment.isocalendar()
    return f"{year}-W{week:02}"


def _month(moment: datetime.datetime) -> str:
    return moment.date().isoformat()[:7]


def _year(moment: datetime.datetime) -> str:
    return moment.date().isoformat()[:4]


# The rules below go on for ever once all that follows goes: with 100,000 backups that is most of the work.


def _newest(name: str, wanted: int) -> Iterator[Verdict]:
    for position in range(1, wanted + 1):
        yield True, f"number {position} from the newest ({name} {wanted})"
    yield from repeat((False, f"not among the newest {wanted} ({name})"))


def _age(name: str, limit: int, moments: Moments, now: datetime.datetime) -> Iterator[Verdict]:
    for moment in moments:
        if (now - moment).total_seconds() > limit:
            break
        yield True, f"within {name} {format_duration(limit)}"
    yield from repeat((False, f"older than {name} {format_duration(limit)}"))


def _periods(
    name: str, wanted: int, periods: Iterable[str], moments: Moments, spacing: datetime.timedelta
) -> Iterator[Verdict]:
    """The newest of each period that has a backup stays; periods without one do not count, as in restic.

    One that is ``spacing`` or more older than the next newer one is of another night, whatever the calendar says: a change of
    summer time moves a nightly backup over the end of a day. It stays with its period, and is not counted.
    """
    seen: set[str] = set()
    newer: Optional[datetime.datetime] = None
    for period, moment in zip(periods, moments):
        far = newer is not None and newer - moment >= spacing
        newer = moment
        if period in seen:
            reason = (
                f"of {period} too, and {format_duration(spacing.total_seconds())} or more from the next" if far else ""
            )
            yield far, f"{reason} ({name})" if far else f"not the newest of {period} ({name})"
        elif len(seen) < wanted:
            seen.add(period)
            yield True, f"the newest of {period} ({name} {len(seen)} of {wanted})"
        else:
            break
    yield from repeat((False, f"older than the newest {wanted} that have one ({name})"))
