# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of the bench have in common: a filled server, ways to run things, and tables of what they took."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.playbooks import run_playbook, start_module
from lab.servers import Server

CHECKOUT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
DATA = """
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE TABLE many AS SELECT i AS id, now() - i * interval '1 s' AS at, md5(i::text) AS code, (i % 1000)::numeric / 7 AS amount,
  'customer ' || (i % 5000) AS who FROM generate_series(1, {many}) i;
ALTER TABLE many ADD PRIMARY KEY (id); CREATE INDEX ON many (who);
CREATE TABLE wide AS SELECT i AS id, (SELECT string_agg(md5((i * 1000 + j)::text) || ' some words that repeat ', '')
  FROM generate_series(1, 200) j) AS body FROM generate_series(1, {wide}) i;
ALTER TABLE wide ADD PRIMARY KEY (id);
CREATE TABLE noise AS SELECT i AS id, (SELECT string_agg(gen_random_bytes(1000), '') FROM generate_series(1, 50) j WHERE i > 0)
  AS bytes FROM generate_series(1, {noise}) i;
ALTER TABLE noise ADD PRIMARY KEY (id);
VACUUM ANALYZE; CHECKPOINT;
"""


@dataclass(frozen=True)
class Size:
    """How much is measured: bytes of the database in MB, of the artifact in MiB, backups listed, objects copied."""

    database: int
    artifact: int
    backups: int
    objects: int
    rounds: int


class Bench:
    """A server, a directory, and the ways to back it up and to restore it."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server, self.directory = server, directory
        folder = directory / "repository"
        folder.mkdir()
        self.repository: dict[str, Any] = {"path": str(folder)}
        self.environment = {**os.environ, **server.environment("bench")}
        self._peak = 0

    def shell(self, command: str, environment: Mapping[str, str] | None = None) -> None:
        """A pipeline as the guides have it."""
        path = f"{self.server.bindir}:{self.environment['PATH']}"
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            check=True,
            cwd=self.directory,
            env={**self.environment, **(environment or {}), "PATH": path},
            stdout=subprocess.DEVNULL,
        )

    def module(self, name: str, **options: Any) -> dict[str, Any]:
        """A module by itself; its greatest resident memory is watched."""
        running = start_module(name, options)
        watcher = threading.Thread(target=self._watch, args=(running.process,))
        watcher.start()
        done = running.result(3600)
        watcher.join()
        if done.failed or not done.result:
            raise SystemExit(done.msg or done.stderr)
        return done.result

    def at_server(self, name: str, **options: Any) -> dict[str, Any]:
        """A module that speaks to the server, by default with the repository on the disk."""
        where = {**self.server.login(), "bin_dir": str(self.server.bindir), "repository": self.repository}
        return self.module(name, **{**where, **options})

    def _watch(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                self._peak = max(
                    self._peak, *(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM")), 0
                )
            except (OSError, ValueError):
                pass
            time.sleep(0.1)

    def take_peak(self) -> int:
        """The greatest resident memory of a module since this was last asked, in MiB."""
        peak, self._peak = self._peak // 1024, 0
        return peak

    def playbook(self, repository: Mapping[str, Any], max_age: str = "") -> None:
        """playbooks/backup.yml, with Ansible's own start. ``max_age``: a backup that is younger will do."""
        variables = {f"holdfast_{key}": value for key, value in self.server.login().items()}
        variables |= {"holdfast_bin_dir": str(self.server.bindir), "holdfast_backup_databases": ["bench"]}
        variables |= {"holdfast_repository": dict(repository), "holdfast_server_name": "bench"}
        variables |= {"holdfast_retention": {"keep_last": 1}, "holdfast_backup_max_age": max_age}
        run = run_playbook(CHECKOUT / "playbooks" / "backup.yml", variables)
        if run.returncode:
            raise SystemExit(run.stdout + run.stderr)

    def clear(self) -> None:
        """Empty the repository on the disk."""
        for entry in Path(self.repository["path"]).iterdir():
            shutil.rmtree(entry)

    def fill(self, megabytes: int) -> None:
        """The database `bench`, of about so many megabytes."""
        self.server.query("DROP DATABASE IF EXISTS bench")
        self.server.query("CREATE DATABASE bench")
        share = megabytes / 1500
        script = DATA.format(many=int(6_000_000 * share), wide=int(45_000 * share), noise=int(5_000 * share))
        for statement in script.split(";\n"):
            if statement.strip():
                self.server.psql(statement + ";", "bench")


class Times:
    """Seconds that things took, by name. Ways that are compared take turns, so that what else the machine does hits all."""

    def __init__(self) -> None:
        self._taken: dict[str, list[float]] = {}

    def take(self, name: str, work: Callable[[], object]) -> None:
        """Do ``work``, and note how long it took."""
        began = time.monotonic()
        work()
        self._taken.setdefault(name, []).append(time.monotonic() - began)

    def __getitem__(self, name: str) -> float:
        """The median."""
        return statistics.median(self._taken[name])


@dataclass(frozen=True)
class Row:
    """A line of a table: seconds, and what they are compared with. Without ``against`` the target is seconds too."""

    what: str
    took: float
    against: float | None = None
    target: float | None = None

    def __str__(self) -> str:
        measured = self.took if self.against is None else self.took / self.against
        ratio = "" if self.against is None else f"{measured:.2f}"
        unit = "" if self.target is None else str(self.target) if self.against is not None else f"{self.target} s"
        met = "" if self.target is None else "yes" if measured <= self.target else "**no**"
        return f"| {self.what} | {self.took:.2f} s | {ratio} | {unit} | {met} |"


def table(*rows: Row) -> str:
    """What was measured, and whether it is what was to be reached."""
    head = "| what | median | ratio | to reach | reached |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(f"{row}\n" for row in rows)
