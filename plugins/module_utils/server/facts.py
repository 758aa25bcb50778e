# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to know of a server for its backups: identity, databases, and all that lies outside the dumps."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_IN_PLACE = (
    "SELECT spcname AS name FROM pg_tablespace WHERE pg_tablespace_location(oid) NOT LIKE '/%'"
    " AND pg_tablespace_location(oid) <> '' ORDER BY 1"
)


def rows(
    connection: Connection, sql: Any, values: Union[Sequence[Any], Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The rows of a query (a text, or one composed by psycopg2.sql) as dictionaries."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def quoted(*names: str) -> str:
    """An identifier, each part quoted. (psycopg2's own takes no names with bytes that are no UTF-8.)"""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def value(connection: Connection, sql: str, values: Sequence[Any] = ()) -> Any:
    """A query's first value; None without a row."""
    found = rows(connection, sql, values)
    return next(iter(found[0].values())) if found else None


def attempt(connection: Connection, sql: str, doubts: list[str], what: str) -> Optional[list[dict[str, Any]]]:
    """A query that a less privileged role may not be allowed; then None, and a word in ``doubts``."""
    import psycopg2

    try:
        return rows(connection, sql)
    except psycopg2.errors.InsufficientPrivilege as exc:
        doubts.append(f"{what} could not be recorded: {str(exc).splitlines()[0]}")
        return None


@dataclass(frozen=True)
class Identity:
    """Who a server is. ``system_id`` and ``timeline`` are None where the role may not read them."""

    version: str
    version_num: int
    system_id: Optional[str]
    timeline: Optional[int]
    in_recovery: bool
    superuser: bool
    role: str


def identify(connection: Connection) -> Identity:
    """A server's identity."""
    base = rows(
        connection,
        "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS num,"
        " pg_is_in_recovery() AS recovery, current_user AS role,"
        " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super,"
        " has_function_privilege('pg_control_system()', 'EXECUTE') AS control",
    )[0]
    system_id = timeline = None
    if base["control"]:
        system_id = str(value(connection, "SELECT system_identifier FROM pg_control_system()"))
        timeline = value(connection, "SELECT timeline_id FROM pg_control_checkpoint()")
    return Identity(
        base["version"].split(" ")[0], base["num"], system_id, timeline, base["recovery"], base["super"], base["role"]
    )


def current_lsn(connection: Connection) -> Optional[str]:
    """The write-ahead log's position: written on a primary, replayed on a standby."""
    sql = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text"
    found: Optional[str] = value(connection, f"SELECT {sql}")
    return found


DATABASES = """
SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
       d.datcollate AS "collate", d.datctype AS ctype, d.datconnlimit AS connection_limit,
       (to_jsonb(d) ->> 'datlocprovider') AS locale_provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       (to_jsonb(d) ->> 'daticurules') AS icu_rules,
       t.spcname AS tablespace, d.datacl::text[] AS acl, d.datallowconn AS allow_connections,
       d.datistemplate AS is_template, shobj_description(d.oid, 'pg_database') AS comment,
       has_database_privilege(d.oid, 'CONNECT') AS may_connect, d.oid::bigint AS oid,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) END AS size
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace ORDER BY d.datname
"""

SETTINGS = """
SELECT coalesce(d.datname, '') AS database, coalesce(r.rolname, '') AS role, s.setconfig AS settings
FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
ORDER BY 1, 2
"""


def databases(connection: Connection) -> list[dict[str, Any]]:
    """Every database with what ``CREATE DATABASE`` and ``ALTER DATABASE`` need, and its size in bytes."""
    found = rows(connection, DATABASES)
    settings = rows(connection, SETTINGS)
    for database in found:
        database["settings"] = [
            {"role": entry["role"] or None, "settings": entry["settings"]}
            for entry in settings
            if entry["database"] == database["name"]
        ]
    return found


def choose(found: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The databases of those names; without names all that are no templates and take connections.

    Raises:
        ServerError: one does not exist, or may not be connected to.
    """
    by_name = {database["name"]: database for database in found}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise ServerError(
            f"There is no database {', '.join(map(repr, missing))} on the server. It has: "
            f"{', '.join(repr(name) for name in by_name)}."
        )
    chosen = [
        database
        for database in found
        if (database["name"] in names if names else not database["is_template"] and database["allow_connections"])
    ]
    closed = [database["name"] for database in chosen if not database["may_connect"]]
    if closed:
        raise ServerError(
            f"The role may not connect to {', '.join(map(repr, closed))}. GRANT CONNECT ON DATABASE to it, or name the "
            "databases to be backed up by the option databases."
        )
    return chosen


_OUTSIDE = {
    "settings": "SELECT name, setting, unit, source, sourcefile, pending_restart FROM pg_settings"
    " WHERE source NOT IN ('default', 'override', 'client', 'session') ORDER BY name",
    "hba_rules": "SELECT * FROM pg_hba_file_rules",
    "replication_slots": "SELECT slot_name, plugin, slot_type, database, temporary, active,"
    " restart_lsn::text AS restart_lsn FROM pg_replication_slots ORDER BY slot_name",
    "tablespaces": "SELECT spcname AS name, pg_get_userbyid(spcowner) AS owner, pg_tablespace_location(oid) AS location,"
    " spcacl::text[] AS acl, spcoptions AS options FROM pg_tablespace ORDER BY spcname",
}

_SECRET = re.compile(r"((?:password|passwd|secret|token|key)\w*\s*[=:]\s*)('[^']*'|\S+)", re.IGNORECASE)


def outside(connection: Connection, secrets: bool, doubts: list[str]) -> dict[str, Any]:
    """What lies outside the dumps and a disaster needs. Without ``secrets``, what looks like one is left out of the
    settings' values. What the role may not read is None, with a word in ``doubts``."""
    result: dict[str, Any] = {"databases": databases(connection), "role_settings": rows(connection, SETTINGS)}
    for name, sql in _OUTSIDE.items():
        result[name] = attempt(connection, sql, doubts, name)
    for setting in result["settings"] or ():
        if not secrets and setting["setting"]:
            setting["setting"] = _SECRET.sub(r"\1***", setting["setting"])
    return result


EXTENSIONS = (
    "SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema"
    " FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1"
)

# Tables whose rows a dump holds: no views, nothing that belongs to an extension. ``root_…`` is the partitioned table that
# a partition belongs to.
TABLES = """
SELECT n.nspname AS schema, c.relname AS "table", c.relpersistence = 'u' AS unlogged,
       rn.nspname AS root_schema, r.relname AS root_table,
       has_table_privilege(c.oid, 'SELECT') AS readable,
       c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')) AS secured
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid) JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
""".replace("%%", "%")


def count_rows(connection: Connection, in_recovery: bool = False) -> list[dict[str, Any]]:
    """The exact number of rows of each table, as the connection's transaction sees them; partitions are counted to their
    root, as a row may come back in another one (hashes of enums depend on their oids).

    None where they cannot be counted: unlogged tables on a standby, tables that the role may not read in full.
    """
    counts: dict[tuple[str, str], Optional[int]] = {}
    sees_all = value(connection, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    for table in rows(connection, TABLES):
        root = (table["root_schema"], table["root_table"])
        readable = table["readable"] and (sees_all or not table["secured"])
        if not readable or (in_recovery and table["unlogged"]):
            counts[root] = None
        before = counts.setdefault(root, 0)
        if before is None:
            continue
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM ONLY {quoted(table['schema'], table['table'])}")
            counts[root] = before + cursor.fetchone()[0]  # type: ignore[index]
    return [{"schema": schema, "table": table, "rows": count} for (schema, table), count in sorted(counts.items())]


def unreadable(connection: Connection, identity: Identity) -> list[str]:
    """Tables that this role cannot dump in full: no SELECT, or row security that would hide rows."""
    if identity.superuser:
        return []
    bypass = value(connection, "SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user")
    return [
        f"{table['schema']}.{table['table']}"
        for table in rows(connection, TABLES)
        if not table["readable"] or (table["secured"] and not bypass)
    ]


def setting(connection: Connection, name: str) -> Optional[str]:
    """A setting as it is shown; None where the server does not know it, or this role may not see it (data_directory and archive_command
    are for superusers and pg_read_all_settings; asked for outright, they are an error, which ends a transaction)."""
    sql = "SELECT current_setting(%s, true) WHERE EXISTS (SELECT FROM pg_settings WHERE lower(name) = lower(%s))"
    found: Optional[str] = value(connection, sql, [name, name])
    return found


def wal_segment_size(connection: Connection) -> int:
    """Bytes of a WAL segment."""
    return int(value(connection, "SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'"))


class Slot:
    """A temporary physical replication slot, so that the server keeps its WAL from now on. Where none can be had, a word goes
    to ``doubts`` and the work goes on."""

    def __init__(self, connection: Connection, name: str, wanted: bool, doubts: list[str]) -> None:
        self._connection, self._name, self._wanted, self._doubts = connection, name, wanted, doubts

    def __enter__(self) -> Slot:
        import psycopg2

        if self._wanted:
            try:
                value(
                    self._connection, "SELECT pg_create_physical_replication_slot(%s, true, true)::text", [self._name]
                )
            except psycopg2.Error as exc:
                self._wanted = False
                message = str(exc).splitlines()[0]
                self._doubts.append(f"No slot keeps the WAL while it is copied ({message}); wal_keep_size has to.")
        return self

    def __exit__(self, *exc: object) -> None:
        import psycopg2

        if self._wanted:
            with contextlib.suppress(psycopg2.Error):  # it is gone with the connection at the latest
                value(self._connection, "SELECT pg_drop_replication_slot(%s)::text", [self._name])


def slots(connection: Connection) -> list[dict[str, Any]]:
    """Replication slots and the bytes of WAL that each holds back. ``wal_status`` is PostgreSQL's word (lost: what reads from the
    slot has to begin anew); ``safe_wal_size`` the bytes until it is (None: no limit is set)."""
    return rows(
        connection,
        "SELECT slot_name AS name, slot_type AS kind, active, wal_status, safe_wal_size::bigint AS safe_wal_size,"
        " pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,"
        "  restart_lsn)::bigint AS held_bytes"
        " FROM pg_replication_slots ORDER BY slot_name",
    )


def refuse_in_place(connection: Connection, version_num: int) -> None:
    """Tablespaces that are directories of the data directory (allow_in_place_tablespaces) are left out by pg_basebackup up to 15, without a word.

    Raises:
        ServerError: there is one, and the copy would lack it.
    """
    names = [row["name"] for row in rows(connection, _IN_PLACE)] if version_num < 160000 else []
    if names:
        raise ServerError(
            f"The tablespace{'s' if len(names) > 1 else ''} {', '.join(names)} lie in the data directory (allow_in_place_tablespaces), and "
            "pg_basebackup of PostgreSQL 15 leaves what is in them out: no copy would start. Move their tables elsewhere (ALTER TABLE … SET "
            "TABLESPACE) and drop them; from 16 on they are copied."
        )
