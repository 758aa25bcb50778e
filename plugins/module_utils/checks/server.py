# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The landing of a whole server: where its recovery ended, every database connectable, the file of every relation there."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.coverage import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import LATEST, LSN, TIME, Target

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_TOLD = 5  # of many files that are missing, so many are named
_GIGABYTE = 1 << 30

_DATABASES = "SELECT datname AS name, datallowconn AS open, datconnlimit = -2 AS invalid, oid::bigint AS oid FROM pg_database ORDER BY 1"
# Another C library, or another version of it, may sort texts otherwise than the indexes that were restored.
# Source: https://www.postgresql.org/docs/current/sql-altercollation.html#SQL-ALTERCOLLATION-NOTES
_COLLATIONS = """
SELECT datname AS name, datcollversion AS built, pg_database_collation_actual_version(oid) AS here FROM pg_database
WHERE datallowconn AND datcollversion IS NOT NULL AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
ORDER BY 1
"""
# (Temporary tables of sessions long gone may lack their files; views, partitioned tables and foreign tables have none.)
_RELATIONS = """
SELECT pg_relation_filepath(c.oid) AS path, c.oid::regclass::text AS name, c.relpersistence = 'u' AS unlogged
FROM pg_class c WHERE c.relkind IN ('r', 'i', 'S', 't', 'm') AND c.relpersistence <> 't'
"""

Connect = Callable[[str], "contextlib.AbstractContextManager[Connection]"]


def server_is_whole(connect: Connect, database: str, directory: str, in_recovery: bool) -> Proof:
    """Connect to every database, and look for every file that its catalogue speaks of. ``connect`` is asked by the database's name;
    ``database`` is one that takes connections. Unlogged tables have no content while a server recovers."""
    import psycopg2

    proof = Proof()
    with connect(database) as connection:
        databases = facts.rows(connection, _DATABASES)
        if connection.server_version >= 150000:
            proof.unproven += [
                f"The indexes over texts of the database {row['name']!r} were sorted by version {row['built']} of its collation, and this "
                f"host has {row['here'] or 'none'}: they may miss rows. REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION."
                for row in facts.rows(connection, _COLLATIONS)
            ]
    relations, reached = 0, []
    for row in databases:
        name = row["name"]
        if row["invalid"]:
            proof.lost.append(
                f"The database {name!r} is invalid: a DROP DATABASE of it was begun and not finished at that moment, so that nobody can "
                "connect to it. Drop it, or recover to an earlier moment."
            )
            continue
        if not row["open"]:
            if not os.path.isdir(os.path.join(directory, "base", str(row["oid"]))) and name == "template0":
                proof.missing.append("The directory of the database 'template0' is missing.")
            continue
        try:
            with connect(name) as connection:
                relations += _files(connection, directory, name, in_recovery, proof)
            reached.append(name)
        except psycopg2.Error as exc:
            proof.missing.append(f"The database {name!r} cannot be connected to: {' '.join(str(exc).split())}.")
    if not proof.missing:
        proof.proven.append(
            f"Every database takes connections ({', '.join(map(repr, reached))}), and the files of their {relations} relations are there."
        )
    return proof


def _files(connection: Connection, directory: str, database: str, in_recovery: bool, proof: Proof) -> int:
    """How many relations were looked for; those without their files go to ``proof.missing``."""
    rows = facts.rows(connection, _RELATIONS)
    gone = missing_files([row for row in rows if not (in_recovery and row["unlogged"])], directory)
    if gone:
        more = f" and {len(gone) - _TOLD} more" if len(gone) > _TOLD else ""
        proof.missing.append(
            f"In the database {database!r} files are missing: {'; '.join(gone[:_TOLD])}{more}. Use another backup (backup_id)."
        )
    return len(rows)


def missing_files(relations: Iterable[dict[str, Any]], directory: str) -> list[str]:
    """Relations (``path`` below the directory, ``name``) without a file, or with a gap between two files of a gigabyte each; sentences."""
    known: dict[str, dict[str, list[int]]] = {}
    gone = []
    for row in relations:
        folder, file = os.path.split(os.path.join(directory, row["path"]))
        if folder not in known:
            known[folder] = _segments(folder)
        parts = known[folder].get(file, [])
        if not parts:
            gone.append(f"{row['name']} has no file {row['path']}")
        elif parts != list(range(len(parts))):
            gone.append(f"{row['name']} lacks a part between {row['path']} and {row['path']}.{parts[-1]}")
    return gone


def _segments(folder: str) -> dict[str, list[int]]:
    """The numbers of each relation's files in a folder, ascending: 0 is the one without a number."""
    found: dict[str, list[int]] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            match = re.fullmatch(r"(\d+)(?:\.(\d+))?", name)
            if match:
                found.setdefault(match[1], []).append(int(match[2] or 0))
    return {name: sorted(numbers) for name, numbers in found.items()}


def where_it_landed(
    lsn: Optional[str], commit_time: Optional[str], target: Target, runs: Sequence[Run], archive: Archive
) -> Proof:
    """Whether a recovery ended where it was to. ``lsn``: the end of what was replayed; ``commit_time``: of the last transaction. A
    restore_command that fails looks to PostgreSQL like the end of the archive: it stops there, and says that all is well. Pure."""
    proof = Proof()
    reached = Lsn.parse(lsn, "lsn") if lsn else None
    if target.kind == TIME and commit_time is None:
        proof.unproven.append(
            f"That it stopped at {target.describe()} was not compared with anything: the server knows of no transaction that it replayed."
        )
    if target.kind == TIME and target.time is not None and commit_time:
        last = parse_time(commit_time, "commit_time")
        if last > target.time:
            proof.missing.append(f"The last transaction is of {commit_time}, after the target {target.describe()}.")
        else:
            proof.proven.append(f"The last transaction is of {commit_time}, not after {target.describe()}.")
    if target.kind == LSN and target.lsn is not None and reached is not None:
        # Between the end of the last record and the target there may be nothing but a page's header.
        if not target.inclusive:
            proof.proven.append(f"It replayed up to {reached}, and not what begins at {target.lsn}.")
        elif reached < target.lsn:
            proof.missing.append(f"It replayed up to {reached}, and the target is {target.lsn}.")
        else:
            proof.proven.append(f"It replayed up to {reached}, past the target {target.lsn}.")
    if target.kind == LATEST and not runs:
        proof.unproven.append("How far it should have come is not known: no archived WAL was found to compare with.")
    if target.kind == LATEST and runs:
        last_run = runs[-1]
        end = archive.size.start(Segment(last_run.timeline, last_run.last))
        name = archive.size.name(Segment(last_run.timeline, last_run.last))
        commits = [commit for commit in archive.commits if commit.timeline == last_run.timeline]
        newest = max((commit.lsn for commit in commits), default=Lsn(0))
        if reached is None:
            proof.unproven.append("How far it replayed is not known.")
        elif reached < end or reached <= newest:
            proof.missing.append(
                f"It replayed up to {reached} only, and the archive goes on to {name}"
                + (f", with a commit at {newest}" if newest >= reached else "")
                + ": a segment between could not be fetched, or is damaged. The words of the restore_command are in the server's log."
            )
        else:
            proof.proven.append(f"It replayed up to {reached}, the end of what is archived ({name}).")
    if target.kind not in (TIME, LSN, LATEST):
        proof.unproven.append(
            f"That it stopped at {target.describe()} is the server's own word: it fails where it does not get there, and nothing else was looked at."
        )
    if reached is None and target.kind != LATEST:
        proof.unproven.append("Where it stopped is known by the server's log alone.")
    return proof
