# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for wal-g, to test what the engine does with what a program says and leaves behind. It is written after WAL-G's
documentation, and proves nothing about WAL-G: that is for tests/integration/test_engine_wal_g.py.

It keeps files in WALG_FILE_PREFIX without compression, notes what it was called with in ``calls`` beside itself, and
misbehaves as the file ``misbehave`` beside itself says.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).parent
SYSTEM_ID = 7507672962298572862


def fail(words: str, code: int = 1) -> NoReturn:
    print(f"ERROR: 2026/11/21 08:00:00.000001 {words}", file=sys.stderr)
    sys.exit(code)


def doomed(store: Path, names: list[str], confirmed: bool) -> None:
    dialect = (HERE / "dialect").read_text() if (HERE / "dialect").exists() else "\twill be deleted: {}"
    for name in names:
        print(f"INFO: 2026/11/21 08:00:00.000001 {dialect.format(name)}", file=sys.stderr)
        if confirmed:
            path = store / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> None:
    misbehave = (HERE / "misbehave").read_text() if (HERE / "misbehave").exists() else ""
    words = sys.argv[1:]
    if words == ["--version"]:
        version = HERE / "version"
        print(version.read_text() if version.exists() else "wal-g version v3.0.7\tf8a3f0b\t2025.05.01\tPostgreSQL")
        return
    said = json.loads(Path(words[1]).read_text())
    chosen = {**said, **{name: value for name, value in os.environ.items() if name in said and value}}
    words = words[2:]
    with (HERE / "calls").open("a") as calls:
        told = {name: value for name, value in os.environ.items() if re.match("WALG_|PG|AWS_|HOME$", name)}
        calls.write(json.dumps({"words": words, "environment": told}) + "\n")
    if misbehave == words[0]:
        fail("failed to reach the store: dial tcp: connection refused")
    store = Path(chosen["WALG_FILE_PREFIX"])
    backups, wal = store / "basebackups_005", store / "wal_005"
    for folder in (backups, wal):
        folder.mkdir(exist_ok=True)
    listed = sorted(backups.glob("*/metadata.json"), key=lambda path: path.stat().st_mtime_ns)
    print("INFO: 2026/11/21 08:00:00.000001 words that are no JSON", file=sys.stderr)
    if words[0] == "backup-list":
        print(json.dumps([{"backup_name": path.parent.name, **json.loads(path.read_text())} for path in listed]))
    elif words[0] == "backup-push":
        number = 2 * len(listed) + 2
        label = f"base_{1:08X}{0:08X}{number:08X}"
        if "--full" not in words and listed and int(chosen["WALG_DELTA_MAX_STEPS"]):
            label += f"_D_{listed[-1].parent.name[5:29]}"
        parts = backups / label / "tar_partitions"
        parts.mkdir(parents=True)
        for name in ("part_001.tar.zst", "pg_control.tar.zst"):
            (parts / name).write_text("x")
        meta = {
            "start_time": f"2026-11-21T{number:02}:00:00.5Z",
            "finish_time": f"2026-11-21T{number:02}:00:09Z",
            "hostname": "db1",
            "data_dir": words[-1],
            "pg_version": 160009,
            "start_lsn": number * 16 * 2**20 + 40,
            "finish_lsn": number * 16 * 2**20 + 400,
            "is_permanent": False,
            "system_identifier": int(os.environ.get("STANDIN_SYSTEM_ID", SYSTEM_ID)),
            "uncompressed_size": 1000,
            "compressed_size": 2,
            "user_data": json.loads(os.environ["WALG_SENTINEL_USER_DATA"]),
        }
        (backups / label / "files_metadata.json").write_text(json.dumps({"TarFileSets": {"part_001.tar.zst": ["/x"]}}))
        (backups / label / "metadata.json").write_text(json.dumps(meta))
        spec = HERE / "spec.json"
        sentinel = {"Spec": json.loads(spec.read_text()) if spec.exists() else None}
        (backups / f"{label}_backup_stop_sentinel.json").write_text(json.dumps(sentinel))
        (wal / f"{label[5:29]}.zst").write_text("x")
    elif words[0] == "backup-fetch":
        directory = Path(words[1])
        (directory / "global").mkdir()
        for name in ("PG_VERSION", "backup_label", "global/pg_control")[: 2 if misbehave == "half" else 3]:
            (directory / name).write_text(words[2])
        if "--restore-spec" in words:
            shutil.copy(words[words.index("--restore-spec") + 1], HERE / "restored_spec.json")
    elif words[0] == "wal-push":
        data = Path(words[1]).read_bytes()
        if (chosen.get("WALG_LIBSODIUM_KEY") or chosen.get("WALG_PGP_KEY_PATH")) and misbehave != "plain":
            data = bytes(255 - byte for byte in data)
        (wal / f"{Path(words[1]).name}.zst").write_bytes(data)
    elif words[0] == "wal-fetch":
        if not (wal / f"{words[1]}.zst").exists():
            fail(f"Archive '{words[1]}' does not exist.", 74)
        data = (wal / f"{words[1]}.zst").read_bytes()
        if misbehave == "unreadable":
            fail("openpgp: invalid argument: no armored data found")
        if (chosen.get("WALG_LIBSODIUM_KEY") or chosen.get("WALG_PGP_KEY_PATH")) and misbehave != "plain":
            data = bytes(255 - byte for byte in data)
        Path(words[2]).write_bytes(data)
    elif words[:2] == ["delete", "target"]:
        names = sorted(path.name for path in backups.iterdir() if words[2][5:29] in path.name)
        doomed(backups, names if misbehave != "more" else sorted(os.listdir(backups)), "--confirm" in words)
    elif words[:2] == ["delete", "garbage"]:
        kept = min((path.parent.name[5:29] for path in listed), default="0")
        names = sorted(path.name for path in wal.iterdir() if path.name < kept or misbehave == "newer")
        doomed(store, [f"wal_005/{name}" for name in names], "--confirm" in words)
    elif words != ["st", "ls"]:
        fail(f"unknown command {words[0]!r}")


main()
