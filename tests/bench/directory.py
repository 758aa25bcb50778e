# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups into a directory, and back."""

from __future__ import annotations

import subprocess
from typing import Any

from bench.common import Bench, Row, Size, Times, table

BACKUP: dict[str, Any] = {"server_name": "alone", "databases": ["bench"]}
DIRECTORY: dict[str, Any] = {
    **BACKUP,
    "server_name": "folders",
    "format": "directory",
    "jobs": 2,
    "retention": {"keep_last": 1},
}
RESTORE: dict[str, Any] = {**BACKUP, "target_db": "copy", "jobs": 2}


def measure(bench: Bench, size: Size) -> str:
    """A table, and the memory."""
    bench.fill(size.database // 5)
    bench.at_server("pg_backup", server_name="small", databases=["bench"])
    small_peak = bench.take_peak()
    bench.fill(size.database)
    times = Times()
    folder = "--compress=zstd:1" if _dumps_by_zstd(bench) else "-Z1"
    for _round in range(size.rounds):
        times.take("floor", lambda: bench.shell("pg_dump -Fc -Z0 bench > /dev/null"))
        times.take("custom", lambda: bench.shell("pg_dump -Fc bench > guide.dump && sync guide.dump"))
        times.take("gzip", lambda: bench.shell("pg_dump bench | gzip > guide.sql.gz && sync guide.sql.gz"))
        times.take("zstd", lambda: bench.shell("pg_dump -Fc -Z0 bench | zstd -1 -q -f -o guide.zst && sync guide.zst"))
        bench.shell("rm -rf guide.dir")
        times.take("folder", lambda: bench.shell(f"pg_dump -Fd -j2 {folder} -f guide.dir bench && sync guide.dir/*"))
        times.take("module", lambda: bench.at_server("pg_backup", **BACKUP, retention={"keep_last": 1}))
        times.take("jobs", lambda: bench.at_server("pg_backup", **DIRECTORY))
        times.take("playbook", lambda: bench.playbook(bench.repository))
        times.take("second", lambda: bench.playbook(bench.repository, max_age="1d"))
        times.take("again", lambda: bench.at_server("pg_backup", **BACKUP, max_age="1d"))
        bench.server.query("DROP DATABASE IF EXISTS copy")
        bench.server.query("CREATE DATABASE copy TEMPLATE template0")
        times.take("guide_restore", lambda: bench.shell("pg_restore -d copy guide.dump"))
        bench.server.query("DROP DATABASE copy")
        bench.server.query("CREATE DATABASE copy TEMPLATE template0")
        times.take(
            "expert_restore",
            lambda: bench.shell("pg_restore -j2 -d copy guide.dump && vacuumdb -q -Z -j2 copy"),
        )
        bench.server.query("DROP DATABASE copy")
        times.take("restore", lambda: bench.at_server("pg_restore", **RESTORE))
    bench.server.query("DROP DATABASE copy")
    module, playbook = times["module"], times["playbook"]
    expert_restore = "expert: `pg_restore -j2` of the -Fc file, `vacuumdb -Z -j2`"
    found = table(
        Row("floor: `pg_dump -Fc -Z0 > /dev/null`", times["floor"]),
        Row("guide: `pg_dump -Fc > file`", times["custom"]),
        Row("guide: `pg_dump \\| gzip > file`", times["gzip"]),
        Row("expert: `pg_dump -Fc -Z0 \\| zstd -1 > file`", times["zstd"]),
        Row(f"expert: `pg_dump -Fd -j2 {folder}`", times["folder"]),
        Row("pg_backup, module alone, to `pg_dump -Fc`", module, times["custom"], 0.6),
        Row("pg_backup, module alone, to `pg_dump \\| gzip`", module, times["gzip"], 0.45),
        Row("pg_backup, module alone, to the expert's pipe", module, times["zstd"]),
        Row("pg_backup, module alone, to the floor", module, times["floor"], 1.3),
        Row("pg_backup, `format: directory`, 2 jobs, to the expert's", times["jobs"], times["folder"]),
        Row("playbooks/backup.yml, Ansible's start included, to `pg_dump -Fc`", playbook, times["custom"], 0.6),
        Row("playbooks/backup.yml, to `pg_dump \\| gzip`", playbook, times["gzip"], 0.45),
        Row("playbooks/backup.yml, to the floor", playbook, times["floor"], 1.4),
        Row("guide: `pg_restore` of the -Fc file", times["guide_restore"]),
        Row(expert_restore, times["expert_restore"]),
        Row("pg_restore, 2 jobs, checks and ANALYZE included", times["restore"], times["guide_restore"], 0.7),
        Row("pg_restore, the same, to the expert's", times["restore"], times["expert_restore"], 1.1),
        Row("pg_backup again within max_age", times["again"]),
        Row("playbooks/backup.yml again within max_age, Ansible's start included", times["second"], target=2.5),
    )
    memory = (
        f"Greatest resident memory of a module: {bench.take_peak()} MiB, and {small_peak} MiB with a fifth of the data."
    )
    return f"{found}\n{memory} To reach: under 150 MiB, flat.\n"


def _dumps_by_zstd(bench: Bench) -> bool:
    """Whether this pg_dump, from 16 on, was built with it."""
    try:
        bench.shell("pg_dump --schema-only -Fc --compress=zstd:1 bench > /dev/null 2>&1")
    except subprocess.CalledProcessError:
        return False
    return True
