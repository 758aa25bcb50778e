# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timelines: history files, and the tree they make. Pure.

A server that ends a recovery, by promotion or at a target, goes on with a new timeline. The history file of the new one
lists all its ancestors, oldest first: which, up to which position, and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name

_LINE = re.compile(r"\s*([0-9]{1,10})\s+(\S+)(?:\s+(.*?))?\s*")


class Switch(NamedTuple):
    """A line of a history file: the ancestor ``timeline`` counts up to the position ``lsn``, where it was left for
    ``reason`` (PostgreSQL's words: "no recovery target specified", "before 2026-11-21 …")."""

    timeline: int
    lsn: Lsn
    reason: str


class Stage(NamedTuple):
    """A part of the way to a timeline: ``timeline`` counts from ``begin`` up to ``end``, exclusive (None: to its end)."""

    timeline: int
    begin: Lsn
    end: Optional[Lsn]


def parse_history(text: str, timeline: int) -> tuple[Switch, ...]:
    """The lines of the history file of a timeline, oldest ancestor first; empty ones and comments (#) left out.

    Raises:
        WalError: PostgreSQL would not take the file, or positions go backwards, or there is nothing in it.
    """
    switches: list[Switch] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise _damaged(timeline, f"line {number} ({line[:80]!r}) is not a timeline, a position and a reason")
        try:
            switch = Switch(int(found[1]), Lsn.parse(found[2], "position"), found[3] or "")
        except BadOption:
            raise _damaged(timeline, f"line {number} ({line[:80]!r}) has no position like 16/B374D848") from None
        last = switches[-1] if switches else Switch(0, Lsn(0), "")
        if not last.timeline < switch.timeline < timeline:
            raise _damaged(timeline, f"line {number}: timelines must rise, and stay below {timeline}")
        if switch.lsn < last.lsn:
            raise _damaged(timeline, f"line {number}: the position {switch.lsn} lies before the one above it")
        switches.append(switch)
    if not switches:
        raise _damaged(timeline, "there is no line in it")
    return tuple(switches)


def _damaged(timeline: int, problem: str) -> WalError:
    name = history_name(timeline)
    return WalError(
        f"{name} in the WAL archive is damaged: {problem}. Without it no recovery can follow timeline {timeline}. "
        f"A sound copy may lie in pg_wal of a server that is or was on this timeline: put it back as {name}."
    )


class Timelines:
    """The timelines of a server, as its history files tell.

    ``histories``: what parse_history made of each file, by its timeline. ``seen``: timelines that are known otherwise, from
    segments or backups.
    """

    def __init__(self, histories: Mapping[int, tuple[Switch, ...]], seen: Iterable[int] = ()) -> None:
        self._histories = dict(sorted(histories.items()))
        ancestors = (switch.timeline for switches in histories.values() for switch in switches)
        self.known: tuple[int, ...] = tuple(sorted({*histories, *ancestors, *seen}))

    @classmethod
    def from_texts(cls, texts: Mapping[int, str], seen: Iterable[int] = ()) -> Timelines:
        """From the content of history files by their timeline. Raises WalError: one is damaged."""
        return cls({timeline: parse_history(text, timeline) for timeline, text in texts.items()}, seen)

    @property
    def latest(self) -> int:
        """The newest timeline; 1 when none is known. (PostgreSQL's own "latest" counts up from the backup's, and stops at the
        first number without a history file. So recoveries are given a number.)"""
        return self.known[-1] if self.known else 1

    def has_history(self, timeline: int) -> bool:
        """Whether its history file is there, or it is 1, which has none."""
        return timeline == 1 or timeline in self._histories

    def switches(self, timeline: int) -> tuple[Switch, ...]:
        """Its ancestors, oldest first. Where its file is missing, a descendant's tells; where that is too, it is taken to
        have none, as PostgreSQL does."""
        if timeline in self._histories:
            return self._histories[timeline]
        for switches in self._histories.values():
            numbers = [switch.timeline for switch in switches]
            if timeline in numbers:
                return switches[: numbers.index(timeline)]
        return ()

    def ancestry(self, timeline: int) -> tuple[Stage, ...]:
        """The way to a timeline, oldest part first, itself last."""
        stages: list[Stage] = []
        begin = Lsn(0)
        for switch in self.switches(timeline):
            stages.append(Stage(switch.timeline, begin, switch.lsn))
            begin = switch.lsn
        return (*stages, Stage(timeline, begin, None))

    def owner(self, target: int, lsn: int) -> int:
        """The timeline that the byte at a position belongs to, on the way to the target timeline."""
        return next(
            stage.timeline
            for stage in self.ancestry(target)
            if stage.begin <= lsn and (stage.end is None or lsn < stage.end)
        )

    def leads_to(self, target: int, timeline: int, start: int, stop: int, stop_timeline: Optional[int] = None) -> bool:
        """Whether a recovery to the target timeline can begin with a backup from ``start`` to ``stop`` on ``timeline``: the
        target must not have forked off before its end. ``stop_timeline``: where it ended, when that is another one, as
        on a standby whose primary changed meanwhile."""
        ended = timeline if stop_timeline is None else stop_timeline
        return self.owner(target, start) == timeline and self.owner(target, max(stop - 1, start)) == ended

    def forked_at(self, target: int, timeline: int) -> Optional[Lsn]:
        """Where the way to the target leaves a timeline; None when it does not lead over it, or ends on it."""
        return next((stage.end for stage in self.ancestry(target) if stage.timeline == timeline), None)

    def conflicts(self) -> tuple[tuple[int, int], ...]:
        """Pairs of timelines (ancestor, descendant) whose files contradict each other about the past that they share: two
        servers were promoted to the same number, or two archive into one place."""
        return tuple(
            (switch.timeline, timeline)
            for timeline, switches in self._histories.items()
            for index, switch in enumerate(switches)
            if switch.timeline in self._histories and _past(self._histories[switch.timeline]) != _past(switches[:index])
        )


def _past(switches: tuple[Switch, ...]) -> list[tuple[int, Lsn]]:
    return [(switch.timeline, switch.lsn) for switch in switches]
