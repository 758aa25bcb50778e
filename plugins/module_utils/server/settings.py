# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's settings: compared by what they mean, changed only where they differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

# Source: https://www.postgresql.org/docs/current/config-setting.html ("Numeric with Unit")
_UNITS = {
    "B": ("size", 1),
    "kB": ("size", 1024),
    "MB": ("size", 1024**2),
    "GB": ("size", 1024**3),
    "TB": ("size", 1024**4),
    "us": ("time", 1),
    "ms": ("time", 1000),
    "s": ("time", 1000_000),
    "min": ("time", 60_000_000),
    "h": ("time", 3600_000_000),
    "d": ("time", 86400_000_000),
}
_TRUE, _FALSE = ("on", "true", "yes", "1", "t", "y"), ("off", "false", "no", "0", "f", "n")


@dataclass(frozen=True)
class Change:
    """A setting that differs. ``restart``: it takes effect only when the server is started anew."""

    name: str
    before: str
    after: Optional[str]
    restart: bool


def normalise(name: str, value: str, kind: str, unit: Optional[str]) -> str:
    """A setting's value in the setting's own unit, as pg_settings has it (1GB of a setting in 8kB is 131072). Pure.

    Raises:
        BadOption: it is no number, or its unit does not fit.
    """
    text = value.strip()
    if kind == "bool":
        low = text.lower()
        return "on" if low in _TRUE else "off" if low in _FALSE else text
    if kind not in ("integer", "real"):
        return text
    found = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*([A-Za-z]*)", text)
    if not found:
        raise BadOption(name, value, "is not a number", "Write one, with a unit such as MB or min where it has one.")
    number, given = float(found.group(1)), found.group(2)
    if not given or number <= 0:
        return f"{number:g}" if kind == "real" else str(round(number))
    base = re.fullmatch(r"(\d*)([A-Za-z]+)", unit or "")
    if given not in _UNITS or not base or _UNITS[given][0] != _UNITS[base.group(2)][0]:
        raise BadOption(
            name, value, f"has a unit that does not fit (it is counted in {unit or 'no unit'})", "Use another."
        )
    step = int(base.group(1) or 1) * _UNITS[base.group(2)][1]
    counted = number * _UNITS[given][1] / step
    return f"{counted:g}" if kind == "real" else str(round(counted))


def differences(connection: Connection, wanted: Mapping[str, Optional[str]]) -> list[Change]:
    """What has to change so that the server has these settings once it was restarted; None: as if never set.

    What was set already, and only waits for a restart, is no difference.

    Raises:
        ServerError: the server does not know a setting, takes it from its command line, or would take no change at all.
    """
    found = {
        row["name"]: row
        for row in rows(
            connection,
            "SELECT name, setting, unit, vartype, context, source, boot_val, pending_restart,"
            " (SELECT f.setting FROM pg_file_settings f WHERE f.name = s.name"
            "  ORDER BY f.seqno DESC LIMIT 1) AS in_file"
            " FROM pg_settings s WHERE name = ANY(%s)",
            [list(wanted)],
        )
    }
    changes = []
    for name, value in wanted.items():
        row = found.get(name)
        if row is None:
            raise ServerError(f"The server does not know the setting {name}: it is too old for it.")
        if row["source"] == "command line":
            raise ServerError(
                f"{name} is set on the server's command line, which takes precedence over all files. Take it away there (in the unit, "
                "the container's arguments, or what Patroni passes)."
            )
        after = row["boot_val"] if value is None else value
        effective = row["in_file"] if row["pending_restart"] and row["in_file"] is not None else row["setting"]
        if effective == "(disabled)":  # how archive_command is shown while archive_mode is off
            effective = row["in_file"]
        if _same(row, after or "", effective or ""):
            continue
        changes.append(Change(name, effective or "", value, row["context"] == "postmaster"))
    if changes:
        _require_readable(connection)
    return changes


def _require_readable(connection: Connection) -> None:
    """Raises ServerError: the server does not take its configuration files as they are, so that a reload changes nothing, without a word
    but in its log. (A setting that waits for a restart is an error in that view too, and none.)"""
    broken = rows(
        connection,
        "SELECT sourcefile, sourceline, name, error FROM pg_file_settings f WHERE error IS NOT NULL"
        " AND (name IS NULL OR NOT EXISTS (SELECT FROM pg_settings s WHERE s.name = lower(f.name))) ORDER BY seqno LIMIT 3",
    )
    if broken:
        told = "; ".join(
            f"{row['sourcefile'] or 'its configuration'}"
            + (f" (line {row['sourceline']})" if row["sourceline"] else "")
            + f": {row['name'] + ': ' if row['name'] else ''}{row['error']}"
            for row in broken
        )
        raise ServerError(
            f"The server does not take its own configuration files, so no change of a setting takes effect, and it would not start again: "
            f"{told}. Nothing was changed. Mend that first; SELECT * FROM pg_file_settings WHERE error IS NOT NULL shows it."
        )


def _same(row: Mapping[str, Any], one: str, other: str) -> bool:
    values = [normalise(row["name"], value, row["vartype"], row["unit"]) for value in (one, other)]
    return values[0] == values[1]


def by_alter_system(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """The settings among ``names`` that ALTER SYSTEM made, with their values: what a RESET takes away, so that what the configuration
    files say holds again."""
    return {
        row["name"]: row["setting"] or ""
        for row in rows(
            connection,
            "SELECT name, setting FROM pg_file_settings WHERE sourcefile LIKE '%%/postgresql.auto.conf' AND name = ANY(%s)",
            [list(names)],
        )
    }


def configured(connection: Connection, name: str) -> str:
    """What a setting will be after the next restart, as the files say; the last one of them takes precedence."""
    found = rows(connection, "SELECT setting FROM pg_file_settings WHERE name = %s ORDER BY seqno DESC LIMIT 1", [name])
    return str(found[0]["setting"] or "") if found else ""


def apply(connection: Connection, changes: list[Change]) -> None:
    """ALTER SYSTEM, and a reload. Raises ServerError."""
    import psycopg2
    from psycopg2 import sql

    try:
        with connection.cursor() as cursor:
            for change in changes:
                name = sql.Identifier(change.name)
                if change.after is None:
                    cursor.execute(sql.SQL("ALTER SYSTEM RESET {}").format(name))
                else:
                    cursor.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(name, sql.Literal(change.after)))
            cursor.execute("SELECT pg_reload_conf()")
    except psycopg2.Error as exc:
        raise ServerError(f"The settings could not be changed: {' '.join(str(exc).split())}") from exc


def waiting_for_restart(connection: Connection) -> list[str]:
    """Settings that were changed and take effect at the next start."""
    return [row["name"] for row in rows(connection, "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name")]
