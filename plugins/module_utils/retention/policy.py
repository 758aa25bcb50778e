# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The retention policy: the option, checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

#: the option, as argument specification, in the order in which it is documented
SPEC: dict[str, Any] = {
    "keep_last": {"type": "int"},
    "keep_within": {"type": "str"},
    "keep_daily": {"type": "int"},
    "keep_weekly": {"type": "int"},
    "keep_monthly": {"type": "int"},
    "keep_yearly": {"type": "int"},
    "min_keep": {"type": "int", "default": 1},
    "pins": {"type": "list", "elements": "str", "default": []},
    "count": {"type": "int"},
    "max_age": {"type": "str"},
}
_KEEP_COUNTS = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
#: rules that come with the floor
CALENDAR = ("keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
#: seconds: a calendar alone would let this morning's backup go for tonight's, and with it what was dropped in between
FLOOR = 48 * 3600
_LEAST = {**dict.fromkeys(_KEEP_COUNTS, 0), "min_keep": 0, "count": 1}


@dataclass(frozen=True)
class Policy:
    """Either ``keep_*``: a backup stays when any of them wants it; or the guides' rule, ``count`` and ``max_age``: it
    goes when either is exceeded. ``keep_within`` and ``max_age`` are seconds. Nothing set keeps everything. A rule of the calendar
    (daily, weekly, monthly, yearly) comes with a ``keep_within`` of two days, unless one is given.

    A ``keep_*`` of 0 is not set, as in restic: who turns each of them off means to keep all, not to lose all.
    """

    keep_last: Optional[int] = None
    keep_within: Optional[int] = None
    keep_daily: Optional[int] = None
    keep_weekly: Optional[int] = None
    keep_monthly: Optional[int] = None
    keep_yearly: Optional[int] = None
    count: Optional[int] = None
    max_age: Optional[int] = None
    min_keep: int = 1
    pins: tuple[str, ...] = ()

    @classmethod
    def from_option(cls, option: Optional[Mapping[str, Any]]) -> Policy:
        """Raises BadOption."""
        values = {name: value for name, value in (option or {}).items() if value is not None}
        for name, least in _LEAST.items():
            if values.get(name, least) < least:
                problem = "is not a number of backups"
                raise BadOption(f"retention.{name}", values[name], problem, f"Use {least} or more, or leave it out.")
        values = {name: value for name, value in values.items() if value or name not in _KEEP_COUNTS}
        for name in ("keep_within", "max_age"):
            if name in values:
                values[name] = parse_duration(values[name], f"retention.{name}")
        if values.keys() & set(CALENDAR):
            values.setdefault("keep_within", FLOOR)
        values["pins"] = tuple(values.get("pins") or ())
        policy = cls(**values)
        if policy.buckets and policy.limits:
            raise BadOption(
                "retention",
                sorted(set(values) - {"pins", "min_keep"}),
                "mixes keep_* (stay when any wants it) with count or max_age (go when either is exceeded)",
                "Use one of the two kinds.",
            )
        return policy

    @property
    def buckets(self) -> bool:
        """Whether a ``keep_*`` rule is set."""
        return any(getattr(self, name) is not None for name in (*_KEEP_COUNTS, "keep_within"))

    @property
    def limits(self) -> bool:
        """Whether ``count`` or ``max_age`` is set."""
        return self.count is not None or self.max_age is not None
