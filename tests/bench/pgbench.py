# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether receiving and shipping WAL keep up with pgbench on the same machine, and what they cost it."""

from __future__ import annotations

import re
import shutil
import subprocess
import time

from lab.playbooks import start_module
from lab.waiting import wait_until

from bench.common import MIB, Bench, Size
from bench.place import BUCKET, Place

SECONDS, FEW_SECONDS = 60, 8
SCALE, SMALL_SCALE = 20, 2
CLIENTS = 4
SEGMENT = 16 * MIB
_TPS = re.compile(r"tps = ([0-9.]+)")


def _run(bench: Bench, seconds: int) -> float:
    """Transactions a second."""
    command = [bench.server.program("pgbench"), "-n", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), "pgbench"]
    done = subprocess.run(command, check=True, env=bench.environment, capture_output=True, text=True)
    found = _TPS.search(done.stdout)
    assert found, done.stdout
    return float(found[1])


def measure(bench: Bench, store: Place, size: Size) -> str:
    """A table."""
    server = bench.server
    seconds, scale = (SECONDS, SCALE) if size.rounds > 1 else (FEW_SECONDS, SMALL_SCALE)
    server.query("CREATE DATABASE pgbench")
    fill = [server.program("pgbench"), "-i", "-q", "-s", str(scale), "pgbench"]
    subprocess.run(fill, check=True, env=bench.environment, stderr=subprocess.DEVNULL)
    server.query("CHECKPOINT")
    alone = _run(bench, seconds)
    root = bench.directory / "followed"
    wal = root / "bench" / "_wal"
    wal.mkdir(parents=True)
    server.query("SELECT pg_create_physical_replication_slot('pgbench', true)")
    receive = [server.program("pg_receivewal"), "-D", str(wal), "-S", "pgbench", "--synchronous"]
    given = {"server_name": "bench", "wal_directory": str(root), "keep": 1, "repository": store.options("pgbench")}
    with subprocess.Popen(receive, env=bench.environment, stderr=subprocess.DEVNULL) as receiver:
        shipper = start_module("wal_ship", {**given, "follow": True})
        try:
            wait_until(
                lambda: server.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'pgbench' AND active")
            )
            server.query("CHECKPOINT")
            begin = server.query("SELECT pg_current_wal_lsn()::text")[0][0]
            busy = _run(bench, seconds)
            ((written, last),) = server.query(
                "SELECT pg_current_wal_lsn() - %s::pg_lsn, pg_walfile_name(pg_current_wal_lsn())", values=[begin]
            )
            ended = time.monotonic()
            waiting = int(written) / SEGMENT - _stored(store, begin)
            server.query("SELECT pg_switch_wal()")
            wait_until(lambda: _has(store, last), timeout=600)
            late = time.monotonic() - ended
        finally:
            shipper.kill()
            receiver.terminate()
    server.query("SELECT pg_drop_replication_slot('pgbench')")
    server.query("DROP DATABASE pgbench")
    shutil.rmtree(root)
    return (
        f"| pgbench for {seconds} s, {CLIENTS} clients | ratio | to reach at most | reached |\n| --- | --- | --- | --- |\n"
        f"| until all of it was in the store after its end, to its time | {late / seconds:.3f} | 0.1 | {'yes' if late / seconds <= 0.1 else '**no**'} |\n"
        f"| segments that waited at its end, to those that it wrote | {max(waiting, 0) / (int(written) / SEGMENT):.3f} | | |\n"
        f"| its transactions with receiving and shipping, to those alone | {busy / alone:.2f} | | |\n"
        f"\nIt wrote {int(written) / SEGMENT:.1f} segments. Received with `--synchronous`, shipped by `wal_ship` with `follow`, on the same cores.\n"
    )


def _stored(store: Place, since: str) -> int:
    """Segments in the store of this position or after."""
    high, low = (int(part, 16) for part in since.split("/"))
    first = (high << 32 | low) // SEGMENT
    listed = store.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="pgbench/bench/_wal/0")
    names = [one["Key"].rpartition("/")[2][:24] for page in listed for one in page.get("Contents") or []]
    return sum(
        int(name[8:16], 16) * 256 + int(name[16:], 16) >= first for name in names if re.fullmatch("[0-9A-F]{24}", name)
    )


def _has(store: Place, segment: str) -> bool:
    found = store.client().list_objects_v2(Bucket=BUCKET, Prefix=f"pgbench/bench/_wal/{segment}")
    return bool(found.get("Contents"))
