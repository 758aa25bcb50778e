# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things stand in a server's picture: numbers for SVG paths, in a box of 1000 by 60. Pure.

The box is stretched to the page's width, so that marks are strokes, whose width does not stretch: a dot is a stroke of no length with round ends.
All marks of one kind are one path, as a year of daily backups of 200 servers is to be no large file.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.units import known_time

WIDTH, HEIGHT = 1000, 60
#: more than that is no picture any more
_LONGEST = datetime.timedelta(days=400)
_SHORTEST = datetime.timedelta(days=1)
#: what was read back later than when it was made is a mark of its own
_LATER = datetime.timedelta(hours=1)
_BARS = 120


@dataclass(frozen=True)
class Line:
    """A timeline. ``covered`` and ``missing``: (x, width) of WAL and of gaps; ``marks``: a path for each kind of mark that is there, by its class."""

    start: datetime.datetime
    end: datetime.datetime
    covered: Sequence[tuple[str, str]]
    missing: Sequence[tuple[str, str]]
    marks: Mapping[str, str]


@dataclass(frozen=True)
class Bars:
    """Heights over time, in a box of 1000 by 40, the highest as high as the box. ``full`` and ``other``: paths; None: there is nothing to draw."""

    full: str
    other: str
    most: float
    last: float


def timeline(
    backups: Sequence[Mapping[str, Any]],
    drills: Sequence[Mapping[str, Any]],
    windows: Sequence[Mapping[str, Any]],
    since: Optional[datetime.datetime],
    end: datetime.datetime,
) -> Optional[Line]:
    """None: there is nothing to draw."""
    stretches = [stretch for window in windows for stretch in window["stretches"]]
    times = [known_time(entry["stopped_at"]) for entry in backups]
    times += [known_time(drill["at"]) for drill in drills] + [known_time(one["start"]) for one in stretches]
    known = [one for one in times if one is not None]
    if not known:
        return None
    start = min(max(min(known), since or min(known), end - _LONGEST), end - _SHORTEST)
    axis = _Axis(start, end)
    # Of a kind one a pixel, however many there are.
    marks: dict[str, dict[str, None]] = {}

    def mark(kind: str, text: Any, path: str) -> None:
        x = axis.at(known_time(text))
        if x is not None:
            marks.setdefault(kind, {})[f"M{x} {path}"] = None

    for entry in backups:
        whole = entry["kind"] in ("full", "logical") or not entry["data"]
        kind = "bad" if entry["wrong"] else "full" if whole else "incremental"
        mark(kind, entry["stopped_at"], "24V46" if whole else "34V46")
        if entry["goes"]:
            mark("goes", entry["stopped_at"], "48V54")
        made, read = known_time(entry["stopped_at"]), known_time(entry["verified_at"])
        if made and read and read - made > _LATER:
            mark("verified", entry["verified_at"], "57h0")
    for drill in drills:
        verdict = "fail" if drill["wrong"] else drill["verdict"]
        mark(f"drill-{verdict}", drill["at"], "2V46" if verdict == "fail" else "10h0")
    covered = [axis.span(known_time(one["start"]), known_time(one["end"])) for one in stretches]
    missing = [
        axis.span(known_time(one["end"]) or known_time(one["start"]), known_time(after["start"]) if after else end)
        for window in windows
        for one, after in zip(window["stretches"], [*window["stretches"][1:], None])
        if one["missing"] or after
    ]
    return Line(
        start,
        end,
        [span for span in covered if span],
        [span for span in missing if span],
        {kind: "".join(paths) for kind, paths in sorted(marks.items())},
    )


@dataclass(frozen=True)
class _Axis:
    start: datetime.datetime
    end: datetime.datetime

    def at(self, moment: Optional[datetime.datetime]) -> Optional[str]:
        """None: not in the picture."""
        if moment is None or not self.start <= moment <= self.end:
            return None
        return _number(self._share(moment))

    def span(self, first: Optional[datetime.datetime], last: Optional[datetime.datetime]) -> Optional[tuple[str, str]]:
        """Where something begins, and how wide it is; never so narrow that it cannot be seen. An end that is not known is no longer than its beginning."""
        if first is None:
            return None
        left, right = max(first, self.start), min(last or first, self.end)
        if left > self.end or right < self.start:
            return None
        x = self._share(left)
        return _number(min(x, WIDTH - 2)), _number(max(self._share(right) - x, 2))

    def _share(self, moment: datetime.datetime) -> float:
        return WIDTH * ((moment - self.start) / (self.end - self.start))


def bars(values: Iterable[tuple[Optional[float], bool]]) -> Optional[Bars]:
    """Of (value, whether it is a full one), the oldest first; of many the last. Values that nobody knows leave a hole."""
    shown = list(values)[-_BARS:]
    known = [value for value, _full in shown if value is not None]
    if not known or max(known) <= 0:
        return None
    most = max(known)
    step = WIDTH / len(shown)
    paths: dict[bool, list[str]] = {True: [], False: []}
    for number, (value, full) in enumerate(shown):
        if value is not None:
            height = max(38 * value / most, 1)
            paths[full].append(f"M{_number((number + 0.5) * step)} 40v-{_number(height)}")
    return Bars("".join(paths[True]), "".join(paths[False]), most, known[-1])


def _number(value: float) -> str:
    """Whole, as a page is hardly wider."""
    return str(round(value))
