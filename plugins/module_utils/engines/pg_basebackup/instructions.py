# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RESTORE.txt: how to get a copy of a server back by hand, with stock tools alone. Pure."""

from __future__ import annotations

import os
import shlex

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.options import BASE
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.by_hand import (
    DECRYPT,
    checksums,
    read,
    secrets,
)


def write(record: Record) -> str:
    """The text of RESTORE.txt; every line that is no comment works when it is pasted into a shell."""
    server, method = record.server, str(record.encryption["method"])
    major = int(server["version_num"]) // 10000
    lines = [
        f"# Backup {record.id} of the PostgreSQL server {server['name']!r} (version {server['version']}), {record.kind},",
        f"# made {record.started_at} by pg_basebackup {record.engine_version}. How to restore it by hand, with the programs of",
        f"# PostgreSQL {major}. Paste the lines into bash, in the folder of this file, as the user who will own the server.",
        "#",
        "# Where the server is to lie; an empty directory, or none:",
        "#   export PGDATA=/var/lib/postgresql/restored",
    ]
    lines += secrets(record)
    lines += ["set -o pipefail", "", "# 1. Is everything still as it was written?", *checksums(record), ""]
    archives = sorted(
        (artifact.key for artifact in record.artifacts if artifact.role in ("base", "tablespace")),
        key=lambda key: (not key.startswith(BASE), key),
    )
    spaces = {str(row["oid"]): row["location"] for row in server.get("tablespaces") or ()}
    if record.parent:
        lines += [
            f"# 2. This is what has changed since {record.parent}. Unpack each backup of the chain, the full one first, as its",
            "#    own RESTORE.txt says, into a directory of its own, and this one into $PGDATA.part. Then put them together:",
            f'#   pg_combinebackup --output="$PGDATA" FULL … "$PGDATA.part"   # (of PostgreSQL {major})',
        ]
    into = '"$PGDATA.part"' if record.parent else '"$PGDATA"'
    lines += [
        "# The server's directory." if record.parent else "# 2. The server's directory.",
    ]
    for key in archives:
        name = os.path.basename(key).split(".")[0]
        if name == "base":
            lines.append(_unpack(read(key, method), into))
        else:
            elsewhere = f"# A tablespace; elsewhere, if you like: then change {name} in {into}/tablespace_map too."
            inside = "# A tablespace that lies in the server's directory."
            directory = shlex.quote(spaces[name]) if name in spaces else f"{into}/pg_tblspc/{name}"
            lines += [elsewhere if name in spaces else inside, _unpack(read(key, method), directory)]
    for artifact in record.artifacts:
        if artifact.role == "configuration":
            lines += [
                "# Its configuration lay outside the data directory, and is here:",
                f"#   {read(artifact.key, method)} | tar -t",
            ]
        if artifact.role == "cluster":
            lines += ["# Settings, pg_hba rules, extensions and slots, to read:", f"#   {read(artifact.key, method)}"]
    lines += [
        "",
        *_wal(record),
        "# 3. To go on to a later moment, where the WAL is archived, before the first start:",
        '#   touch "$PGDATA/recovery.signal"',
        '#   echo "restore_command = \'cp /archive/%f %p\'" >> "$PGDATA/postgresql.auto.conf"',
        '#   echo "recovery_target_time = \'2026-11-21 03:00:00+00\'" >> "$PGDATA/postgresql.auto.conf"',
        "# Let it not archive into the old server's archive:",
        "echo \"archive_mode = 'off'\" >> " + into + "/postgresql.auto.conf",
        "# 4. Start it: it recovers by itself.",
        '#   pg_ctl -D "$PGDATA" -l "$PGDATA/restore.log" start',
        "",
    ]
    return "\n".join(lines)


def _wal(record: Record) -> list[str]:
    """How to have WAL that was shipped into a store at hand: comments, as the store is another one for each who reads them."""
    server, method = record.server["name"], str(record.encryption["method"])
    decrypt = DECRYPT.get(method, DECRYPT["aes256"])
    return [
        f"# Where the WAL lies in a store, as {server}/_wal beside this folder, fetch it into /archive, decrypt what ends in .gpg, and unpack it:",
        f"#   aws s3 cp --recursive s3://BUCKET/PREFIX/{server}/_wal/ /archive/   # or azcopy, or gcloud storage cp",
        f'#   for f in /archive/*.gpg; do {decrypt} "$f" > "${{f%.gpg}}" && rm "$f"; done',
        "#   zstd -q -d --rm /archive/*.zst",
    ]


def _unpack(pipeline: str, directory: str) -> str:
    """A line that unpacks into a directory which is not there, or empty: the old server may still stand where it was."""
    return (
        f'if [ -n "$(ls -A {directory} 2>/dev/null)" ]; then echo {directory} is not empty >&2; '
        f"else mkdir -p -m 0700 {directory} && {pipeline} | tar -x -p -f - -C {directory}; fi"
    )
