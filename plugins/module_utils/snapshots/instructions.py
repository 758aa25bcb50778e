# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RESTORE.txt of a backup of volume snapshots: how to have it back with kubectl alone."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.engine import LABEL, MAP, SNAPSHOTS
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.layout import BACKUP_MODE
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.objects import snapshots_of


def write(record: Record) -> str:
    """The text."""
    named = snapshots_of(record.consistency)
    lines = [
        f"Backup {record.id} of the server {record.server['name']}: volume snapshots ({record.consistency.get('mode')}).",
        "",
        "The data is not in this folder. It is in these VolumeSnapshots, and in the storage behind them:",
        *(
            f"  {one['namespace']}/{one['name']}  of the claim {one['claim']}, made {one['created_at']}, at least {one['restore_size'] or 'its size'}"
            f" (content {one['content']}, handle {one['handle']}, driver {one['driver']})"
            for one in named
        ),
        "",
        *(
            ["What lies beside this file is encrypted, and ends in .gpg: gpg --decrypt NAME.gpg > NAME first.", ""]
            if record.encryption.get("method") != "none"
            else []
        ),
        f"{SNAPSHOTS} beside this file has what the claims were like. For each a new claim, of a class of the same driver, and not smaller:",
        "",
        "  apiVersion: v1",
        "  kind: PersistentVolumeClaim",
        "  metadata: {name: NEW}",
        "  spec:",
        "    accessModes: [ReadWriteOnce]",
        "    storageClassName: CLASS",
        f"    dataSource: {{apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: {named[0]['name'] if named else 'NAME'}}}",
        "    resources: {requests: {storage: SIZE}}",
        "",
        "Before PostgreSQL is started there, in its data directory:",
        "  rm -rf postmaster.pid postmaster.opts pg_replslot/* pg_dynshmem/* pg_notify/* pg_serial/* pg_snapshots/* pg_stat_tmp/* pg_subtrans/*",
        "  chmod 0700 .",
    ]
    if record.consistency.get("mode") == BACKUP_MODE:
        lines += [
            "",
            f"It was made in backup mode. Without {LABEL} the server would start, and be corrupt. Copy it (and {MAP}, where it is beside this file) into the",
            "data directory, and let it read the WAL from its archive:",
            "  touch recovery.signal",
            "  echo \"restore_command = 'cp /archive/%f %p'\" >> postgresql.auto.conf",
            "  echo \"archive_mode = 'off'\" >> postgresql.auto.conf   # not into the old server's archive",
        ]
    return "\n".join([*lines, ""])
