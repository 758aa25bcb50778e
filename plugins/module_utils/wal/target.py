# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a recovery is to end: the option, checked. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

TIME, LSN, XID, NAME, IMMEDIATE, LATEST = KINDS = ("time", "lsn", "xid", "name", "immediate", "latest")
_BETWEEN = (TIME, LSN, XID)  # where "inclusive" means something
_NAME_BYTES = 63
# 0, 1 and 2 are no transactions' ids; from 2^32 on they count epochs, as xid8 does.
_FIRST_XID, _XID_LIMIT = 3, 1 << 64

LATEST_TIMELINE, CURRENT_TIMELINE = "latest", "current"


@dataclass(frozen=True)
class Target:
    """Where a recovery ends. ``kind`` says which of the others is set: ``time`` (UTC), ``lsn``, ``xid``, ``name`` (of a restore
    point); ``immediate`` (the end of the backup itself) and ``latest`` (the end of the archived WAL) need none.

    ``inclusive``: with the transaction or record at the target. ``timeline``: a number, ``latest``, or ``current`` (the one that
    the backup was taken on).
    """

    kind: str = LATEST
    time: Optional[datetime.datetime] = None
    lsn: Optional[Lsn] = None
    xid: Optional[int] = None
    name: Optional[str] = None
    inclusive: bool = True
    timeline: Union[int, str] = LATEST_TIMELINE

    @classmethod
    def from_option(cls, option: Optional[Mapping[str, Any]], where: str = "target") -> Target:
        """From ``time``, ``lsn``, ``xid``, ``name`` (one of them), ``immediate: true`` or ``latest: true``, ``inclusive`` and
        ``timeline``. Nothing set means the latest moment. ``where`` is the option's name in messages.

        Raises:
            BadOption: there are several kinds, a time without an offset, or something that PostgreSQL would not take.
        """
        values = {name: value for name, value in (option or {}).items() if value is not None}
        kinds = [kind for kind in KINDS if values.get(kind) not in (None, False)]
        if len(kinds) > 1:
            raise BadOption(where, kinds, "are several targets", f"Set one of {', '.join(KINDS)}.")
        kind = kinds[0] if kinds else LATEST
        inclusive = bool(values.get("inclusive", True))
        if not inclusive and kind not in _BETWEEN:
            way_out = f"It belongs to {', '.join(_BETWEEN)}: leave it out."
            raise BadOption(f"{where}.inclusive", False, f"means nothing for the target {kind}", way_out)
        return cls(
            kind,
            time=parse_time(str(values[TIME]), f"{where}.time") if kind == TIME else None,
            lsn=Lsn.parse(str(values[LSN]), f"{where}.lsn") if kind == LSN else None,
            xid=_xid(values[XID], f"{where}.xid") if kind == XID else None,
            name=_name(str(values[NAME]), f"{where}.name") if kind == NAME else None,
            inclusive=inclusive,
            timeline=_timeline(values.get("timeline", LATEST_TIMELINE), f"{where}.timeline"),
        )

    def settings(self) -> dict[str, str]:
        """PostgreSQL's settings for it, without the timeline, which ``choose`` knows."""
        value = {
            TIME: lambda: f"{self.time:%Y-%m-%d %H:%M:%S.%f+00}",
            LSN: lambda: str(self.lsn),
            XID: lambda: str(self.xid),
            NAME: lambda: str(self.name),
        }
        if self.kind == LATEST:
            return {}
        if self.kind == IMMEDIATE:
            return {"recovery_target": IMMEDIATE}
        settings = {f"recovery_target_{self.kind}": value[self.kind]()}
        if self.kind in _BETWEEN:
            settings["recovery_target_inclusive"] = "on" if self.inclusive else "off"
        return settings

    def describe(self) -> str:
        """For messages: ``2026-11-21T01:45:12.500000Z``, ``the position 0/5000028``, ``the latest moment``."""
        if self.kind == TIME and self.time is not None:
            return f"{self.time.replace(tzinfo=None).isoformat()}Z"
        return {
            LSN: f"the position {self.lsn}",
            XID: f"transaction {self.xid}",
            NAME: f"the restore point {self.name!r}",
            IMMEDIATE: "a backup's own end",
        }.get(self.kind, "the latest moment")


def _xid(value: Any, option: str) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and _FIRST_XID <= int(text) < _XID_LIMIT):
        way_out = "Write the number that pg_current_xact_id() or txid_current() gave, 3 or above."
        raise BadOption(option, value, "is not a transaction's id", way_out)
    return int(text)


def _name(text: str, option: str) -> str:
    if not text.strip() or len(text.encode()) > _NAME_BYTES:
        way_out = "Write what was given to pg_create_restore_point()."
        raise BadOption(option, text, f"is not a restore point's name of 1 to {_NAME_BYTES} bytes", way_out)
    return text


def _timeline(value: Any, option: str) -> Union[int, str]:
    text = str(value).strip()
    if text in (LATEST_TIMELINE, CURRENT_TIMELINE):
        return text
    try:
        number = int(text, 16) if text[:2].lower() == "0x" else int(text, 10)
    except ValueError:
        number = 0
    if isinstance(value, bool) or not 1 <= number < 1 << 32:
        way_out = 'Write "latest", "current", or a number, with 0x before it if it is hexadecimal, as in the names of segments.'
        raise BadOption(option, value, "is not a timeline", way_out)
    return number
