# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked at in a scratch server: each look is a ``Check``. One that fails says what and where; one that cannot be made says why."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks import database
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import Connect
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.findings import Check
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import PrivateServer
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as

# What a database or a role may set for everybody would end a check half-way.
_FREE = "-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0"
_NAMED = 10  # of many things, so many are named
_DATABASES = """
SELECT datname AS name FROM pg_database WHERE datallowconn AND datconnlimit <> -2 AND NOT datistemplate
ORDER BY datconnlimit = 0, pg_database_size(oid) DESC, 1
"""
# Functions in C, and languages, name a file each. Source: https://www.postgresql.org/docs/current/sql-createfunction.html
_LIBRARIES = """
SELECT DISTINCT p.probin AS library, coalesce((SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
       WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
       AND d.refclassid = 'pg_extension'::regclass LIMIT 1), '') AS extension
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname = 'c' AND p.probin IS NOT NULL ORDER BY 1
"""
_COLLATIONS = """
SELECT collname AS name, collversion AS built, pg_collation_actual_version(oid) AS here FROM pg_collation
WHERE collversion IS NOT NULL AND collversion IS DISTINCT FROM pg_collation_actual_version(oid) ORDER BY 1
"""


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._began, 3)


@dataclass
class Looked:
    """What was found beside the checks. ``environment`` is for the evidence, ``notes`` are sentences."""

    checks: list[Check] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=lambda: {"extensions": [], "collations": []})
    notes: list[str] = field(default_factory=list)


def user_databases(connect: Connect, database: str) -> list[str]:
    """Databases that take connections, the largest first; those that take none of ordinary roles come last."""
    with connect(database) as connection:
        return [str(row["name"]) for row in facts.rows(connection, _DATABASES)]


def first_write(server: PrivateServer, database: str) -> Check:
    """A transaction of an ordinary role: the server serves. Raises psycopg2.Error: it does not."""
    import psycopg2
    from psycopg2 import sql

    watch, name = Stopwatch(), f"holdfast_drill_{secrets.token_hex(4)}"
    role, table = sql.Identifier(name), sql.Identifier(name, "written")
    with server.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        cursor.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(role, role))
        cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), role))
    found = None
    connection = psycopg2.connect(host=server.socket_directory, port=server.port, user=name, dbname=database)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute("SET transaction_read_only = off")
            cursor.execute(sql.SQL("CREATE TABLE {} (n int)").format(table))
            cursor.execute(sql.SQL("INSERT INTO {} VALUES (1)").format(table))
        with connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT n FROM {}").format(table))
            found = cursor.fetchone()
    finally:
        connection.close()
    with server.connect(database) as superuser, superuser.cursor() as cursor:
        cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(role))
        cursor.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(sql.Identifier(database), role))
        cursor.execute(sql.SQL("DROP ROLE {}").format(role))
    ok = found == (1,)
    return Check(
        "write", database, "a row of an ordinary role, committed", "read back" if ok else "not there", ok, watch.seconds
    )


def look_into(
    connect: Connect,
    databases: Sequence[str],
    expected: Mapping[str, Mapping[str, Any]],
    deadline: float,
    libraries_in: str,
) -> Looked:
    """Rows, sequences, invalid objects, extensions, libraries and collations of each database. ``expected``: what the backup recorded of each
    (``tables``, ``extensions``); ``deadline``: by ``time.monotonic``, when reading all of it has to have ended; ``libraries_in``: where the
    server's own libraries lie."""
    found = Looked()
    for name in databases:
        recorded = expected.get(name) or {}
        with connect(name) as connection:
            _rows(connection, name, recorded.get("tables"), deadline, found)
            _objects(connection, name, found)
            _extensions(connection, name, recorded.get("extensions"), found)
            _libraries(connection, name, libraries_in, found)
            found.environment["collations"] += [
                {"database": name, **row} for row in facts.rows(connection, _COLLATIONS)
            ]
    found.notes += [
        f"The collation {row['name']} of {row['database']!r} was of version {row['built']}, and this host has {row['here'] or 'none'}: indexes over "
        "texts may have to be rebuilt (REINDEX) where a backup is restored on such a host."
        for row in found.environment["collations"]
    ]
    return found


def _rows(connection: Any, name: str, recorded: Optional[list[dict[str, Any]]], deadline: float, found: Looked) -> None:
    """Every row of every table is read, and counted."""
    import psycopg2

    watch = Stopwatch()
    left = deadline - time.monotonic()
    if left <= 0:
        found.checks.append(
            Check("rows", name, None, None, None, 0.0, "there was no time left (check_time): no table of it was read.")
        )
        return
    try:
        facts.value(connection, "SELECT set_config('statement_timeout', %s, false)", [str(max(int(left * 1000), 1))])
        counted = facts.count_rows(connection)
        facts.value(connection, "SELECT set_config('statement_timeout', '0', false)")
    except psycopg2.Error as exc:
        late = exc.pgcode == "57014"
        told = "the tables were not read to the end in time (check_time)." if late else _plain(exc)
        found.checks.append(Check("rows", name, None, None, None if late else False, watch.seconds, told))
        return
    total = sum(row["rows"] or 0 for row in counted)
    shown = f"{total} rows in {len(counted)} tables"
    if recorded is None:
        found.checks.append(
            Check(
                "rows",
                name,
                None,
                shown,
                True,
                watch.seconds,
                "all were read; this kind of backup records no numbers to compare with.",
            )
        )
        return
    compared = database.compare_rows(counted, recorded)
    wrong = "; ".join(compared.differ[:_NAMED])
    detail = wrong or "; ".join(compared.not_compared[:_NAMED]) or None
    sums = sum(row["rows"] or 0 for row in recorded)
    ok: Optional[bool] = not compared.differ
    found.checks.append(Check("rows", name, f"{sums} rows in {len(recorded)} tables", shown, ok, watch.seconds, detail))


def _objects(connection: Any, name: str, found: Looked) -> None:
    """What the server that was backed up may have had too is to be known, and speaks not against the backup."""
    watch, doubts = Stopwatch(), list[str]()
    invalid, behind = database.invalid(connection), database.sequences_behind(connection, False, doubts)
    empty = database.unpopulated(connection)
    for check, things in (("invalid objects", invalid), ("sequences", behind)):
        told = "; ".join(things[:_NAMED]) or None
        found.checks.append(
            Check(
                check,
                name,
                "none" if check == "invalid objects" else "none behind",
                len(things),
                True,
                watch.seconds,
                told,
            )
        )
    found.notes += [f"{name!r}: {thing}" for thing in [*invalid[:_NAMED], *behind[:_NAMED], *doubts[:_NAMED]]]
    found.notes += [f"{name!r}: the materialized view {view} has no data." for view in empty[:_NAMED]]


def _extensions(connection: Any, name: str, recorded: Optional[Sequence[dict[str, Any]]], found: Looked) -> None:
    watch = Stopwatch()
    there = facts.rows(connection, facts.EXTENSIONS)
    found.environment["extensions"] += [
        {"database": name, "name": row["name"], "version": row["version"]} for row in there
    ]
    if recorded is None:
        return
    differences = database.compare_extensions(connection, recorded)
    missing = [text for text in differences if text.endswith("is missing")]
    found.checks.append(
        Check("extensions", name, len(recorded), len(there), not missing, watch.seconds, "; ".join(differences) or None)
    )


def _libraries(connection: Any, name: str, pkglibdir: str, found: Looked) -> None:
    """Functions whose library is not on this host fail when they are called, and not before."""
    watch = Stopwatch()
    rows = facts.rows(connection, _LIBRARIES)
    gone = [row for row in rows if not library_is_there(str(row["library"]), pkglibdir)]
    if not rows:
        return
    told = "; ".join(
        f"the library {row['library']} is not on this host"
        + (f" (of the extension {row['extension']})" if row["extension"] else "")
        for row in gone[:_NAMED]
    )
    way_out = f"{told}: install its package for this version of PostgreSQL." if told else None
    found.checks.append(Check("libraries", name, len(rows), len(rows) - len(gone), not gone, watch.seconds, way_out))


def library_is_there(library: str, pkglibdir: str) -> bool:
    """Whether a library that a function names lies where the server looks for it. Source:
    https://www.postgresql.org/docs/current/xfunc-c.html#XFUNC-C-DYNLOAD"""
    path = library.replace("$libdir", pkglibdir)
    path = path if os.path.isabs(path) else os.path.join(pkglibdir, path)
    return any(os.path.exists(candidate) for candidate in (path, f"{path}.so"))


def pkglibdir(server: PrivateServer) -> str:
    """Where the server's own libraries lie."""
    with server.connect(server.database) as connection:
        return str(facts.value(connection, "SELECT setting FROM pg_config() WHERE name = 'PKGLIBDIR'"))


def amcheck(
    server: PrivateServer, instance: Instance, databases: Sequence[str], level: str, seconds: float, jobs: int
) -> Check:
    """Heap and indexes of these databases by pg_amcheck. ``level``: quick, heapallindexed, or parent, as its options are called."""
    watch, scope = Stopwatch(), f"{len(databases)} databases ({level})"

    def undone(why: str) -> Check:
        return Check("pg_amcheck", scope, "no corruption", None, None, watch.seconds, why)

    if seconds <= 1:
        return undone("there was no time left (check_time).")
    try:
        program = instance.program("pg_amcheck")
    except ToolError as exc:
        return undone(f"{exc} (It is there from PostgreSQL 14 on.)")
    with server.connect(server.database) as connection:
        if not facts.value(connection, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck')"):
            return undone("the extension amcheck is not on this host: install PostgreSQL's contrib package.")
    argv = [
        program,
        "--install-missing",
        *(f"--database={_pattern(name)}" for name in databases),
        f"--jobs={jobs}",
        f"--host={server.socket_directory}",
        f"--port={server.port}",
    ]
    argv += [f"--username={server.user}", "--no-password", f"--maintenance-db={server.database}"]
    argv += {"heapallindexed": ["--heapallindexed"], "parent": ["--heapallindexed", "--parent-check"]}.get(level, [])
    try:
        done = run_as(instance.owner, argv, {"PGOPTIONS": _FREE}, timeout=seconds)
    except ToolError as exc:
        return undone(f"{exc} Give it more time by check_time, or check less by amcheck.")
    text = " ".join(done.stdout.split())
    if done.returncode == 0:
        return Check("pg_amcheck", scope, "no corruption", "none", True, watch.seconds)
    if done.returncode == 2:
        return Check("pg_amcheck", scope, "no corruption", "corruption", False, watch.seconds, text[:2000])
    return undone(f"pg_amcheck failed with exit code {done.returncode}: {text[-1000:]}")


def _pattern(name: str) -> str:
    """A pattern that one name alone matches. Source: https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS"""
    return '"' + name.replace('"', '""') + '"'


def checksums(instance: Instance) -> Optional[Check]:
    """The checksums of all pages, of a server that does not run; None: it has none."""
    watch = Stopwatch()
    if instance.control().get("Data page checksum version") == "0":
        return None
    try:
        done = run_as(instance.owner, [instance.program("pg_checksums"), "--check", "--pgdata", instance.directory])
    except ToolError as exc:
        return Check("data checksums", "all files", "no bad page", None, None, watch.seconds, str(exc))
    text = done.stdout
    pages = re.search(r"Blocks scanned: +(\d+)", text)
    bad = [line for line in text.splitlines() if "checksum verification failed" in line]
    shown = f"{len(bad)} of {pages[1]} pages" if pages else "not told"
    if done.returncode == 0:
        return Check("data checksums", "all files", "no bad page", shown, True, watch.seconds)
    told = "; ".join(bad[:_NAMED]) or " ".join(text.split())[-1000:]
    return Check("data checksums", "all files", "no bad page", shown, False if bad else None, watch.seconds, told)


def _plain(exc: Exception) -> str:
    return " ".join(str(exc).split())
