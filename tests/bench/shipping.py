# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL shipped into a store and into a directory, beside the guides' command for each segment."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from bench.common import Bench, Size
from bench.place import AWS, BUCKET, Place

SEGMENTS, SLOW_SEGMENTS = 60, 8
ROWS = 70_000  # about a segment


class Received:
    """Segments as pg_receivewal leaves them: half of them full of rows, half nearly empty, as ``archive_timeout`` leaves them."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self.folder = bench, bench.directory / "received"
        self.folder.mkdir()
        server = bench.server
        begin = server.query("SELECT pg_switch_wal()")[0][0]
        server.query("SELECT pg_create_physical_replication_slot('bench', true)")
        server.psql("DROP TABLE IF EXISTS load; CREATE TABLE load (number int, text text); CHECKPOINT;")
        rows = f"INSERT INTO load SELECT g, md5(g::text) || md5(random()::text) FROM generate_series(1, {ROWS}) g;"
        work = "PERFORM pg_logical_emit_message(false, 'bench', repeat(md5(i::text), 20000)); PERFORM pg_switch_wal();"
        for _number in range(SEGMENTS // 2):
            server.psql(rows)
        server.psql(f"SELECT pg_switch_wal(); DO $$ BEGIN FOR i IN 1..{SEGMENTS // 2} LOOP {work} END LOOP; END $$")
        server.psql("INSERT INTO load VALUES (1, 'x')")
        end = server.query("SELECT pg_current_wal_insert_lsn()")[0][0]
        assert begin != end
        program = [
            server.program("pg_receivewal"),
            "-D",
            str(self.folder),
            "-S",
            "bench",
            "--no-loop",
            f"--endpos={end}",
        ]
        subprocess.run(program, check=True, env=bench.environment, stderr=subprocess.DEVNULL)
        server.query("SELECT pg_drop_replication_slot('bench')")
        self.names = sorted(path.name for path in self.folder.iterdir() if len(path.name) == 24)[:SEGMENTS]

    def directory(self, name: str) -> Path:
        """A directory to ship from, with all of them."""
        root = self._bench.directory / name
        wal = root / "bench" / "_wal"
        wal.mkdir(parents=True)
        for segment in self.names:
            shutil.copy(self.folder / segment, wal / segment)
        return root


def measure(bench: Bench, store: Place, size: Size) -> str:
    """A table."""
    received = Received(bench)
    count = len(received.names)
    rates: dict[str, list[float]] = {}

    def note(name: str, segments: int, began: float) -> None:
        rates.setdefault(name, []).append(segments / (time.monotonic() - began))

    for number in range(size.rounds):
        root = received.directory(f"ship-{number}")
        began = time.monotonic()
        where = store.options(f"ship-{number}")
        bench.module("wal_ship", server_name="bench", wal_directory=str(root), keep=1, repository=where)
        note("ship", count, began)
        began = time.monotonic()
        for segment in received.names[:: count // SLOW_SEGMENTS][:SLOW_SEGMENTS]:
            copy = f"{AWS} s3 cp --only-show-errors {received.folder}/{segment} s3://{BUCKET}/guide-{number}/{segment}"
            bench.shell(copy, store.environment())
        note("guide", SLOW_SEGMENTS, began)
        root, target = received.directory(f"near-{number}"), bench.directory / f"far-{number}"
        target.mkdir()
        began = time.monotonic()
        bench.module("wal_ship", server_name="bench", wal_directory=str(root), keep=1, repository={"path": str(target)})
        note("directory", count, began)
        plain = bench.directory / f"plain-{number}"
        plain.mkdir()
        began = time.monotonic()
        bench.shell(
            f"for f in {received.folder}/????????????????????????; do cp $f {plain}/ && sync {plain}/${{f##*/}}; done"
        )
        note("cp", count, began)
        for path in (root, target, plain, bench.directory / f"ship-{number}"):
            shutil.rmtree(path)
    shutil.rmtree(received.folder)
    peak = bench.take_peak()
    middle = {name: sorted(found)[len(found) // 2] for name, found in rates.items()}

    def line(what: str, ours: float, theirs: float, least: float | None = None) -> str:
        met = "" if least is None else "yes" if ours / theirs >= least else "**no**"
        return f"| {what} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} | {least or ''} | {met} |\n"

    return (
        "| wal_ship, in segments a second | ours | theirs | ratio | to reach at least | reached |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        + line("into the store, to `aws s3 cp %p`", middle["ship"], middle["guide"], 12)
        + line("into a directory, to `cp` and `sync`", middle["directory"], middle["cp"])
        + f"\nHalf of {count} segments are full, half nearly empty. Ours are compressed, read back and compared within their time, and the start "
        f"of the module is in it. Its greatest resident memory: {peak} MB.\n"
    )
