# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults by chance on whole servers: runs × signals at any moment or step, and a start by somebody else.

A server that archives, with a backup, is put as it was before each case (a copy of its files). Then it is recovered in place or beside, archiving is
set up, a standby is made, or rebuilt, or promoted, and something happens meanwhile. Afterwards the servers are looked at from outside: the
old one serves, or the new one does, whole; there is never a second primary; nothing beside it was touched (checksums of everything); what the
run said is so; and the next run brings it to where it was to be, and leaves nothing lying about. Else a promise is `Broken`.

As a program: ``python -m generators.server_faults`` runs for ``HOLDFAST_FAULTS`` seconds (60), or the seeds ``FIRST COUNT`` that are given.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.answers import ok
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.recoveries import Archived
from lab.restored import Restored
from lab.servers import Server

from .faults import SIGNALS, SOON, Broken, Case, many

RUNS = ("recover", "clone", "archive", "standby", "rebuild", "promote")
ROWS, EARLIER = 300, 100
SETTINGS = {"archive_mode": "on", "hot_standby": "on", "wal_log_hints": "on", "wal_keep_size": "64MB"}
#: stopping clears up: a server that was stopped is started again
SLOW = 60


class World:
    """A server, its backup and archive, and a copy of its files by which it is put as it was. Use as a context manager."""

    def __init__(self, major: int = 16) -> None:
        self.server = Server(major, settings=SETTINGS, initdb=("--wal-segsize=1",))
        self.other = Restored(self.server, "other")
        self._template = self.server.directory / "template"

    def __enter__(self) -> World:
        server = self.server
        server.psql(f"CREATE TABLESPACE away LOCATION '{server.server_directory('space')}'")
        server.psql(f"CREATE TABLE items TABLESPACE away AS SELECT n FROM generate_series(1, {EARLIER}) AS n")
        self.archived = Archived.of(server)
        self.lsn = str(server.query("SELECT pg_current_wal_insert_lsn()::text")[0][0])
        server.psql(f"INSERT INTO items SELECT n FROM generate_series(1, {ROWS - EARLIER}) AS n; CHECKPOINT")
        self.archived.archive()
        server.stop()
        self._template.mkdir()
        for name in ("data", "space", "repository"):
            self._copy(server.directory / name, self._template / name)
        return self

    def __exit__(self, *exc: object) -> None:
        for directory in self.postmasters():
            self._end(Path(directory))
        self.server.remove()

    def reset(self) -> None:
        """Everything is as it was, and the server runs."""
        server = self.server
        for directory in self.postmasters():
            self._end(Path(directory))
        for path in server.directory.iterdir():
            if path != self._template and path.name not in ("log", "other.log", "install"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in self._template.iterdir():
            self._copy(path, server.directory / path.name)
        server.start()

    def _copy(self, source: Path, target: Path) -> None:
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)

    def _end(self, directory: Path) -> None:
        with suppress(OSError, ValueError, IndexError):
            os.kill(int((directory / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        deadline = time.monotonic() + 20
        while str(directory) in self.postmasters() and time.monotonic() < deadline:
            time.sleep(0.05)

    def postmasters(self) -> list[str]:
        """The data directories, below ours, that a postmaster works in."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and _is_postgres(entry):
                    working = str((entry / "cwd").readlink())
                    parent = (entry / "status").read_text().partition("PPid:")[2].split()[0]
                    if working.startswith(f"{self.server.directory}/") and not _is_postgres(Path("/proc") / parent):
                        found.append(working)
        return found

    def sums(self, *folders: str) -> dict[str, str]:
        """Of every file in folders of ours; what readers leave for a moment aside."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for folder in folders
            for path in sorted((self.server.directory / folder).rglob("*"))
            if path.is_file() and "_readers" not in path.parts
        }

    # What is run

    def arguments(self, what: str) -> tuple[str, dict[str, Any]]:
        server, other = self.server, self.other
        recovery = {**self.archived.options, "recovery_target": {"lsn": self.lsn, "inclusive": False}}
        if what == "recover":
            given = {"force": True, "confirm": [str(server.data)], "stop_server": True}
            return "pg_recover", {**recovery, "data_directory": str(server.data), **given}
        if what == "clone":
            beside = {"settings": other.settings, "owner": server.owner}
            spaces = {"away": str(server.directory / "other space")}
            return "pg_recover", {
                **recovery,
                "data_directory": str(other.data),
                **beside,
                "tablespace_locations": spaces,
            }
        if what == "archive":
            return "wal_archive", {**server.login(), **self.archived.options, "archive_timeout": "3min"}
        standby = {
            "data_directory": str(other.data),
            "owner": server.owner,
            "bin_dir": str(server.bindir),
            "config_dir": str(server.directory / "config"),
            "primary_host": server.host,
            "primary_port": server.port,
            "primary_user": "postgres",
            "primary_password": server.password,
            "slot_name": "other",
            "settings": {"port": str(other.port)},
            "tablespace_locations": {"away": str(server.directory / "other space")},
        }
        if what == "promote":
            return "pg_standby", {**standby, **other.login(), "state": "promoted"}
        given = {"force": True, "confirm": [str(other.data)], "stop_server": True} if what == "rebuild" else {}
        return "pg_standby", {**standby, **given}

    def prepare(self, what: str) -> None:
        """What has to be there before the run."""
        if what in ("promote", "rebuild"):
            ok(run_module(*self.arguments("standby")))
        if what == "promote":
            self.server.stop()
        if what == "rebuild":
            self.other.stop()
            (self.other.data / "standby.signal").unlink()
            self.other.start()  # a primary of its own, which is to follow again
            self.other.psql("INSERT INTO items SELECT generate_series(1, 7)")
            self.server.psql("CREATE TABLE parted (n int)")

    def steps(self, what: str) -> list[Callable[[], bool]]:
        """Moments of a run that can be seen from outside."""
        target = self.server if what == "recover" else self.other
        staged = Path(f"{target.data}.holdfast-restore")
        return [
            staged.exists,
            lambda: Path(f"{target.data}.holdfast-restore.journal").exists(),
            (staged / "postmaster.pid").exists,
            lambda: bool(list(target.data.parent.glob(f"{target.data.name}.before-*"))),
            lambda: not target.data.exists(),
            (target.data / "holdfast.restore.json").exists,
        ]

    def rows(self, server: Server) -> int | None:
        """None: it does not answer."""
        with suppress(Exception):
            return int(server.query("SELECT count(*) FROM items")[0][0])
        return None


def _is_postgres(process: Path) -> bool:
    with suppress(OSError):
        return (process / "exe").readlink().name == "postgres"
    return False


def run(seed: int, world: World) -> Case:
    """One case. Raises Broken."""
    chance = random.Random(seed)
    case = Case(seed)
    what, number = chance.choice(RUNS), chance.choice(SIGNALS)
    case.said += [what, number.name]
    world.reset()
    world.prepare(what)
    outside = world.sums("repository") if what in ("recover", "clone", "promote") else {}
    module, arguments = world.arguments(what)
    # What is so already is no moment of the run.
    steps = [step for step in world.steps(what) if not step()]
    running = start_module(module, arguments)
    _wait(case, chance, running, steps)
    ended = running.process.poll() is not None
    began = time.monotonic()
    running.process.send_signal(number)
    done = running.result(SLOW + 60)
    took = time.monotonic() - began
    if ended:
        case.outcome = "not reached"
    elif took > (SLOW if what in ("recover", "rebuild") else SOON):
        raise Broken(f"{case}: it ended {took:.0f} s after the signal")
    _words(case, done, ended)
    _outside(case, world, what, done)
    again = run_module(module, arguments)
    if again.failed:
        raise Broken(f"{case}: the next run fails: {again.msg}")
    _reached(case, world, what, again)
    now = world.sums("repository") if outside else {}
    lost = sorted(path for path, digest in outside.items() if now.get(path) != digest)
    if lost:
        raise Broken(f"{case}: files of the repository are others, or gone: {lost[:5]}")
    return case


def _wait(case: Case, chance: random.Random, running: RunningModule, steps: list[Callable[[], bool]]) -> None:
    """Until a moment of the run."""
    step = chance.randrange(len(steps) * 2)
    delay = chance.uniform(0.2, 4)
    case.said.append(f"after {delay:.2f} s" if step >= len(steps) else f"at step {step}, and {delay / 40:.3f} s")
    end = time.monotonic() + (delay if step >= len(steps) else 30)
    while time.monotonic() < end and running.process.poll() is None and not (step < len(steps) and steps[step]()):
        time.sleep(0.001)
    if step < len(steps):
        time.sleep(delay / 40)


def _words(case: Case, done: ModuleResult, ended: bool) -> None:
    if done.returncode == -signal.SIGKILL or not done.stdout:
        case.outcome = case.outcome or "killed"
    elif done.failed:
        if not done.msg or "Traceback" in done.stdout + done.stderr or "not foreseen" in done.msg:
            raise Broken(f"{case}: an error without words: {done.msg} {done.stderr[-800:]}")
        case.said.append(done.msg[:160])
        case.outcome = case.outcome or ("stopped" if "stopped by" in done.msg else "clear error")
    else:
        case.outcome = case.outcome or "survived"


def _outside(case: Case, world: World, what: str, done: ModuleResult) -> None:
    """What stands there after the fault, past the collection."""
    killed = not done.stdout
    working = world.postmasters()
    data, other = str(world.server.data), str(world.other.data)
    strange = [path for path in working if path not in (data, other)]
    # What a run leaves that is killed outright reaches nobody, and the next run ends it.
    if strange and not killed:
        raise Broken(f"{case}: a server works in {strange}: {done.msg}")
    if what == "recover":
        if data not in working:
            if not killed:
                raise Broken(f"{case}: the server is down: {done.msg or 'ok'}")
            if not (Path(data) / "PG_VERSION").exists():
                return  # it is away, as a whole: nothing can be started by halves
            world.server.start()
        there = not done.failed or "is in place, and runs" in done.msg
        wanted = {ROWS, EARLIER} if killed else {EARLIER} if there else {ROWS}
        if (rows := world.rows(world.server)) not in wanted:
            raise Broken(f"{case}: {rows} rows: {done.msg or 'ok'}")
        return
    if what != "promote" and world.rows(world.server) != ROWS:
        raise Broken(f"{case}: the server beside has {world.rows(world.server)} rows: {done.msg or 'ok'}")
    follows = what in ("standby", "rebuild") and other in working and not done.failed and not killed
    if follows and world.other.query("SELECT pg_is_in_recovery()") != [(True,)]:
        raise Broken(f"{case}: ok, and it is a primary")


def _reached(case: Case, world: World, what: str, again: ModuleResult) -> None:
    """The next run has brought it to where it was to be, and nothing lies about."""
    if what == "archive":
        world.archived.archive()
        return
    target = world.server if what == "recover" else world.other
    wanted = EARLIER if what in ("recover", "clone") else ROWS
    deadline = time.monotonic() + 20
    while (rows := world.rows(target)) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    if rows != wanted:
        raise Broken(f"{case}: after the next run {rows} rows: {again.msg or again.result.get('plan')}")
    recovering = target.query("SELECT pg_is_in_recovery()") == [(True,)]
    if recovering != (what in ("standby", "rebuild")):
        raise Broken(f"{case}: after the next run it is {'a standby' if recovering else 'a primary'}")
    left = [path.name for path in world.server.directory.iterdir() if ".holdfast-" in path.name]
    if left:
        raise Broken(f"{case}: {left} lie about")
    strange = [path for path in world.postmasters() if path not in (str(world.server.data), str(world.other.data))]
    if strange:
        raise Broken(f"{case}: servers work in {strange}")


def main() -> None:
    with World() as world:
        many(RUNS, lambda seed: run(seed, world))


if __name__ == "__main__":
    main()
