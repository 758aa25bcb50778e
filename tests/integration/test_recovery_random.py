# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random recoveries: settings × layouts × what happened between the backup and the target × targets, each with isolation and landing looked at.

A seed makes a server, a history and its targets; what must be there comes from the server itself, asked at that moment. HOLDFAST_RECOVERIES says how many
seeds are tried (4 by default), HOLDFAST_RECOVERY_SEED with which one they begin. Seeds that broke something are kept in KEPT and tried first.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok, refused
from lab.recoveries import SETTINGS, Archived
from lab.restored import Restored
from lab.servers import Server

pytestmark = pytest.mark.extended

KEPT: tuple[int, ...] = ()
COUNT = int(os.environ.get("HOLDFAST_RECOVERIES", "4"))
FIRST = int(os.environ.get("HOLDFAST_RECOVERY_SEED", "20261125"))
TARGETS = 3

CONFIGURED: tuple[dict[str, str], ...] = (
    {},
    {"archive_cleanup_command": "touch {directory}/reached", "recovery_end_command": "touch {directory}/reached"},
    {"recovery_target_name": "left over", "recovery_min_apply_delay": "30min"},
    {"recovery_target_lsn": "0/1", "synchronous_commit": "off"},
    {"hot_standby": "off", "full_page_writes": "on", "wal_compression": "on"},
    {"external_pid_file": "{directory}/reached", "log_directory": "{directory}"},
)


@dataclass(frozen=True)
class Moment:
    """What there was at a position: rows by database, and the tablespaces' number."""

    lsn: str
    rows: dict[str, int]
    spaces: int
    happened: tuple[str, ...]


def moment(server: Server, happened: list[str]) -> Moment:
    rows = {}
    for name in server.databases():
        server.psql("CREATE TABLE IF NOT EXISTS ledger (n int)", db=name)
        rows[name] = int(server.query("SELECT count(*) FROM ledger", db=name)[0][0])
    lsn = str(server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0])
    spaces = int(server.query("SELECT count(*) FROM pg_tablespace")[0][0])
    server.psql("CREATE TABLE IF NOT EXISTS mark (n int); INSERT INTO mark VALUES (1)")
    return Moment(lsn, rows, spaces, tuple(happened))


def happenings(server: Server, chance: random.Random, number: int) -> list[tuple[str, Callable[[], Any]]]:
    """What may happen next; each with a name that tells of it."""
    strategy = f"STRATEGY {chance.choice(['wal_log', 'file_copy'])}"
    others = [name for name in server.databases() if name.startswith("other")]
    return [
        ("insert", lambda: server.psql(f"INSERT INTO ledger SELECT generate_series(1, {chance.randint(1, 500)})")),
        ("truncate", lambda: server.psql("TRUNCATE ledger; INSERT INTO ledger VALUES (1)")),
        ("create database", lambda: server.psql(f"CREATE DATABASE other{number} {strategy}")),
        ("drop database", lambda: [server.psql(f"DROP DATABASE {chance.choice(others)}")] if others else None),
        ("unlogged", lambda: server.psql(f"CREATE UNLOGGED TABLE u{number} AS SELECT generate_series(1, 100) AS n")),
        ("prepared", lambda: server.psql(f"BEGIN; CREATE TABLE p{number} (n int); PREPARE TRANSACTION 'p{number}'")),
        ("rewrite", lambda: server.psql("VACUUM FULL ledger; REINDEX TABLE ledger; CHECKPOINT")),
        (
            "settings",
            lambda: server.psql(
                "ALTER DATABASE postgres SET statement_timeout = '1ms'; ALTER DATABASE postgres RESET ALL"
            ),
        ),
        ("switch", lambda: server.psql("SELECT pg_switch_wal()")),
        ("create tablespace", lambda: made_late(server, number)),
    ]


def made_late(server: Server, number: int) -> None:
    """A tablespace that no backup has: replaying makes it where the live server has it, so that no clone beside that one can have it."""
    server.psql(f"CREATE TABLESPACE late{number} LOCATION '{server.server_directory(f'late{number}')}'")
    server.psql(f"CREATE TABLE in_late{number} TABLESPACE late{number} AS SELECT generate_series(1, 100) AS n")
    server.psql(f"VACUUM FREEZE in_late{number}")


@pytest.mark.parametrize("seed", [*KEPT, *range(FIRST, FIRST + COUNT)])
def test_random_recoveries(server_factory: Callable[..., Server], seed: int) -> None:
    chance = random.Random(seed)
    major = chance.choice([15, 16, 18])
    server = server_factory(
        major, settings={**SETTINGS, "max_prepared_transactions": "10"}, initdb=("--wal-segsize=1",)
    )
    configured = chance.choice(CONFIGURED)
    directory = server.server_directory("outside")
    with (server.data / "postgresql.conf").open("a") as stream:
        for name, value in configured.items():
            stream.write(f"{name} = '{value.format(directory=directory)}'\n")
    elsewhere = chance.random() < 0.5
    if elsewhere:
        server.psql(f"CREATE TABLESPACE away LOCATION '{server.server_directory('away')}'")
    server.psql("CREATE TABLE ledger (n int)")
    archived = Archived.of(server)
    if chance.random() < 0.3:
        server.psql("INSERT INTO ledger SELECT generate_series(1, 100)")
        archived.back_up(include_wal=chance.random() < 0.5)
    happened: list[str] = []
    moments = []
    for number in range(chance.randint(4, 8)):
        name, happen = chance.choice(happenings(server, chance, number))
        happen()
        happened.append(name)
        moments.append(moment(server, happened))
    archived.archive()
    # What the live server has yet to write or to send, by the clock, it does now, or never.
    server.psql("ALTER SYSTEM SET archive_timeout = 0")
    server.psql("SELECT pg_reload_conf()")
    archived.archive()
    server.psql("CHECKPOINT")
    before = {path: path.read_bytes() for path in outside(server, directory)}
    for number in range(TARGETS):
        wanted = chance.choice(moments)
        target = {"lsn": wanted.lsn, "inclusive": False, "action": chance.choice(["promote", "promote", "pause"])}
        away = server.directory / f"clone away {number}"
        mapped = {"away": str(away)} if elsewhere else {}
        context = f"seed {seed}: PostgreSQL {major}, {configured}, {wanted.happened}, {target}"
        with Restored(server, f"clone {number}", besides=[away]) as new:
            if "create tablespace" in wanted.happened:
                refused(
                    archived.recover(new, target, tablespace_locations=mapped),
                    "CREATE TABLESPACE",
                    "Nothing was touched",
                )
                assert (
                    not new.data.exists() and {path: path.read_bytes() for path in outside(server, directory)} == before
                ), context
                continue
            done = ok(archived.recover(new, target, tablespace_locations=mapped))
            assert set(new.databases()) == set(wanted.rows), context
            for name, rows in wanted.rows.items():
                assert new.query("SELECT count(*) FROM ledger", db=name) == [(rows,)], context
            assert int(new.query("SELECT count(*) FROM pg_tablespace")[0][0]) == wanted.spaces, context
            assert done["proof"]["proven"] and not done["proof"]["lost"], context
            assert new.query("SHOW archive_mode") == [("off",)], context
            if target["action"] == "promote":
                new.psql("INSERT INTO ledger VALUES (0)")
        after = {path: path.read_bytes() for path in outside(server, directory)}
        assert after == before, context
        assert server.query("SELECT count(*) > 0 FROM mark") == [(True,)], context


def outside(server: Server, directory: Path) -> list[Path]:
    """What no clone may touch: the archive, and what the live server's configuration points to."""
    return sorted(
        path
        for folder in (server.directory / "repository", directory, *server.directory.glob("late*"))
        for path in folder.rglob("*")
        if path.is_file()
    )
