# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup is reported as done, and an older one deleted, only where the WAL that it needs has arrived in this archive.

The kind: good because a program ended with 0, or because a setting is not empty (CASES 1.25, 1.40). The members that were tried, with every
engine whose program is here: archive_mode off (what a recovery in place leaves behind), ``/bin/true``, a command with ``|| true``, the own
command for another server_name or another directory, somebody's script (that archives here, or elsewhere), a library, an archiver that
fails before, while and after the copy, one that did better in time, one that hangs since before or meanwhile (the command, the library), an
archive that nobody can write to, a replica whose primary archives, and one whose primary does not. Before: ok with all of them, and the last
restorable backup deleted by ``keep_last: 1``; where it hung, no end.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FileWal
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from lab.playbooks import ModuleResult, run_module
from lab.servers import Server

QUIET = Progress(None)
OTHERS = "test ! -f {path}/%f && cp %p {path}/%f.new && sync {path}/%f.new && mv {path}/%f.new {path}/%f"


class Place:
    """A server that archives, and the directory that it should archive into."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.path = server.server_directory("wal")
        self.elsewhere = server.server_directory("elsewhere")
        self.wal = FileWal(str(self.path), Compression("none"))

    def command(self, command: str | None) -> None:
        command = (
            self.wal.archive_command() if command is None else command.format(path=self.path, other=self.elsewhere)
        )
        self.server.query("ALTER SYSTEM SET archive_command = %s", values=[command])
        self.server.query("SELECT pg_reload_conf()")

    def segment(self) -> tuple[int, str, str]:
        """Timeline and positions of something that was just written."""
        start = self.server.query("SELECT pg_current_wal_lsn()::text")[0][0]
        self.server.query("SELECT pg_create_restore_point('x')")
        stop = self.server.query("SELECT pg_switch_wal()::text")[0][0]
        return 1, start, stop

    def archived(self) -> None:
        with self.asked() as archiving:
            archiving.arrived(*self.segment(), QUIET)

    def asked(self, timeout: float = 20) -> Asked:
        return Asked(self, timeout)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Its command does not come back meanwhile."""
        gate = self.path / ".gate"
        gate.touch()
        self.command(f"while [ -e {gate} ]; do sleep 0.05; done; " + self.wal.archive_command())
        try:
            yield
        finally:
            gate.unlink()


class Asked:
    def __init__(self, place: Place, timeout: float) -> None:
        self._place, self._timeout = place, timeout

    def __enter__(self) -> Archiving:
        self._connection = self._place.server.connect()
        return Archiving(self._connection, self._place.wal, timeout=self._timeout)

    def __exit__(self, *exc: object) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def shared(server_factory: Callable[..., Server]) -> Place:
    return Place(server_factory(15, settings={"archive_mode": "on"}))


@pytest.fixture
def place(shared: Place) -> Iterator[Place]:
    shared.command(None)
    shared.server.query("SELECT pg_stat_reset_shared('archiver')")
    yield shared
    shared.command(None)


def test_an_archive_of_our_own_is_fine(place: Place) -> None:
    with place.asked() as archiving:
        assert archiving.before() == []
    place.archived()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/bin/true", "archives nothing"),
        ("", "empty"),
        ("cp %p {path}/%f || true", "reports success"),
        (
            "d={other}; " + FileWal("X", Compression("none")).archive_command().partition("; ")[2],
            "archives its WAL elsewhere",
        ),
        (OTHERS.replace("{path}", "{other}"), "archives its WAL elsewhere"),
        ("pgbackrest --stanza=other archive-push %p", "archives its WAL elsewhere"),
    ],
)
def test_a_command_that_keeps_no_wal_here(place: Place, command: str, words: str) -> None:
    place.command(command)
    for check in (True, False):
        with place.asked() as archiving, pytest.raises(ServerError, match=words):
            archiving.before(check)


def test_a_command_that_keeps_wal_elsewhere_is_seen_by_what_does_not_arrive(place: Place) -> None:
    """Changed after it was asked for: only what arrives proves anything."""
    with place.asked(1) as archiving:
        archiving.before()
        place.command(OTHERS.replace("{path}", "{other}"))
        with pytest.raises(ServerError, match=r"was not in .* after 1 seconds"):
            archiving.arrived(*place.segment(), QUIET)


def test_somebodys_script_that_archives_here_is_told_of(place: Place) -> None:
    place.command(OTHERS)
    place.archived()
    with place.asked() as archiving:
        (warning,) = archiving.before()
    assert "it does archive into" in warning


def test_a_failing_archiver_is_asked_first_and_given_a_chance(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival"
    with place.asked() as archiving:
        place.path.chmod(0o500)  # as when a directory is mounted read-only
        try:
            place.segment()
            while not archiving._failing():
                pass
            monkeypatch.setattr(f"{module}._RECOVERS", 0.5)
            for check in (True, False):
                with pytest.raises(ServerError, match="The archiver is failing"):
                    archiving.before(check)
        finally:
            place.path.chmod(0o700)
        monkeypatch.setattr(f"{module}._RECOVERS", 20.0)
        assert archiving.before() == []  # it does better


def test_one_that_fails_while_the_backup_waits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival"
    monkeypatch.setattr(f"{module}._STUCK", 0.5)
    monkeypatch.setattr(f"{module}._LOOK", 0.1)
    with place.asked() as archiving:
        archiving.before()
        place.command("false")
        with pytest.raises(ServerError, match="has failed to archive for"):
            archiving.arrived(*place.segment(), QUIET)


def test_wal_that_comes_late_is_waited_for(place: Place) -> None:
    gate = place.path / ".gate"
    gate.unlink(missing_ok=True)
    place.command(f"while [ ! -e {gate} ]; do sleep 0.05; done; " + place.wal.archive_command())
    opened = threading.Timer(1.0, gate.touch)
    opened.start()
    with place.asked() as archiving:
        archiving.arrived(*place.segment(), QUIET)
    opened.join()


def test_one_that_hangs_while_the_backup_waits(place: Place) -> None:
    """PostgreSQL waits without an end, and so did Barman, WAL-G, and pg_basebackup without its WAL."""
    place.archived()
    with place.asked(0.5) as archiving, place.held():
        assert archiving.before() != []  # it is not the command of ours
        segment = place.segment()
        with pytest.raises(ServerError, match=r"does not come back, and 0000000\w+ waits first"):
            waited(archiving)
        with pytest.raises(ServerError, match=r"was not in .* after 1 seconds"):
            archiving.arrived(*segment, QUIET)
        with pytest.raises(ServerError, match="has archived nothing"):  # and before a backup is made in vain
            archiving.before(check=True)
    place.archived()


def test_a_library_that_hangs(server_factory: Callable[..., Server], tmp_path: Path) -> None:
    """By whatever it hangs: the archiver is stopped."""
    server = server_factory(15, settings={"archive_mode": "on"})
    libraries = server.query("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'")[0][0]
    if not (Path(libraries) / "basic_archive.so").exists():
        pytest.skip("basic_archive is not installed")
    wal = FileWal(str(tmp_path), Compression("none"))
    server.query("ALTER SYSTEM SET archive_library = basic_archive")
    server.restart()
    server.query("SELECT pg_create_restore_point('x')")
    (archiver,) = server.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'")[0]
    os.kill(archiver, signal.SIGSTOP)
    try:
        server.query("SELECT pg_switch_wal()")
        with (
            closing(server.connect()) as connection,
            pytest.raises(ServerError, match="archive_library 'basic_archive' does not come back"),
        ):
            waited(Archiving(connection, wal, timeout=0.5))
    finally:
        os.kill(archiver, signal.SIGCONT)


def test_a_slow_archive_is_waited_for(place: Place) -> None:
    place.command("sleep 0.4; " + place.wal.archive_command())
    with place.asked(0.9) as archiving:
        (timeline, start, _stop), *_others, (_timeline, _start, stop) = [place.segment() for _number in range(4)]
        archiving.arrived(timeline, start, stop, QUIET)


def waited(archiving: Archiving) -> None:
    """As a program waits that has PostgreSQL wait."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        archiving.watch()
        time.sleep(0.05)


def test_archiving_that_is_off(pg16: Server, tmp_path: Path) -> None:
    with closing(pg16.connect()) as connection, pytest.raises(ServerError, match="archive_mode is off"):
        Archiving(connection, FileWal(str(tmp_path), Compression("none"))).before()


# Through the module, by the engines with repositories of their own


def run(name: str, given: dict[str, Any], **options: Any) -> ModuleResult:
    done = run_module(name, given, **options)
    assert not done.failed, done.msg
    return done


def kept(given: dict[str, Any]) -> list[str]:
    found = run("backup_facts", given).result["ansible_facts"]["holdfast_backups"]
    return [backup["id"] for backup in found["backups"]]


def test_nothing_is_deleted_for_a_backup_without_its_wal(server_factory: Callable[..., Server]) -> None:
    if shutil.which("pgbackrest") is None:
        pytest.skip("pgbackrest is not installed")
    server = server_factory(15)
    repository = server.server_directory("repository")
    config = server.server_directory("config")
    os.chmod(config, 0o755)
    given = {
        **server.client_options(),
        "engine": "pgbackrest",
        "repository": {"path": str(repository)},
        "config_dir": str(config),
    }
    own = run("wal_archive", given).result["archive_command"]
    server.restart()
    good = run("pg_backup", given).result["backup"]["id"]

    # With the same variables, and no engine named, it is found by whoever looks (CASES 1.24).
    unnamed = {name: value for name, value in given.items() if name != "engine"}
    assert kept(unnamed) == [good] and run("wal_archive", unnamed).result["engine"] == "pgbackrest"
    there = {name: value for name, value in unnamed.items() if not name.startswith("login_")}
    there.update(data_directory=str(server.directory / "new"), owner=server.owner, recovery_target={"immediate": True})
    assert run("pg_recover", there, check=True).result["backup"]["id"] == good
    refusing = run_module("wal_audit", {"repository": {"path": str(repository)}})
    assert refusing.failed and "pgbackrest keeps the WAL of main" in refusing.msg

    def refused(*words: str, **options: Any) -> None:
        for check in (True, False):
            done = run_module("pg_backup", {**given, "retention": {"keep_last": 1}}, check=check)
            assert done.failed and all(word in done.msg for word in words), done.msg
        assert kept(given) == [good]

    for command, words in (
        ("/bin/true", "archives nothing"),
        (own.replace("--stanza=main", "--stanza=other"), "archives its WAL elsewhere"),
    ):
        assert command != own
        server.query("ALTER SYSTEM SET archive_command = %s", values=[command])
        server.query("SELECT pg_reload_conf()")
        if "other" in command:
            server.query("SELECT pg_stat_reset_shared('archiver')")
        refused(words)
    server.query("ALTER SYSTEM SET archive_mode = off")
    server.restart()
    refused("archive_mode is off")


@pytest.mark.parametrize("engine", ["pg_basebackup", "pgbackrest"])
def test_a_command_that_hangs_ends_the_backup(server_factory: Callable[..., Server], engine: str) -> None:
    if shutil.which(engine) is None and engine == "pgbackrest":
        pytest.skip("pgbackrest is not installed")
    server = server_factory(15)
    repository, config = server.server_directory("repository"), server.server_directory("config")
    config.chmod(0o755)
    given = {
        **server.login(),
        "bin_dir": str(server.bindir),
        "engine": engine,
        "repository": {"path": str(repository)},
        "config_dir": str(config),
    }
    own = run("wal_archive", given).result["archive_command"]
    server.restart()
    run("wal_archive", {**given, "state": "verified"})
    gate = server.server_directory("gate") / "closed"
    gate.touch()
    server.query("ALTER SYSTEM SET archive_command = %s", values=[f"while [ -e {gate} ]; do sleep 0.1; done; {own}"])
    server.query("SELECT pg_reload_conf()")
    asked = {**given, "wal_timeout": "1s", **({} if engine == "pgbackrest" else {"include_wal": False})}
    try:
        done = run_module("pg_backup", asked)
        assert done.failed and ("not archived before" if engine == "pgbackrest" else "does not come back") in done.msg
        assert kept({name: value for name, value in given.items() if name != "engine"}) == []
        copying = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' OR application_name LIKE 'pgBackRest%'"
        assert server.query(copying) == [(0,)]
        again = run_module("pg_backup", asked, check=True)
        assert again.failed and "has archived nothing" in again.msg
    finally:
        gate.unlink()
    assert run("pg_backup", {**asked, "wal_timeout": "10min"}).changed
