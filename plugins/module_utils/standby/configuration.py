# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a standby is told to follow: its connection to the primary, and the settings it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import STEERING, neutral
from ansible_collections.holdfast.postgres.plugins.module_utils.server.settings import normalise
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest

SIGNAL = "standby.signal"
#: what told a server before 12 to recover; with it no later one starts
OLD_SIGNAL = "recovery.conf"

_LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=?\s*'((?:[^']|'')*)'\s*(?:#.*)?")


def read(text: str) -> dict[str, str]:
    """The settings of a postgresql.auto.conf, as ALTER SYSTEM and we write them; the last of a name counts. Pure."""
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[1].lower(): re.sub(r"''|\\(.)", lambda pair: pair[1] or "'", match[2]) for match in found if match}


def differing(
    current: Mapping[str, str],
    wanted: Mapping[str, Optional[str]],
    kinds: Mapping[str, tuple[str, Optional[str]]] = MappingProxyType({}),
) -> list[str]:
    """The names of the settings that are not as ``wanted`` (None: not set). What else would steer a recovery is unwanted. Values are
    compared by what they mean (60min is 1h): ``kinds`` has type and unit of each, as pg_settings tells. Pure but for libpq's reading
    of connection strings."""
    goal = {**dict.fromkeys(STEERING), **wanted}
    return sorted(
        name for name, value in goal.items() if not _same(name, current.get(name), value, kinds.get(name.lower()))
    )


def _same(name: str, one: Optional[str], other: Optional[str], kind: Optional[tuple[str, Optional[str]]]) -> bool:
    if one == other or one is None or other is None:
        return one == other
    if name == "primary_conninfo":
        return _words(one) == _words(other)
    if kind is None:
        return False
    try:
        return normalise(name, one, *kind) == normalise(name, other, *kind)
    except BadOption:
        return False


def _words(conninfo: str) -> Optional[dict[str, Any]]:
    import psycopg2
    from psycopg2.extensions import parse_dsn

    try:
        return dict(parse_dsn(conninfo))
    except psycopg2.Error:
        return None


def conninfo(parts: Mapping[str, str]) -> str:
    """``primary_conninfo`` of its parts, in the order of their names, so that it is always the same."""
    from psycopg2.extensions import make_dsn

    return str(make_dsn(**dict(sorted(parts.items()))))


def passline(password: str) -> str:
    """The line of a passfile. Pure. Source: https://www.postgresql.org/docs/current/libpq-pgpass.html"""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def settings_of(request: StandbyRequest, version_num: int, database: str, passfile: str) -> dict[str, Optional[str]]:
    """The settings of a standby as ``request`` wants it, by which it connects to ``database`` of its primary. Pure."""
    parts = {**request.link, "application_name": request.name}
    if version_num >= 170000:  # by which it synchronises logical slots, if it is told to
        parts.setdefault("dbname", database)
    if request.password:
        parts["passfile"] = passfile
    return {
        **neutral(version_num // 10000),
        **request.settings,
        "primary_conninfo": conninfo(parts),
        "primary_slot_name": request.slot or "",
        "restore_command": request.restore_command or "",
        "recovery_target_timeline": "latest",
    }
