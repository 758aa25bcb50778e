# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole servers: copies, WAL and recovery, beside what the guides do. The store speaks TLS, as pgBackRest wants it so."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.wal.findings import audit
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment, SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.timeline import Timelines
from lab.playbooks import run_playbook
from lab.servers import Server, free_port

from bench.common import CHECKOUT, Bench, Row, Size, Times, table
from bench.place import AWS, BUCKET, Place

NAMES = 1_000_000
SEGMENTS, SLOW_SEGMENTS = 60, 8
ROWS = 3_000_000  # about 20 segments
BARE = "pg_basebackup -D - -Ft -X fetch -c fast | zstd -q --fast=1 > bare.tar.zst"
SETTINGS = {
    "archive_mode": "on",
    "archive_command": "/bin/false",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "wal_keep_size": "0",
}


class Site:
    """A server that archives, a store with TLS, and the ways into it."""

    def __init__(self, bench: Bench, store: Place) -> None:
        self.bench, self.server, self.store = bench, bench.server, store
        config = self.server.server_directory("config")
        config.chmod(0o755)
        self.common: dict[str, Any] = {"config_dir": str(config), "server_name": "bench"}

    def pgbackrest(self, name: str, **options: Any) -> dict[str, Any]:
        given = {**self.common, "engine": "pgbackrest", "repository": self.store.options("rest"), "jobs": 2, **options}
        return self.bench.at_server(name, **given)

    def archive_by(self, command: str) -> None:
        """Let the server's archiver run it."""
        self.server.query("ALTER SYSTEM SET archive_command = %s", values=[command])
        self.server.query("SELECT pg_reload_conf()")

    def backlog(self, command: str, segments: int) -> float:
        """Segments that the archiver moves in a second when so many wait."""
        self.archive_by("/bin/false")
        work = "PERFORM pg_logical_emit_message(false, 'bench', repeat(md5(i::text), 20000)); PERFORM pg_switch_wal();"
        self.server.psql(f"DO $$ BEGIN FOR i IN 1..{segments} LOOP {work} END LOOP; END $$")
        return segments / self.drained(time.monotonic(), command)

    def alongside(self, command: str) -> float:
        """Segments that go in a second while one client writes as many rows as it can, until the last of them is archived."""
        server = self.server
        server.psql("DROP TABLE IF EXISTS load; CREATE TABLE load (number int, text text); CHECKPOINT;")
        self.drained(time.monotonic(), command)
        began, first = time.monotonic(), server.query("SELECT pg_current_wal_lsn()")[0][0]
        server.psql(
            f"INSERT INTO load SELECT g, md5(g::text) || md5(random()::text) FROM generate_series(1, {ROWS}) g;"
        )
        written = server.query("SELECT (pg_current_wal_lsn() - %s::pg_lsn) / 16777216", values=[first])[0][0]
        server.psql("SELECT pg_switch_wal();")
        return float(written) / self.drained(began, command)

    def drained(self, began: float, command: str) -> float:
        """Seconds from ``began`` until nothing waits for the archiver."""
        last = self.server.query("SELECT pg_walfile_name(pg_current_wal_lsn() - 1)")[0][0]
        self.archive_by(command)
        waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready' AND name <= '{}.ready'"
        while self.server.query(waiting.format(last))[0][0]:
            time.sleep(0.02)
            if time.monotonic() - began > 600:
                raise SystemExit(f"WAL is not archived by {command}: {self.server.log.read_text()[-2000:]}")
        return time.monotonic() - began


def measure(bench: Bench, store: Place, size: Size) -> str:
    """Tables."""
    with Server(bench.server.installation, settings=SETTINGS) as server:
        place = bench.directory / "physical"
        place.mkdir()
        own = Bench(server, place)
        own.fill(size.database)
        site = Site(own, store)
        parts = [_wal(site), _copies(site, size), _recovery(site, size), _audit()]
    shutil.rmtree(place, ignore_errors=True)
    return "\n\n".join(parts)


def _copies(site: Site, size: Size) -> str:
    bench, times = site.bench, Times()
    folder = bench.directory / "guide"

    def guide() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        bench.shell(
            f"pg_basebackup -D {folder}/base -X fetch -c fast && tar czf {folder}/base.tar.gz -C {folder} base"
            f" && {AWS} s3 cp {folder}/base.tar.gz s3://{BUCKET}/guide/base.tar.gz",
            site.store.environment(),
        )

    stream: dict[str, Any] = {**site.common, "engine": "pg_basebackup", "retention": {"keep_last": 1}}
    configuration = next(Path(site.common["config_dir"]).rglob("pgbackrest.conf")).parent
    bare = ["pgbackrest", f"--config-path={configuration}", "--stanza=bench", "--type=full", "backup"]
    owner = [*([] if os.geteuid() else ["runuser", "-u", site.server.owner, "--"]), "env", f"PGHOST={site.server.host}"]
    passfile = f"PGPASSFILE={site.common['config_dir']}/bench.pgpass"
    for _round in range(size.rounds):
        times.take("guide", guide)
        times.take("stream", lambda: bench.at_server("pg_backup", **stream, repository=site.store.options("stream")))
        times.take("rest", lambda: site.pgbackrest("pg_backup", retention={"keep_last": 1}))
        times.take("bare", lambda: subprocess.run([*owner, passfile, *bare], check=True, stdout=subprocess.DEVNULL))
        times.take("disk", lambda: bench.shell(BARE))
        times.take("checked", lambda: bench.shell(f"{BARE} && sync bare.tar.zst && sha256sum bare.tar.zst"))
        times.take("file", lambda: bench.at_server("pg_backup", **stream))
    shutil.rmtree(folder, ignore_errors=True)
    found = table(
        Row("guide: pg_basebackup to the disk, `tar czf`, `aws s3 cp`", times["guide"]),
        Row("pg_backup, pg_basebackup streamed into the store", times["stream"], times["guide"], 0.2),
        Row("pg_backup by pgbackrest, 2 processes", times["rest"], times["guide"], 0.35),
        Row("bare: `pgbackrest backup`", times["bare"]),
        Row("bare: `pg_basebackup -D - -Ft \\| zstd > file`", times["disk"]),
        Row("pg_backup by pgbackrest, to the bare engine and 1 s", times["rest"], times["bare"] + 1, 1.03),
        Row(
            "pg_backup of pg_basebackup into a directory, to the bare pipeline and 1 s",
            times["file"],
            times["disk"] + 1,
            1.03,
        ),
        Row(
            "the same, to the bare pipeline, `sync` and `sha256sum`, and 1 s", times["file"], times["checked"] + 1, 1.03
        ),
    )
    return f"{found}\nOurs of pg_basebackup read the backup back and compare it within their time; the bare pipeline does not.\n"


def _wal(site: Site) -> str:
    site.pgbackrest("wal_archive", replace=True)
    command = site.server.query("SHOW archive_command")[0][0]
    site.drained(time.monotonic(), command)  # what filling the database has left
    target = site.server.server_directory("plain")
    words = " ".join(f"{name}={value}" for name, value in site.store.environment().items())
    plain, safe = f"cp %p {target}/%f", f"cp %p {target}/%f && sync {target}/%f"
    copy, rest, synced = (site.backlog(way, SEGMENTS) for way in (plain, command, safe))
    guide = site.backlog(f"env {words} {AWS} s3 cp --only-show-errors %p s3://{BUCKET}/wal/%f", SLOW_SEGMENTS)
    copy_alongside, rest_alongside = site.alongside(plain), site.alongside(command)
    site.archive_by(command)
    shutil.rmtree(target, ignore_errors=True)

    def line(what: str, ours: float, theirs: float, least: float | None = None) -> str:
        met = "" if least is None else "yes" if ours / theirs >= least else "**no**"
        return f"| {what} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} | {least or ''} | {met} |\n"

    return (
        "| wal_archive into the store (pgbackrest), in segments a second | ours | theirs | ratio | to reach at least | reached |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        + line("to `aws s3 cp %p`, where a backlog waits", rest, guide, 12)
        + line("to plain `cp` to the disk, while a client writes all it can", rest_alongside, copy_alongside, 0.9)
        + line("to plain `cp` to the disk, where a backlog waits", rest, copy, 0.9)
        + line("to `cp` and `sync`, which is what may be trusted, where a backlog waits", rest, synced)
        + "\nSegments of a backlog are nearly empty, as `archive_timeout` leaves them: they cost the most for what they hold.\n"
    )


def _recovery(site: Site, size: Size) -> str:
    """From a directory, to the latest moment: `recover.yml`, and copy, untar, and `cp` as restore_command."""
    bench, server, times = site.bench, site.server, Times()
    repository = server.server_directory("repository")
    given = {**site.common, "engine": "pg_basebackup", "repository": {"path": str(repository)}}
    bench.at_server("wal_archive", **given, replace=True)
    bench.at_server("pg_backup", **given)
    plain = server.server_directory("archive")
    bench.shell(
        f"pg_basebackup -D {bench.directory}/copy -X none -c fast && tar czf {plain}/base.tar.gz -C {bench.directory}/copy ."
    )
    shutil.rmtree(bench.directory / "copy")
    server.psql("CREATE TABLE later AS SELECT g, repeat('x', 100) FROM generate_series(1, 500000) g;", db="bench")
    bench.at_server("wal_archive", **given, state="verified")
    for name in sorted(os.listdir(repository / "bench" / "_wal")):
        if name.endswith(".zst"):
            bench.shell(f"zstd -q -d -f -o {plain}/{name[:-4]} {repository}/bench/_wal/{name}")
    owner = [] if os.geteuid() else ["runuser", "-u", server.owner, "--"]
    port, target = free_port(), server.directory / "restored"

    def stop() -> None:
        subprocess.run([*owner, server.program("pg_ctl"), "-D", str(target), "-m", "immediate", "stop"], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        shutil.rmtree(target)

    def guide() -> None:
        script = (
            f"umask 077; mkdir {target} && cp {plain}/base.tar.gz {target}.tar.gz && tar xzf {target}.tar.gz -C {target}"
            f" && rm {target}.tar.gz && touch {target}/recovery.signal"
            f" && echo \"restore_command = 'cp {plain}/%f %p'\" >> {target}/postgresql.auto.conf"
            f' && echo "archive_mode = off" >> {target}/postgresql.auto.conf'
            f' && echo "port = {port}" >> {target}/postgresql.auto.conf'
            f" && {server.program('pg_ctl')} -D {target} -l {target}/log -w -t 600 start >/dev/null"
            f" && while grep -q 'in archive recovery' <<< \"$({server.program('pg_controldata')} {target})\"; do sleep 0.1; done"
        )
        subprocess.run([*owner, "bash", "-c", script], check=True, cwd="/", env={**os.environ, "LC_ALL": "C"})

    def ours() -> None:
        variables = {
            "holdfast_server_name": "bench",
            "holdfast_bin_dir": str(server.bindir),
            "holdfast_repository": {"path": str(repository)},
            "holdfast_data_directory": str(target),
            "holdfast_owner": server.owner,
            "holdfast_recover_settings": {"port": str(port)},
        }
        run = run_playbook(CHECKOUT / "playbooks" / "recover.yml", variables)
        if run.returncode:
            raise SystemExit(run.stdout + run.stderr)

    for _round in range(size.rounds):
        times.take("guide", guide)
        stop()
        times.take("ours", ours)
        stop()
    return table(
        Row("guide: copy, untar, `cp` as restore_command, until it can be written to", times["guide"]),
        Row("playbooks/recover.yml, Ansible's start and all checks included", times["ours"], times["guide"], 0.5),
    )


def _audit() -> str:
    size, times = SegmentSize(), Times()
    inventory = Inventory(size)
    names = (size.name(Segment(1, number)) + ".zst" for number in range(1, NAMES + 1))
    times.take("audit", lambda: inventory.read(names))
    findings = audit(inventory, Timelines({}))
    return table(Row(f"audit of {NAMES:,} names: {findings[0].text}", times["audit"], None, 10))
