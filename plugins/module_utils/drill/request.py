# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a drill. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.drill.assertions import Assertion
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import IMMEDIATE, LATEST, Target

LATEST_BACKUP, RANDOM, OLDEST_UNPROVEN = SELECTS = ("latest", "random", "oldest_unproven")
END = "end"
ROTATE = "rotate"


@dataclass(frozen=True)
class DrillRequest:
    """What the user wants. ``target`` None: a moment by chance. ``rto``, ``rpo``: objectives, in seconds. ``check_time``: seconds that
    the checks that read everything may take together."""

    select: str
    target: Optional[Target]
    tier: Optional[str]
    max_age: Optional[int]
    scratch_dir: str
    owner: Optional[str]
    user: Optional[str]
    bin_dir: Optional[str]
    port: Optional[int]
    memory: str
    low_priority: bool
    keep: bool
    jobs: int
    wal_timeout: float
    accept_unsigned: bool
    amcheck: str
    check_time: int
    assertions: tuple[Assertion, ...]
    marker: Optional[Assertion]
    rto: Optional[int]
    rpo: Optional[int]
    fail_on: tuple[str, ...]
    sign_key: Optional[str]
    operator: Optional[str]
    trigger: str
    scenario: Optional[str]

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> DrillRequest:
        """Raises BadOption."""
        for name in ("jobs", "port"):
            if params[name] is not None and params[name] < 1:
                raise BadOption(name, params[name], "is no such number", "Use 1 or more.")
        given = params["marker"]
        marker = Assertion.from_option({"name": "marker", **given}, "marker") if given else None
        return cls(
            select=params["select"],
            target=target_of(params["target"]),
            tier=params["tier"],
            max_age=_seconds(params, "max_age"),
            scratch_dir=params["scratch_dir"],
            owner=params["owner"],
            user=params["login_user"],
            bin_dir=params["bin_dir"],
            port=params["port"],
            memory=params["memory"],
            low_priority=params["low_priority"],
            keep=params["keep"],
            jobs=params["jobs"],
            wal_timeout=parse_duration(params["wal_timeout"], "wal_timeout"),
            accept_unsigned=params["accept_unsigned"],
            amcheck=params["amcheck"],
            check_time=parse_duration(params["check_time"], "check_time"),
            assertions=_assertions(params["assertions"]),
            marker=marker,
            rto=_seconds(params, "rto"),
            rpo=_seconds(params, "rpo"),
            fail_on=("fail", *(name for name in params["fail_on"] if name != "fail")),
            sign_key=params["sign_key"],
            operator=params["operator"],
            trigger=params["trigger"],
            scenario=params["scenario"],
        )

    @property
    def asked(self) -> str:
        """The target, for people."""
        return "a moment by chance" if self.target is None else self.target.describe()

    @property
    def replays(self) -> bool:
        """Whether more than the backup itself is asked for by name, which a dump cannot give."""
        return self.target is None or self.target.kind not in (LATEST, IMMEDIATE)


def target_of(option: Any) -> Optional[Target]:
    """``end``, ``random`` (None), or a dictionary as ``recovery_target`` of pg_recover. Raises BadOption."""
    if option in (None, "", END):
        return Target()
    if option == RANDOM:
        return None
    if not isinstance(option, Mapping):
        raise BadOption(
            "target",
            option,
            "is no target",
            "Write end, random, or a dictionary such as {time: 2026-11-21T02:59:00+01:00}.",
        )
    known = ("time", "lsn", "xid", "name", "immediate", "latest", "inclusive", "timeline")
    strange = sorted(set(map(str, option)) - set(known))
    if strange:
        raise BadOption("target", strange, "is no part of a target", f"Known are: {', '.join(known)}.")
    plain = {str(name): _text(value) for name, value in option.items()}
    return Target.from_option(plain, "target")


def _text(value: Any) -> Any:
    """YAML makes a time of what looks like one."""
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def _seconds(params: Mapping[str, Any], name: str) -> Optional[int]:
    return parse_duration(params[name], name) if params[name] else None


def _assertions(options: Sequence[Mapping[str, Any]]) -> tuple[Assertion, ...]:
    found = tuple(Assertion.from_option(option, f"assertions[{number}]") for number, option in enumerate(options))
    names = [assertion.name for assertion in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadOption("assertions", twice, "is the name of two", "Give each a name of its own.")
    return found
