# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of a folder is the newest dump of a database. Pure.

A name is the database's, then perhaps ``latest`` or a moment, then suffixes, and nothing else: ``shop_eu-latest.sql.gz`` is no dump
of ``shop``. Moments in names decide, never a file's times, which a copy loses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

_MOMENT = (
    r"(?P<date>\d{4}(?P<sep>[-_.]?)\d{2}(?P=sep)\d{2})"
    r"(?:[T_.-]?(?P<time>\d{2}[-_:.h]?\d{2}(?:[-_:.m]?\d{2})?)[ms]?(?:Z|UTC|[+-]\d{2}:?\d{2})?)?(?:[._-](?i:mon|tues|wednes|thurs|fri|satur|sun)day)?"
)
_KINDS = r"\.(?:sql|psql|pgsql|dump|dmp|pgdump|pg_dump|pgc|custom|backup|bak|tar|dir)"
_SUFFIXES = r"(?:" + _KINDS + r")*(?:\.(?:gz|zst|zstd|lz4|xz|bz2))?(?:\.(?:gpg|pgp))?"
_FILE = r"(?:[-_.](?:(?P<latest>latest)|(?P<epoch>\d{10})|" + _MOMENT + r"))?" + _SUFFIXES
_REST = re.compile(_FILE)
# A year with its week, or its month: which of the two only the folder tells.
_PERIOD = re.compile(r"[-_.](?P<period>\d{4}[-_.]?\d{2})" + _SUFFIXES)
_BESIDE = (".sha256", ".sha1", ".md5", ".log", ".tmp", ".part", ".partial", ".txt", ".json")


# What split (a, b …) and archivers (001, 002 …) call the parts of one file.
_FIRST_PARTS = re.compile(r"(.+?[._-]?)(a{2,4}|0{1,3}[01])((?:\.gpg)?)")


def next_part(name: str) -> Optional[str]:
    """What the second part is called of a file of which this seems to be the first part; None: it does not seem so."""
    found = _FIRST_PARTS.fullmatch(name)
    if found is None:
        return None
    stem, mark, suffix = found.groups()
    following = f"{int(mark) + 1:0{len(mark)}d}" if mark.isdigit() else f"{mark[:-1]}b"
    return stem + following + suffix


@dataclass(frozen=True)
class Found:
    """A file's name that is one of a dump of the database. ``moment``: digits of its date and time, comparable; None: it tells none."""

    name: str
    latest: bool
    moment: Optional[str]


class Unclear(Exception):
    """More than one file may be meant: ``names``."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(", ".join(names))
        self.names = list(names)


def dumps_of(database: str, names: Sequence[str], periods: bool = False) -> list[Found]:
    """The files of a folder that are dumps of a database, by their names. ``periods``: they have a year and its week or month."""
    found = []
    for name in sorted(names):
        if not name.startswith(database) or name.endswith(_BESIDE):
            continue
        match = _REST.fullmatch(name[len(database) :])
        period = _PERIOD.fullmatch(name[len(database) :]) if periods else None
        if period is not None:
            found.append(Found(name, False, re.sub(r"\D", "", period.group("period"))))
            continue
        if match is None:
            continue
        moment = match.group("epoch")
        if match.group("date"):
            digits = re.sub(r"\D", "", match.group("date") + (match.group("time") or ""))
            moment = digits.ljust(14, "0")
        found.append(Found(name, match.group("latest") is not None, moment))
    return found


def newest(found: Sequence[Found]) -> Found:
    """The one called latest; else the one of the last moment; else the only one.

    Raises:
        Unclear: that does not decide between some.
    """
    latest = [item for item in found if item.latest]
    dated = [item for item in found if item.moment]
    chosen = latest
    if not latest:
        last = max((item.moment or "" for item in dated), default="")
        chosen = [item for item in dated if item.moment == last] + [item for item in found if not item.moment]
        if len({len(item.moment or "") for item in dated}) > 1:
            chosen = list(found)  # seconds since 1970 and dates are not to be compared
    if len(chosen) != 1:
        raise Unclear([item.name for item in chosen])
    return chosen[0]
