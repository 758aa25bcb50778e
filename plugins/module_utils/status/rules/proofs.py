# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules over what was proven of backups: by verifying, and by drills."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.evidence import FAIL, PASS
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import CLOCKS_DIFFER, stopped
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import (
    BAD,
    GOOD,
    Limits,
    Seen,
    Standing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.units import age, count, known_time, listing

_RUN_VERIFY = "Run the playbook verify, and schedule it."


def verified(standing: Standing, limits: Limits) -> Optional[Seen]:
    """Nobody has read a backup back for long, since it was made."""
    order = standing.order
    if not order:
        return None
    times = [when for text in standing.found.verified.values() if (when := known_time(text)) is not None]
    if times:
        return _since(times, standing, limits, _RUN_VERIFY)
    oldest = (standing.now - stopped(order[0])).total_seconds()
    if oldest <= limits["max_age"]:
        return Seen(GOOD, "each was read back when it was made, and none is old")
    return Seen(BAD, f"none was read back since it was made, the oldest {age(oldest)}", _RUN_VERIFY)


def failed(standing: Standing, limits: Limits) -> Optional[Seen]:
    """A backup failed its last verification."""
    found = standing.found.failed
    if not found:
        return None
    names = listing([f"{name} in {tier}" for name, tier in found], 4)
    first = next(iter(found.values()))
    return Seen(
        BAD,
        f"{names}: {first}",
        "Use another backup, and make a new one. The playbook verify looks again, and takes the mark away where it is good.",
    )


def last_drill(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The last drill failed, missed its objectives, or was not whole."""
    drills = standing.found.all_drills  # in the order of time; also those that failed before they chose a backup
    if not drills:
        return None
    _tier, last = drills[-1]
    which = f" of {last.backup}" if last.backup else ""
    text = f"{last.verdict}{which}, {age((standing.now - parse_time(last.at, 'drill')).total_seconds())}"
    if last.verdict == PASS:
        return Seen(GOOD, text)
    return Seen(BAD, text, f"Its evidence says why: _drills/{last.id}.md.", None if last.verdict == FAIL else "warning")


def drilled(standing: Standing, limits: Limits) -> Optional[Seen]:
    """No drill has proven for long that a backup can be restored."""
    order = standing.order
    times = [when for record in order if (when := known_time(record.drilled_at)) is not None]
    run = "Run the playbook drill, and schedule it."
    if not order:
        return None
    if not times:
        oldest = (standing.now - stopped(order[0])).total_seconds()
        if oldest <= limits["max_age"]:
            return Seen(GOOD, "none yet, and no backup is old")
        return Seen(BAD, f"none of the backups, the oldest of which is of {age(oldest)}", run)
    return _since(times, standing, limits, run)


def _since(times: Sequence[datetime.datetime], standing: Standing, limits: Limits, remedy: str) -> Seen:
    """How long ago the last proof is. One from the future is none: a clock was wrong."""
    ages = [(standing.now - when).total_seconds() for when in times]
    old = min((one for one in ages if one >= -CLOCKS_DIFFER), default=None)
    text = f"{len(times)} of {count(len(standing.order), 'backup')}, last {age(min(ages) if old is None else old)}"
    if old is None:
        return Seen(BAD, f"{text}: is, or was, a clock wrong?", remedy)
    return Seen(BAD, text, remedy) if old > limits["max_age"] else Seen(GOOD, text)


def drilled_newest(standing: Standing, limits: Limits) -> Optional[Seen]:
    """The last drills were all of what was the newest backup then: older ones, and older copies, are taken on trust."""
    drills = sorted(standing.found.drills.values(), key=lambda drill: (drill.at, drill.number))[-limits["drills"] :]
    known = {record.id: stopped(record) for record in standing.order}
    of = [(drill, known[drill.backup]) for drill in drills if drill.backup in known]
    if len(of) < limits["drills"]:
        return None
    if any(own < other <= parse_time(drill.at, "drill") for drill, own in of for other in known.values()):
        return Seen(GOOD, "older ones too")
    return Seen(
        BAD,
        f"the last {len(of)} drills were each of the newest backup",
        "Drill others too: holdfast_drill_select=oldest_unproven, or random.",
    )
