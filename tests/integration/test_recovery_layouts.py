# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server's files lie is where they lie afterwards, on the disks where they were.

The kind: a link becomes a directory on the wrong disk. Members that were tried: a data directory, pg_wal and a tablespace that are links; all three at
once; a path with quotes and dollars; hot_standby off with pause; a tablespace that is dropped, or dropped and made anew in the same place, between
the backup and the target; disks that are full, each by itself (CASES 2.12, 2.13, 2.14).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import fault
from lab.answers import ok, refused
from lab.playbooks import run_module
from lab.recoveries import SETTINGS, Archived
from lab.restored import Restored
from lab.servers import Server

SMALL = ("--wal-segsize=1",)


def moved(path: Path, disk: Path) -> Path:
    """Move a directory to another disk, and leave a link."""
    target = disk / path.name
    path.rename(target)
    path.symlink_to(target)
    return target


@pytest.mark.extended
def test_links_stay_links(server_factory: Callable[..., Server]) -> None:
    server = server_factory(16, settings=SETTINGS, initdb=SMALL, start=False)
    disk = server.server_directory("disk")
    wal = moved(server.data / "pg_wal", disk)
    data = moved(server.data, disk)
    server.start()
    space = server.server_directory("space on disk")
    link = server.directory / "linked space"
    link.symlink_to(space)
    server.psql(f"CREATE TABLESPACE away LOCATION '{link}'")
    server.psql("CREATE TABLE far TABLESPACE away AS SELECT 'old' AS x")
    archived = Archived.of(server)
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("UPDATE far SET x = 'new'")
    archived.archive()
    target = {"lsn": lsn, "inclusive": False}
    done = ok(archived.in_place(target))
    assert server.query("SELECT x FROM far") == [("old",)]
    assert server.data.is_symlink() and server.data.resolve() == data
    assert (server.data / "pg_wal").is_symlink() and (server.data / "pg_wal").resolve() == wal
    assert link.is_symlink() and next((server.data / "pg_tblspc").iterdir()).readlink() == link
    kept = {Path(path).parent.name + "/" + Path(path).name.split(".before-")[0] for path in done["recovery"]["kept"]}
    assert kept == {"disk/data", "disk/pg_wal", f"{server.directory.name}/space on disk"}
    aside = next(Path(path) for path in done["recovery"]["kept"] if "/data.before-" in path)
    assert (aside / "pg_wal").resolve().name.startswith("pg_wal.before-")
    # A failure brings all of it back.
    server.psql("UPDATE far SET x = 'newer'")
    refused(archived.in_place(target, settings={"shared_preload_libraries": "not_there"}), "runs again")
    assert server.query("SELECT x FROM far") == [("newer",)] and (server.data / "pg_wal").resolve() == wal


@pytest.mark.extended
def test_a_path_that_a_shell_would_read(server_factory: Callable[..., Server]) -> None:
    archived = Archived.of(server_factory(16, settings=SETTINGS, initdb=SMALL))
    for name in ('a "quoted" name', "a $none name", "back`tick", "it's"):
        with Restored(archived.server, name) as new:
            ok(archived.recover(new, {"immediate": True}))
            assert new.query("SHOW data_directory") == [(str(new.data),)]
            new._as_server("pg_ctl", "-D", str(new.data), "-m", "immediate", "stop")


def test_a_pause_where_hot_standby_is_off(server_factory: Callable[..., Server]) -> None:
    archived = Archived.of(server_factory(16, settings={**SETTINGS, "hot_standby": "off"}, initdb=SMALL))
    with Restored(archived.server, "paused") as new:
        done = ok(archived.recover(new, {"immediate": True, "action": "pause"}))
        assert new.query("SELECT pg_is_in_recovery()") == [(True,)]
        assert "hot_standby" in {row["what"] for row in done["recovery"]["isolated"]}


@pytest.mark.extended
def test_tablespaces_that_go_and_come_back(server_factory: Callable[..., Server]) -> None:
    """Dropped before the target, one of them made anew in the same directory: what is there afterwards is what the catalogue knows."""
    server = server_factory(16, settings=SETTINGS, initdb=SMALL)
    gone, again = server.server_directory("gone"), server.server_directory("again")
    server.psql(f"CREATE TABLESPACE gone LOCATION '{gone}'")
    server.psql(f"CREATE TABLESPACE again LOCATION '{again}'")
    archived = Archived.of(server)
    server.psql("DROP TABLESPACE gone")
    server.psql("DROP TABLESPACE again")
    server.psql(f"CREATE TABLESPACE again LOCATION '{again}'")
    server.psql("CREATE TABLE far TABLESPACE again AS SELECT 'old' AS x")
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("UPDATE far SET x = 'new'")
    archived.archive()
    ok(archived.in_place({"lsn": lsn, "inclusive": False}))
    assert server.query("SELECT x FROM far") == [("old",)]
    assert [path.resolve() for path in (server.data / "pg_tblspc").iterdir()] == [again]
    assert not list(server.directory.glob("*.holdfast-restore*"))


@pytest.mark.extended
def test_each_disk_has_to_have_room(server_factory: Callable[..., Server]) -> None:
    if not fault.can_mount():
        pytest.skip("no file systems can be mounted here")
    server = server_factory(16, settings=SETTINGS, initdb=SMALL)
    space = server.server_directory("space")
    server.psql(f"CREATE TABLESPACE away LOCATION '{space}'")
    server.psql("CREATE TABLE far TABLESPACE away AS SELECT repeat('x', 1000) FROM generate_series(1, 30000)")
    archived = Archived.of(server)
    small = server.directory / "small"
    with fault.small_filesystem(small, "16m"):
        shutil.chown(small, server.owner)
        wanted = {"away": str(small / "away")}
        with Restored(server, "full") as new:
            for check in (True, False):
                refused(
                    archived.recover(new, {"immediate": True}, check=check, tablespace_locations=wanted),
                    f"the disk of {small}", "are needed for its tablespace", "Nothing was touched",
                )  # fmt: skip
            assert not new.data.exists()
    small.rmdir()


def test_a_tablespace_inside_the_data_directory(server_factory: Callable[..., Server]) -> None:
    """PostgreSQL only warns of it. The copy had it twice, or none, and a clone of it wrote into the live server's."""
    server = server_factory(15, settings=SETTINGS, initdb=SMALL)
    inner = server.data / "inner"
    inner.mkdir()
    shutil.chown(inner, server.owner)
    inner.chmod(0o700)
    server.psql(f"CREATE TABLESPACE inside LOCATION '{inner}'")
    server.psql("CREATE TABLE far TABLESPACE inside AS SELECT 'old' AS x")
    archived = Archived.of(server, back_up=False)
    made = run_module("pg_backup", {**server.login(), **archived.options, "engine": "pg_basebackup"})
    if made.failed:
        assert "inside the data directory" in made.msg and str(inner) in made.msg, made.msg
        return
    archived.archive()
    with Restored(server, "beside", besides=[server.directory / "elsewhere"]) as new:
        ok(archived.recover(new, tablespace_locations={"inside": str(server.directory / "elsewhere")}))
        new.psql("UPDATE far SET x = 'new'; CHECKPOINT")
        assert server.query("SELECT x FROM far") == [("old",)]


@pytest.mark.extended
@pytest.mark.parametrize("major", [15, 16, 18])
def test_a_tablespace_that_is_a_directory_of_the_data_directory(
    server_factory: Callable[..., Server], major: int
) -> None:
    """allow_in_place_tablespaces: its location is a relative path, which was taken for one below whatever directory a run was in; up to 15
    pg_basebackup leaves it out, and a backup that cannot start was ok. And a link that is relative, as people make them. Cloned, recovered in
    place, a chain, and another one that WAL makes."""
    settings = {**SETTINGS, "allow_in_place_tablespaces": "on", **({"summarize_wal": "on"} if major > 16 else {})}
    server = server_factory(major, settings=settings, initdb=("--wal-segsize=1",))
    space = server.server_directory("space")
    server.psql(f"CREATE TABLESPACE away LOCATION '{space}'")
    server.psql("CREATE TABLE far TABLESPACE away AS SELECT 1 AS x")
    archived = Archived.of(server, back_up=False)
    server.psql("CREATE TABLESPACE inner1 LOCATION ''")
    server.psql("CREATE TABLE t TABLESPACE inner1 AS SELECT 1 AS x")
    if major < 16:
        wanted = {**server.login(), **archived.options, "engine": "pg_basebackup"}
        for check in (True, False):
            refused(run_module("pg_backup", wanted, check=check), "inner1", "SET TABLESPACE")
        return
    archived.back_up()
    if major > 16:
        server.psql("INSERT INTO t SELECT 1 FROM generate_series(1, 5); DELETE FROM t WHERE ctid <> '(0,1)'")
        archived.back_up(kind="incremental")
    server.psql("CREATE TABLESPACE inner2 LOCATION ''")
    server.psql("CREATE TABLE u TABLESPACE inner2 AS SELECT 1 AS x")
    lsn = server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    server.psql("UPDATE t SET x = 2; UPDATE u SET x = 2; UPDATE far SET x = 2")
    archived.archive()
    seen = "SELECT t.x, u.x, far.x FROM t, u, far"
    away = server.directory / "clone away"
    with Restored(server, "clone", besides=[away]) as new:
        ok(archived.recover(new, {"lsn": lsn}, tablespace_locations={"away": str(away)}))
        assert new.query(seen) == [(1, 1, 1)]
    assert server.query(seen) == [(2, 2, 2)]
    # A link by hand, relative to where it lies.
    server.stop()
    link = next(path for path in (server.data / "pg_tblspc").iterdir() if path.is_symlink())
    link.unlink()
    link.symlink_to("../../space")
    server.start()
    done = ok(archived.in_place({"lsn": lsn}))
    assert server.query(seen) == [(1, 1, 1)]
    assert sorted(Path(path).name.partition(".before")[0] for path in done["recovery"]["kept"]) == ["data", "space"]
