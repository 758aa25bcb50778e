# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell command that archives WAL, run by hand and by servers, on good days and on bad ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FileWal
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archiving import archiver_state
from lab import fault
from lab.answers import ok, refused
from lab.playbooks import ModuleResult, run_module
from lab.servers import Server

SUFFIXES = {"none": "", "zstd": ".zst", "gzip": ".gz", "lz4": ".lz4"}
UNPACK = {"none": ["cat"], "zstd": ["zstd", "-qdc"], "gzip": ["gzip", "-dc"], "lz4": ["lz4", "-qdc"]}
# What a shell and PostgreSQL would each like to read their own way.
HOSTILE = 'it\'s 100% "of" $(id); %f `x` ü\\'
NAME = "000000010000000000000001"

needs_mount = pytest.mark.skipif(not fault.can_mount(), reason="a small or read-only file system needs mount")


# By hand


class Hand:
    """The command as PostgreSQL would run it, from a data directory with one segment."""

    def __init__(self, directory: Path, compression: str, archive: Path) -> None:
        self.data, self.archive, self.compression = directory / "data", archive, compression
        (self.data / "pg_wal").mkdir(parents=True)
        self.archive.mkdir(parents=True, exist_ok=True)
        self.wal = FileWal(str(archive), Compression(compression))

    @property
    def stored(self) -> Path:
        return self.archive / (NAME + SUFFIXES[self.compression])

    def run(self, command: str, path: str, env: dict[str, str] | None = None) -> int:
        filled = command.replace("%%", "\0").replace("%p", path).replace("%f", NAME).replace("\0", "%")
        return subprocess.run(
            ["sh", "-c", filled], cwd=self.data, env={**os.environ, **(env or {})}, check=False
        ).returncode

    def archived(self, content: bytes | None = None, **env: str) -> int:
        """The exit code for a segment of this content (None: the one that is there)."""
        path = f"pg_wal/{NAME}"
        if content is not None:
            (self.data / path).write_bytes(content)
        return self.run(self.wal.archive_command(), path, env)

    def content(self) -> bytes:
        """What lies in the archive, unpacked by the stock program."""
        return subprocess.run([*UNPACK[self.compression], str(self.stored)], check=True, capture_output=True).stdout

    def temporary(self) -> list[str]:
        return [path.name for path in self.archive.iterdir() if path != self.stored]


@pytest.fixture(params=SUFFIXES)
def hand(request: pytest.FixtureRequest, tmp_path: Path) -> Hand:
    return Hand(tmp_path, request.param, tmp_path / HOSTILE / "_wal")


def segment(seed: int) -> bytes:
    return (b"%d" % seed) * 500_000 + os.urandom(200_000)


def test_the_same_content_is_fine_and_another_is_refused(hand: Hand) -> None:
    first, second = segment(1), segment(2)
    assert hand.archived(first) == 0
    stored = hand.stored.read_bytes()
    assert hand.content() == first
    assert hand.archived() == 0
    assert hand.archived(second) == 1
    assert hand.archived(first + b"more") == 1
    assert hand.archived(first[:-1]) == 1
    assert hand.stored.read_bytes() == stored and hand.temporary() == []


def test_it_comes_back_by_the_restore_command(hand: Hand) -> None:
    content = segment(3)
    assert hand.run(hand.wal.restore_command(), "pg_wal/RECOVERYXLOG") == 1
    assert hand.archived(content) == 0
    assert hand.run(hand.wal.restore_command(), "pg_wal/RECOVERYXLOG") == 0
    assert (hand.data / "pg_wal/RECOVERYXLOG").read_bytes() == content
    assert hand.wal.fetch(NAME, str(hand.data / "fetched")) and (hand.data / "fetched").read_bytes() == content
    assert not hand.wal.fetch("000000010000000000000009", str(hand.data / "fetched"))
    # Whatever the compression was that the first ones were archived by.
    assert hand.run(FileWal(str(hand.archive), Compression("zstd")).restore_command(), "pg_wal/RECOVERYXLOG") == 0


def test_what_a_killed_one_left_is_no_harm(hand: Hand) -> None:
    left = hand.archive / f".{NAME}{SUFFIXES[hand.compression]}.new"
    for name in (left, hand.archive / f".{NAME}.new"):
        name.write_bytes(b"half a segm")
    assert list(hand.wal.names()) == []
    assert hand.archived(segment(4)) == 0
    assert list(hand.wal.names()) == [hand.stored.name]


def test_a_damaged_one_is_not_the_same(hand: Hand) -> None:
    assert hand.archived(segment(5)) == 0
    fault.truncate(hand.stored, 100)
    assert hand.archived() == 1
    fault.flip_byte(hand.stored)
    assert hand.archived() == 1


def test_a_name_that_is_taken_meanwhile(tmp_path: Path) -> None:
    hand = Hand(tmp_path, "none", tmp_path / "archive")
    os.mkfifo(hand.data / "slow")
    command = hand.wal.archive_command().replace("%p", "slow").replace("%f", NAME)
    with subprocess.Popen(["sh", "-c", command], cwd=hand.data) as process:
        with (hand.data / "slow").open("wb") as pipe:
            pipe.write(b"mine")
            hand.stored.write_bytes(b"another one's")
        assert process.wait() == 1
    assert hand.stored.read_bytes() == b"another one's"


@pytest.mark.parametrize("missing", ["sync", "mv", "the compressor"])
def test_a_program_that_fails_or_is_missing(hand: Hand, tmp_path: Path, missing: str) -> None:
    """Not above 125, which would restart the archiver uncounted; and nothing is there that was not flushed."""
    name = {"none": "dd", "zstd": "zstd", "gzip": "gzip", "lz4": "lz4"}[hand.compression]
    name = name if missing == "the compressor" else missing
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in ("sh", "zstd", "gzip", "lz4", "cmp", "dd", "sync", "mv"):
        found = shutil.which(program)
        if found and program != name:
            (programs / program).symlink_to(found)
    content = segment(6)
    assert hand.archived(content, PATH=str(programs)) == 1
    (programs / name).write_text("#!/bin/sh\nexit 1\n")
    (programs / name).chmod(0o755)
    assert hand.archived(content, PATH=str(programs)) == 1
    if not (name == "sync" and hand.compression == "none"):  # dd flushes the file itself, before it gets its name
        assert not hand.stored.exists()
    assert hand.archived(content) == 0 and hand.content() == content


@needs_mount
def test_a_full_disk_and_one_that_is_read_only(hand: Hand, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    small = tmp_path / "small"
    with fault.small_filesystem(small, "2m"):
        full = Hand(tmp_path / "other", hand.compression, small / "_wal")
        assert full.archived(content) == 1 and not full.stored.exists()
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        assert full.archived() == 0 and full.content() == content
    with fault.read_only(hand.archive):
        assert hand.archived(content) == 1
    assert hand.archived(content) == 0


def test_an_archive_that_is_not_mounted(hand: Hand) -> None:
    away = hand.archive.with_name("away")
    hand.archive.rename(away)
    assert hand.archived(segment(7)) == 1 and not hand.archive.exists()
    away.rename(hand.archive)
    assert hand.archived() == 0


# By a server


class Archived:
    """A server, and where it archives to."""

    def __init__(self, server: Server, name: str = "repository") -> None:
        self.server = server
        self.repository = server.server_directory(name)

    @property
    def wal(self) -> Path:
        return self.repository / "main" / "_wal"

    def module(self, check: bool = False, server: Server | None = None, **options: Any) -> ModuleResult:
        where = {"repository": {"path": str(self.repository)}, "bin_dir": str(self.server.bindir)}
        return run_module("wal_archive", {**(server or self.server).login(), **where, **options}, check=check)

    def names(self) -> list[str]:
        return sorted(path.name.split(".")[0] for path in self.wal.iterdir() if not path.name.startswith("."))

    def write(self, segments: int) -> None:
        for _number in range(segments):
            self.server.psql("CREATE TABLE IF NOT EXISTS filling (n int); INSERT INTO filling VALUES (1)")
            self.server.psql("SELECT pg_switch_wal()")

    def state(self) -> dict[str, Any]:
        connection = self.server.connect()
        try:
            return archiver_state(connection)
        finally:
            connection.close()

    def wait(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 75) -> dict[str, Any]:
        """The archiver tries again after a second, three times, and then after a minute, unless it is woken."""
        deadline = time.monotonic() + seconds
        while not condition(state := self.state()):
            assert time.monotonic() < deadline, state
            self.server.psql("SELECT pg_switch_wal()")
            time.sleep(0.3)
        return state

    def contiguous(self) -> None:
        """Every segment since the first is there."""
        numbers = [int(name[8:16], 16) * 256 + int(name[16:24], 16) for name in self.names() if len(name) == 24]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


@pytest.fixture(scope="module")
def archiving(server_factory: Callable[..., Server]) -> Archived:
    """A server that archives already, into a place with a hostile name."""
    server = server_factory(16, settings={"archive_mode": "on"}, initdb=("--wal-segsize=1",))
    made = Archived(server, HOSTILE)
    done = ok(made.module())
    assert done["changed"] and not done["restart_required"]
    return made


@pytest.mark.parametrize("major", [15, 18])
def test_set_up_and_taken_down(server_factory: Callable[..., Server], major: int) -> None:
    archived = Archived(server_factory(major))
    server = archived.server
    wanted = {"max_slot_wal_keep_size": "1GB", "compression": "gzip"}
    refused(archived.module(state="verified"), "set archiving up first")

    planned, done = ok(archived.module(check=True, **wanted)), None
    assert (
        planned["changed"] and not archived.wal.exists() and server.query("SHOW archive_command") == [("(disabled)",)]
    )
    done = ok(archived.module(**wanted))
    for key in ("plan", "settings", "restart_required", "waiting", "changed", "archive_command"):
        assert done[key] == planned[key], key
    assert done["restart_required"] and done["waiting"] == ["archive_mode"]
    assert archived.wal.stat().st_mode & 0o777 == 0o700 and archived.wal.owner() == server.data.owner()
    again = ok(archived.module(**wanted))
    assert not again["changed"] and again["plan"] == [] and again["restart_required"]
    server.restart()
    again = ok(archived.module(**wanted))
    assert not again["changed"] and not again["restart_required"]
    assert not ok(archived.module(**{**wanted, "max_slot_wal_keep_size": "1024MB"}, archive_timeout="60s"))["changed"]
    changed = ok(archived.module(**wanted, archive_timeout="5min"))
    assert list(changed["settings"]) == ["archive_timeout"] and not changed["restart_required"]

    canary = ok(archived.module(state="verified"))["canary"]
    assert canary["segment"] in archived.names() and 0 < canary["seconds"] < 10
    assert canary["bytes"] == 16 * 1024 * 1024

    planned = ok(archived.module(check=True, state="absent"))
    assert server.query("SHOW archive_mode") == [("on",)]
    done = ok(archived.module(state="absent"))
    assert done["changed"] and done["plan"] == planned["plan"] and done["waiting"] == ["archive_mode"]
    assert not ok(archived.module(state="absent"))["changed"]
    archived.write(1)  # until the restart it goes on
    archived.wait(lambda state: state["ready"] == 0)
    server.restart()
    ok(archived.module(state="absent"))
    assert not ok(archived.module(state="absent"))["changed"]
    assert server.query("SHOW archive_mode") == [("off",)] and archived.names()


def test_a_canary_through_a_hostile_path(archiving: Archived) -> None:
    canary = ok(archiving.module(state="verified"))["canary"]
    assert canary["segment"] in archiving.names() and canary["seconds"] < 10
    assert not ok(archiving.module())["changed"]


def test_away_and_back(archiving: Archived) -> None:
    """The archive is gone for a while: nothing is lost, and the server says how much waits."""
    archiving.wait(lambda state: state["ready"] == 0)
    away = archiving.repository.with_name("away")
    archiving.repository.rename(away)
    archiving.write(4)
    failing = archiving.wait(lambda state: state["failing"] and state["ready"] >= 4)
    assert failing["lag_bytes"] == failing["ready"] * 1024 * 1024 and failing["failing_since"]
    assert failing["oldest_ready_age"] > 0
    refused(archiving.module(state="verified", timeout=2), "is not there")
    away.rename(archiving.repository)
    back = archiving.wait(lambda state: not state["failing"] and state["ready"] == 0)
    assert back["failing_segment"] is None and back["lag_bytes"] == 0
    archiving.contiguous()


def test_an_archiver_that_fails_is_told(archiving: Archived) -> None:
    wal, away = archiving.wal, archiving.wal.with_name("elsewhere")
    wal.rename(away)
    wal.mkdir(mode=0o500)  # nobody can write there but root
    shutil.chown(wal, archiving.repository.owner())
    archiving.write(1)
    if os.geteuid() == 0:
        refused(archiving.module(state="verified", timeout=3), "is failing, at 0000000", "wait", "Nothing is lost")
    wal.rmdir()
    away.rename(wal)
    archiving.wait(lambda state: not state["failing"] and state["ready"] == 0)
    archiving.contiguous()


def test_a_segment_that_is_there_with_other_content(archiving: Archived) -> None:
    archiving.wait(lambda state: state["ready"] == 0)
    archiving.server.psql("CREATE TABLE something ()")  # the segment is begun
    current = archiving.server.query("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0]
    foreign = archiving.wal / f"{current}.zst"
    subprocess.run(["zstd", "-q", "-o", str(foreign)], input=b"another server's", check=True)
    shutil.chown(foreign, archiving.repository.owner())
    stored = foreign.read_bytes()
    archiving.write(1)
    assert archiving.wait(lambda state: state["failing"])["failing_segment"] == current
    assert foreign.read_bytes() == stored
    foreign.unlink()
    archiving.wait(lambda state: not state["failing"] and state["ready"] == 0)
    archiving.contiguous()


def test_the_archiver_and_its_command_are_killed(archiving: Archived) -> None:
    """By a signal: it comes again, and what it had begun is done anew."""
    server = archiving.server
    archiving.write(2)
    found = [int(row[0]) for row in server.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'")]
    os.kill(found[0], signal.SIGKILL)  # for the server that is a crash: it recovers
    deadline = time.monotonic() + 60
    while True:
        try:
            assert server.query("SELECT 1") == [(1,)]
            break
        except Exception:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    archiving.write(1)
    archiving.wait(lambda state: not state["failing"] and state["ready"] == 0)
    assert ok(archiving.module(state="verified"))["canary"]
    archiving.contiguous()


@needs_mount
def test_a_full_archive(server_factory: Callable[..., Server]) -> None:
    server = server_factory(15, settings={"archive_mode": "on"}, initdb=("--wal-segsize=1",))
    archived = Archived(server, "small")
    with fault.small_filesystem(archived.repository, "4m"):
        shutil.chown(archived.repository, server.data.owner())
        ok(archived.module(compression="none"))
        archived.write(7)
        failing = archived.wait(lambda state: state["failing"] and state["ready"] >= 2)
        assert failing["lag_bytes"] >= 2 * 1024 * 1024
        assert all(path.stat().st_size == 1024 * 1024 for path in archived.wal.glob("0*"))
        subprocess.run(["mount", "-o", "remount,size=200m", str(archived.repository)], check=True)
        archived.wait(lambda state: not state["failing"] and state["ready"] == 0)
        archived.contiguous()
        server.stop()


# Refused


def test_two_servers_into_one_place(archiving: Archived, server_factory: Callable[..., Server]) -> None:
    other = server_factory(16, settings={"archive_mode": "on"})
    before = other.query("SHOW archive_command")
    for check in (True, False):
        refused(
            archiving.module(check, other), "another server", "system identifier", "server_name", "accept_new_server"
        )
    assert other.query("SHOW archive_command") == before
    assert ok(archiving.module(False, other, server_name="other"))["changed"]
    # One that replaces the other may be told so, and the old one then finds the place taken.
    assert ok(archiving.module(False, other, accept_new_server=True, replace=True))["changed"]
    refused(archiving.module(), "another server")
    assert ok(archiving.module(accept_new_server=True))["changed"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/bin/true", ["archives nothing"]),
        ("true", ["archives nothing"]),
        ("cp %p /archive/%f", ["overwrites", "flush"]),
        ("cp -n %p /archive/%f && sync /archive/%f", ["cp -i and cp -n"]),
        ("test ! -f /archive/%f && cp %p /archive/%f", ["flush"]),
        ("cp %p /archive/ || true", ["reports success", "%f"]),
    ],
)
def test_commands_that_lose_data(archiving: Archived, command: str, words: list[str]) -> None:
    given = {"archive_command": command, "replace": True}
    for check in (True, False):
        refused(archiving.module(check, **given), "archive_command", "accept_unsafe", *words)
    assert command not in str(archiving.server.query("SHOW archive_command"))
    assert ok(archiving.module(check=True, **given, accept_unsafe=True))["changed"]


def test_an_archive_that_is_somebody_elses_already(archiving: Archived) -> None:
    server = archiving.server
    own = ok(archiving.module(check=True))["archive_command"]
    for command, engine in (
        ("pgbackrest --stanza=x archive-push %p", "pgbackrest"),
        ("my-own-archiver --sync %p %f", ""),
    ):
        server.query("ALTER SYSTEM SET archive_command = %s", values=[command])
        server.query("SELECT pg_reload_conf()")
        refused(archiving.module(), "archives already", command, "replace", engine)
    # The plan comes before anything is agreed to, and is the run's.
    planned = ok(archiving.module(check=True))
    assert planned["consent"] == {"replace": True} and "replace: true" in planned["plan"][-1]
    done = ok(archiving.module(replace=True))
    assert done["changed"] and done["plan"] == planned["plan"][:-1] and "consent" not in done
    assert server.query("SHOW archive_command") == [(own,)]
    # A better or worse one of somebody's own needs the word as well: what it keeps, others may rely on.
    command = "test ! -f /archive/%f && cp %p /archive/%f"
    server.query("ALTER SYSTEM SET archive_command = %s", values=[command])
    server.query("SELECT pg_reload_conf()")
    refused(archiving.module(), "archives already", command, "replace", "flush")
    # Ours with another compression is ours.
    ok(archiving.module(replace=True, compression="gzip"))
    assert ok(archiving.module())["changed"]
    # One that keeps nothing needs no such word, but is told of.
    server.psql("ALTER SYSTEM SET archive_command = '/bin/true'; SELECT pg_reload_conf()")
    done = ok(archiving.module())
    assert done["changed"] and "archives nothing" in str(done["warnings"])


def test_taken_down_leaves_what_somebody_else_set(server_factory: Callable[..., Server]) -> None:
    """Kind: `absent` that takes away what it never made, or leaves behind what it did. A DBA's own settings in postgresql.conf hold again,
    archive_mode is not left off behind, and a command that is not ours is not touched; each time the second run changes nothing."""
    own = {"archive_mode": "on", "archive_command": "my-own-archiver --sync %p %f", "archive_timeout": "5min"}
    archived = Archived(server_factory(15, settings=own))
    server = archived.server
    said = ok(archived.module(state="absent"))
    assert not said["changed"] and "my-own-archiver" in str(said["warnings"])
    ok(archived.module(replace=True))
    assert ok(archived.module(state="absent", check=True))["changed"]
    assert ok(archived.module(state="absent"))["changed"]
    assert not ok(archived.module(state="absent"))["changed"]
    server.restart()
    assert {name: server.query(f"SHOW {name}")[0][0] for name in own} == own
    assert "archive" not in (server.data / "postgresql.auto.conf").read_text()


def test_a_library_that_archives_is_not_replaced_unasked(server_factory: Callable[..., Server]) -> None:
    settings = {"archive_mode": "on", "archive_library": "basic_archive", "basic_archive.archive_directory": "/tmp"}
    archived = Archived(server_factory(15, settings=settings))
    refused(archived.module(), "archives already", "basic_archive", "replace")
    assert archived.server.query("SHOW archive_library") == [("basic_archive",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what others cannot write")
def test_where_the_server_cannot_write_nothing_is_switched_on(server_factory: Callable[..., Server]) -> None:
    """Kind: proven as who runs the module instead of as who archives. Dumps of root's in the same repository, of several modes."""
    archived = Archived(server_factory(16))
    above = archived.wal.parent
    for mode in (0o700, 0o755):
        above.mkdir(mode=mode, parents=True, exist_ok=True)
        above.chmod(mode)
        if mode == 0o755:
            archived.wal.mkdir(mode=0o755, exist_ok=True)
        for check in (True, False):
            refused(archived.module(check=check), "cannot write into", "chown")
        assert archived.server.query("SHOW archive_mode") == [("off",)]
        assert "archive" not in (archived.server.data / "postgresql.auto.conf").read_text()
    shutil.rmtree(above)
    assert ok(archived.module())["changed"]


def test_what_else_is_refused(archiving: Archived, server_factory: Callable[..., Server], tmp_path: Path) -> None:
    login = {**archiving.server.client_options()}

    def tried(path: str, **options: Any) -> ModuleResult:
        return run_module("wal_archive", {**login, "repository": {"path": path}, "replace": True, **options})

    refused(tried(str(tmp_path / "missing")), "is not there", "mount")
    deep = tmp_path.joinpath(*["x" * 200] * 5)
    deep.mkdir(parents=True)
    refused(tried(str(deep)), "too long")
    refused(tried(str(tmp_path), encryption={"method": "aes256", "passphrase": "x"}), "encryption", "pgbackrest")
    refused(tried(str(tmp_path), server_name="../x"), "server_name")
    refused(tried(str(tmp_path), max_slot_wal_keep_size="much"), "max_slot_wal_keep_size", "not a number")
    refused(tried(str(tmp_path), summarize_wal=True), "summarize_wal", "too old")
    assert list(tmp_path.iterdir()) == [tmp_path / ("x" * 200)]
