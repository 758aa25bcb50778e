# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups into an object store, beside what the guides pipe into the CLI."""

from __future__ import annotations

import statistics
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE

from bench.common import MIB, Bench, Row, Size, Times, table
from bench.place import AWS, BUCKET, Place

BACKUP: dict[str, Any] = {"server_name": "alone", "databases": ["bench"], "retention": {"keep_last": 1}}


def measure(bench: Bench, place: Place, size: Size) -> str:
    """A table, and the memory."""
    bench.fill(size.database)
    repository, times = place.options("backups"), Times()
    inside: list[float] = []
    stores: list[float] = []

    def guide(dump: str, name: str) -> None:
        bench.shell(f"{dump} | {AWS} s3 cp - s3://{BUCKET}/guide/{name}", place.environment())

    def ours() -> None:
        before = place.seconds()
        inside.append(bench.at_server("pg_backup", **BACKUP, repository=repository)["elapsed"])
        stores.append(place.seconds() - before)

    for _round in range(size.rounds):
        times.take("floor", lambda: bench.shell("pg_dump -Fc -Z0 bench > /dev/null"))
        times.take("custom", lambda: guide("pg_dump -Fc bench", "custom"))
        times.take("gzip", lambda: guide("pg_dump bench | gzip", "gzip"))
        times.take("zstd", lambda: guide("pg_dump -Fc -Z0 bench | zstd -1", "zstd"))
        times.take("file", lambda: bench.at_server("pg_backup", **BACKUP))
        bench.take_peak()
        times.take("module", ours)
        peak = bench.take_peak()
        times.take("playbook", lambda: bench.playbook(repository))
        bench.server.query("DROP DATABASE IF EXISTS copy")
        times.take("restore", lambda: bench.at_server("pg_restore", **restore(repository)))
        restore_peak = bench.take_peak()
        bench.server.query("DROP DATABASE copy")
        times.take("again", lambda: bench.at_server("pg_backup", **BACKUP, repository=repository, max_age="1d"))
        base = bench.take_peak()
    bench.clear()
    module, playbook = times["module"], times["playbook"]
    found = table(
        Row("floor: `pg_dump -Fc -Z0 > /dev/null`", times["floor"]),
        Row("guide: `pg_dump -Fc \\| aws s3 cp -`", times["custom"]),
        Row("guide: `pg_dump \\| gzip \\| aws s3 cp -`", times["gzip"]),
        Row("best stock pipeline: `pg_dump -Fc -Z0 \\| zstd -1 \\| aws s3 cp -`", times["zstd"]),
        Row("pg_backup into a directory", times["file"]),
        Row("pg_backup into the store, to `pg_dump -Fc \\| aws s3 cp -`", module, times["custom"], 0.6),
        Row("pg_backup into the store, to `pg_dump \\| gzip \\| aws s3 cp -`", module, times["gzip"], 0.45),
        Row("pg_backup into the store, to the best stock pipeline", module, times["zstd"], 1.1),
        Row("pg_backup into the store, to a directory", module, times["file"], 1.25),
        Row(
            "playbooks/backup.yml, Ansible's start included, to `pg_dump -Fc \\| aws s3 cp -`",
            playbook,
            times["custom"],
            0.6,
        ),
        Row("playbooks/backup.yml, to `pg_dump \\| gzip \\| aws s3 cp -`", playbook, times["gzip"], 0.45),
        Row("pg_restore from the store, 2 jobs, checks and ANALYZE included", times["restore"]),
        Row("pg_backup again within max_age", times["again"]),
    )
    part, threads = STORE["part_size"]["default"] // MIB, STORE["concurrency"]["default"]
    parts = part * (threads + 2)
    # A restore reads what it unpacks once more beside that, to check it.
    kept = peak <= base + parts and restore_peak <= base + 2 * parts
    memory = (
        f"Stated memory: part_size × (concurrency + 2), here {part} MiB × {threads + 2} = {parts} MiB, for each object that is "
        f"written or read (pg_backup one at a time, pg_restore two), on top of the {base} MiB that a module takes with boto3 and "
        f"without parts. Greatest resident memory: pg_backup {peak} MiB of {base + parts}, pg_restore {restore_peak} MiB of "
        f"{base + 2 * parts}: {'kept' if kept else '**not kept**'}."
    )
    own = (
        f"Of the module's {module:.2f} s, {statistics.median(inside):.2f} s are its own `elapsed`, the rest is Python's start. It reads "
        f"each backup back and compares it within its time; the guides do not. {place.name} itself took "
        f"{statistics.median(stores):.2f} s of the same cores' time for that: a store elsewhere does not."
    )
    return f"{found}\n{own}\n\n{memory}\n"


def restore(repository: dict[str, Any]) -> dict[str, Any]:
    """Options of pg_restore."""
    return {"server_name": "alone", "databases": ["bench"], "target_db": "copy", "jobs": 2, "repository": repository}
