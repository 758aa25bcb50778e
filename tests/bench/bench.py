# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours and the guides' pipelines, side by side in one run. `make bench` runs it; with --write it renews docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from lab.installations import find_installations  # noqa: E402
from lab.playbooks import run_playbook, start_module  # noqa: E402
from lab.servers import Server, pick  # noqa: E402

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


RESTORE: dict[str, Any] = {"server_name": "alone", "databases": ["bench"], "target_db": "copy", "jobs": 2}


class Bench:
    """A filled server, a directory, and the ways to back it up and to restore it."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server, self.directory = server, directory
        self.repository = directory / "repository"
        self.repository.mkdir()
        self.environment = {**os.environ, **server.environment("bench")}
        self.peak = 0

    def shell(self, command: str) -> None:
        path = f"{self.server.bindir}:{self.environment['PATH']}"
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            check=True,
            cwd=self.directory,
            env={**self.environment, "PATH": path},
            stdout=subprocess.DEVNULL,
        )

    def module(self, name: str, **options: Any) -> dict[str, Any]:
        """A module by itself; its greatest resident memory is watched."""
        where = {
            **self.server.login(),
            "bin_dir": str(self.server.bindir),
            "repository": {"path": str(self.repository)},
        }
        running = start_module(name, {**where, **options})
        watcher = threading.Thread(target=self._watch, args=(running.process,))
        watcher.start()
        done = running.result(3600)
        watcher.join()
        if done.failed:
            raise SystemExit(done.msg)
        return done.result

    def _watch(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                self.peak = max(
                    self.peak, *(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM")), 0
                )
            except (OSError, ValueError):
                pass
            time.sleep(0.1)

    def playbook(self) -> None:
        variables = {f"holdfast_{key}": value for key, value in self.server.login().items()}
        variables |= {"holdfast_bin_dir": str(self.server.bindir), "holdfast_databases": ["bench"]}
        variables |= {"holdfast_repository": {"path": str(self.repository)}, "holdfast_server_name": "bench"}
        run = run_playbook(CHECKOUT / "playbooks" / "backup.yml", variables)
        if run.returncode:
            raise SystemExit(run.stdout + run.stderr)

    def fresh(self, name: str) -> None:
        self.server.query(f"DROP DATABASE IF EXISTS {name}")


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def measure(bench: Bench, rounds: int) -> dict[str, float]:
    """Medians, in seconds; the ways take turns, so that what else the machine does hits them alike."""
    backup = {"server_name": "alone", "databases": ["bench"]}
    ways: dict[str, Callable[[], object]] = {
        "floor": lambda: bench.shell("pg_dump -Fc -Z0 bench > /dev/null"),
        "guide_custom": lambda: bench.shell("pg_dump -Fc bench > guide.dump && sync guide.dump"),
        "guide_gzip": lambda: bench.shell("pg_dump bench | gzip > guide.sql.gz && sync guide.sql.gz"),
        "module": lambda: bench.module("pg_backup", **backup, retention={"keep_last": 1}),
        "playbook": bench.playbook,
    }
    times: dict[str, list[float]] = {name: [] for name in (*ways, "guide_restore", "restore", "again")}
    for _round in range(rounds):
        for name, work in ways.items():
            times[name].append(seconds(work))
        times["again"].append(seconds(lambda: bench.module("pg_backup", **backup, max_age="1d")))
        bench.fresh("copy")
        bench.server.query("CREATE DATABASE copy TEMPLATE template0")
        times["guide_restore"].append(seconds(lambda: bench.shell("pg_restore -d copy guide.dump")))
        bench.fresh("copy")
        times["restore"].append(seconds(lambda: bench.module("pg_restore", **RESTORE)))
    return {name: statistics.median(values) for name, values in times.items()}


def table(found: dict[str, float], peak: int, small_peak: int) -> str:
    def row(what: str, took: float, against: str = "", target: float | None = None) -> str:
        ratio = f"{took / found[against]:.2f}" if against else ""
        met = "" if target is None else "yes" if took / found[against] <= target else "**no**"
        return f"| {what} | {took:.2f} s | {ratio} | {'' if target is None else target} | {met} |"

    lines = [
        "| what | median | ratio | to reach | reached |",
        "| --- | --- | --- | --- | --- |",
        row("floor: `pg_dump -Fc -Z0 > /dev/null`", found["floor"]),
        row("guide: `pg_dump -Fc > file`", found["guide_custom"]),
        row("guide: `pg_dump \\| gzip > file`", found["guide_gzip"]),
        row("pg_backup, module alone, to `pg_dump -Fc`", found["module"], "guide_custom", 0.6),
        row("pg_backup, module alone, to `pg_dump \\| gzip`", found["module"], "guide_gzip", 0.45),
        row("pg_backup, module alone, to the floor", found["module"], "floor", 1.4),
        row("playbooks/backup.yml, Ansible's start included, to `pg_dump -Fc`", found["playbook"], "guide_custom", 0.6),
        row("playbooks/backup.yml, to `pg_dump \\| gzip`", found["playbook"], "guide_gzip", 0.45),
        row("playbooks/backup.yml, to the floor", found["playbook"], "floor", 1.4),
        row("guide: `pg_restore` of the -Fc file", found["guide_restore"]),
        row("pg_restore, 2 jobs, checks and ANALYZE included", found["restore"], "guide_restore", 0.7),
        row("pg_backup again within max_age", found["again"]),
    ]
    memory = f"Greatest resident memory of a module: {peak // 1024} MB, and {small_peak // 1024} MB with a fifth of the data."
    return "\n".join(lines) + f"\n\n{memory} To reach: under 150 MB, flat.\n"


def fill(server: Server, megabytes: int) -> None:
    server.query("DROP DATABASE IF EXISTS bench")
    server.query("CREATE DATABASE bench")
    share = megabytes / 1500
    script = DATA.format(many=int(6_000_000 * share), wide=int(45_000 * share), noise=int(5_000 * share))
    for statement in script.split(";\n"):
        if statement.strip():
            server.psql(statement + ";", "bench")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    chosen = next((item for item in find_installations() if item.source != "pypi"), None) or pick()
    settings = {"shared_buffers": "512MB", "max_wal_size": "4GB", "maintenance_work_mem": "256MB"}
    with (
        Server(chosen, settings=settings) as server,
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory,
    ):
        bench = Bench(server, Path(directory))
        fill(server, options.size_mb // 5)
        bench.module("pg_backup", server_name="small", databases=["bench"])
        small_peak, bench.peak = bench.peak, 0
        fill(server, options.size_mb)
        size = int(server.query("SELECT pg_database_size('bench')")[0][0])
        load = os.getloadavg()[0]
        found = measure(bench, options.rounds)
        text = table(found, bench.peak, small_peak)
        where = f"{size / 1e9:.2f} GB database, PostgreSQL {chosen.version}, {os.cpu_count()} cores, {options.rounds} rounds"
        when = f"{datetime.date.today()}, load before {load:.1f}"
        print(f"\n{where}, {when}\n\n{text}")
        if options.write:
            command = (
                f".venv/bin/python tests/bench/bench.py --size-mb {options.size_mb} --rounds {options.rounds} --write"
            )
            head = "# Benchmarks\n\nOurs and the guides' pipelines, taking turns in one run. Made by\n\n"
            page = f"{head}```text\n{command}\n```\n\n{where}, {when}.\n\n{text}"
            (CHECKOUT / "docs" / "benchmarks.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
