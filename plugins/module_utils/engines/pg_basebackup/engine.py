# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine pg_basebackup: plan and copy."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record, consistency_of_a_copy
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.folder_engine import (
    Draft,
    Folder,
    FolderEngine,
    Plan,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup import summaries
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.configuration import (
    LEFT_OUT,
    outside,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.copy import copy
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.options import (
    BASE,
    CONFIGURATION,
    MANIFEST,
    BaseOptions,
    understand,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import find_tools
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

if TYPE_CHECKING:
    pass

_TABLESPACES = (
    "SELECT oid::bigint AS oid, spcname AS name, pg_tablespace_location(oid) AS location FROM pg_tablespace"
    " WHERE pg_tablespace_location(oid) <> '' ORDER BY oid"
)
# Source: https://www.postgresql.org/docs/current/progress-reporting.html#BASEBACKUP-PROGRESS-REPORTING
# Where the copy of a standby begins at the earliest; it never goes back.
_RESTARTPOINT = "SELECT redo_lsn::text FROM pg_control_checkpoint()"
_WAITS_FOR_ARCHIVE = (
    "SELECT pid FROM pg_stat_progress_basebackup JOIN pg_stat_activity USING (pid)"
    " WHERE application_name = %s AND phase = 'waiting for wal archiving to finish'"
)


class PgBasebackup(FolderEngine):
    """The whole server, file by file, streamed.

    ``wal`` is the archive of the server in the repository, where there is one; ``parent`` the backup that an incremental one is
    made upon; ``read_manifest(record, path)`` writes that backup's
    manifest of files there. ``staging`` is a private directory.
    """

    name = "pg_basebackup"

    def __init__(
        self,
        address: Address,
        options: BaseOptions,
        bin_dir: Optional[str],
        encrypted: bool,
        staging: str,
        parent: Optional[Record],
        read_manifest: Callable[[Record, str], None],
        wal: Optional[WalArchive] = None,
        slot: Optional[str] = None,
    ) -> None:
        self._wal, self._slot = wal, slot
        self._address, self._options, self._staging, self._encrypted = address, options, staging, encrypted
        self._connection = address.connect()
        self.identity = facts.identify(self._connection)
        self._tools = find_tools(self.identity.version_num, bin_dir)
        self._program = self._tools.path("pg_basebackup")
        self.version = self._tools.version
        self._read_manifest = read_manifest
        self._doubts: list[str] = []
        self._why_full = ""
        self._left_out: list[str] = []
        self._base = self._upon(parent)
        self.parent = self._base.id if self._base else None
        self.kind = "incremental" if self._base else "full"

    def _upon(self, parent: Optional[Record]) -> Optional[Record]:
        """The parent of this backup; None for a full one."""
        if self._options.kind == "full":
            return None
        if self.identity.version_num < 170000:
            raise ServerError(
                f"kind: incremental needs PostgreSQL 17 or newer; the server is {self.identity.version}. Use kind: full, or "
                "the engine pgbackrest, which makes incremental backups of every version."
            )
        if facts.value(self._connection, "SELECT current_setting('summarize_wal', true)") != "on":
            raise ServerError(
                "kind: incremental needs the server's setting summarize_wal = on (a reload is enough), and a full backup "
                "made after it. The module wal_archive sets it with summarize_wal: true."
            )
        if parent is None:
            return self._full("there was no full one before it that it could be made upon")
        if parent.server.get("system_id") not in (None, self.identity.system_id):
            return self._full(f"{parent.id}, the last one, is of another server")
        why = self._unknown_since(parent)
        return self._full(why) if why else parent

    def _full(self, why: str) -> Optional[Record]:
        """Nothing that it could be made upon."""
        self._why_full = f" ({why})"
        self._doubts.append(f"This is a full backup: {why}.")
        return None

    def _unknown_since(self, parent: Record) -> Optional[str]:
        """Why the server cannot tell what has changed since a backup; None: nothing speaks against it."""
        now = self._timeline()
        if None not in (now, parent.server.get("timeline")) and now != parent.server["timeline"]:
            return (
                f"the server was promoted since {parent.id} (its timeline is {now}, and was {parent.server['timeline']}), and has no "
                "summaries of the WAL before that"
            )
        if self.identity.in_recovery and parent.stop_lsn:
            restarts = Lsn.parse(str(facts.value(self._connection, _RESTARTPOINT)), "redo_lsn")
            if restarts < Lsn.parse(parent.stop_lsn, "stop_lsn"):
                return (
                    f"a copy of this standby would begin at its last restartpoint ({restarts}), which lies before the end of {parent.id} "
                    f"({parent.stop_lsn}): since then its primary has made no checkpoint, or this standby has not come to it"
                )
        if now is None or not parent.start_lsn:
            return None
        there = facts.attempt(self._connection, summaries.QUERY, self._doubts, "WAL summaries")
        state = facts.attempt(self._connection, summaries.STATE, self._doubts, "The WAL summarizer")
        if there is None or not state or state[0]["lsn"] is None:
            return None
        found = [(row["timeline"], Lsn.parse(row["start"], "start"), Lsn.parse(row["stop"], "stop")) for row in there]
        start = Lsn.parse(parent.start_lsn, "start_lsn")
        lacking = summaries.gap(found, now, start, Lsn.parse(state[0]["lsn"], "summarized_lsn"))
        return (
            None
            if lacking is None
            else f"the server has no summary of its WAL from {lacking} on, which is after {parent.id} began"
        )

    def _timeline(self) -> Optional[int]:
        """The one that the server writes, or a standby replays. That of its last checkpoint is an older one after a promotion."""
        if self.identity.in_recovery:
            return self.identity.timeline
        name = facts.value(self._connection, "SELECT pg_walfile_name(pg_current_wal_lsn())")
        return int(str(name)[:8], 16)

    def plan(self) -> Plan:
        me = facts.rows(
            self._connection, "SELECT rolsuper OR rolreplication AS may FROM pg_roles WHERE rolname = current_user"
        )
        if not me[0]["may"]:
            raise ServerError(
                f"The role {self.identity.role!r} may not copy the server: it lacks REPLICATION. "
                f"ALTER ROLE {self.identity.role} REPLICATION, or use a superuser."
            )
        if int(facts.value(self._connection, "SELECT current_setting('max_wal_senders')")) == 0:
            raise ServerError(
                "max_wal_senders is 0, so nothing can be copied. Set it to 10 or so, and restart the server."
            )
        facts.refuse_in_place(self._connection, self.identity.version_num)
        if not self._options.include_wal:
            self._check_archive()
        size = self._size()
        steps = [
            f"copy the whole server ({size} bytes) by pg_basebackup {self.version}, "
            + (f"what has changed since {self.parent}" if self.parent else f"in full{self._why_full}")
            + (", with the WAL that makes it consistent" if self._options.include_wal else "")
        ]
        steps += [f"copy the tablespace {row['name']!r} ({row['location']})" for row in self._tablespaces()]
        steps.append(
            "record settings, pg_hba rules, extensions, slots, and configuration files outside the data directory"
        )
        server = {
            "system_id": self.identity.system_id,
            "version": self.identity.version,
            "version_num": self.identity.version_num,
            "timeline": self.identity.timeline,
            "in_recovery": self.identity.in_recovery,
            "wal_segment_size": facts.wal_segment_size(self._connection),
            "tablespaces": self._tablespaces(),
            "data_directory": facts.setting(self._connection, "data_directory"),
        }
        return Plan(steps, server, self._options.scope())

    def _check_archive(self) -> None:
        """Raises ServerError: the WAL that this backup needs would be nowhere, or pg_basebackup wait for it for ever."""
        if self._wal is None:
            raise ServerError(
                "include_wal: false needs a WAL archive, as the backup is worth nothing without it, and in the repository it is "
                "not set up for this server. Set it up by the module wal_archive, or leave include_wal out."
            )
        try:
            self._doubts += self._archiving().before(check=True)
        except ServerError as exc:
            raise ServerError(f"include_wal: false needs a WAL archive. {exc} Or leave include_wal out.") from exc

    def _size(self) -> int:
        return int(facts.value(self._connection, "SELECT sum(pg_tablespace_size(oid)) FROM pg_tablespace"))

    def _tablespaces(self) -> list[dict[str, Any]]:
        """Those that lie elsewhere, and need a place of their own when they are restored."""
        return [row for row in facts.rows(self._connection, _TABLESPACES) if row["location"].startswith("/")]

    def back_up(self, folder: Folder) -> Draft:
        folder.progress.step("copying the server", self._size())
        method, level = folder.compression.method, folder.compression.level
        suffix = self._options.suffix(method)
        compress = self._options.compression_at == "client"
        spaces = self._tablespaces()
        names = [BASE] + [f"{row['oid']}.tar" for row in facts.rows(self._connection, _TABLESPACES)]

        ends = []

        def keep(name: str, path: str) -> None:
            if name == MANIFEST:
                ends.append(_end_of(path))
            role = "manifest" if name == MANIFEST else "base" if name.startswith(BASE) else "tablespace"
            folder.put(name, role, Command(["cat", path]), compress=compress or role == "manifest")

        name = f"holdfast {secrets.token_hex(8)}"
        conninfo = self._address.conninfo(self._address.db, application=name)
        argv = [self._program, f"--dbname={conninfo}", "--label=holdfast.postgres"]
        argv += self._options.arguments(method, level)
        if self._base is not None:
            manifest = os.path.join(self._staging, "parent_manifest")
            self._read_manifest(self._base, manifest)
            argv.append(f"--incremental={manifest}")
        with self._wal_kept():
            try:
                copy(
                    argv,
                    os.path.join(self._staging, "base"),
                    [name + suffix for name in names],
                    keep,
                    self._heard(folder.progress),
                    self._watch(name),
                )
            except ToolError as exc:
                raise ToolError(f"The server could not be copied. {exc} No backup was made.") from exc
        said = understand("".join(ends))
        # Rounded up: a moment before the copy's end cannot be reached from it.
        reached = facts.value(self._connection, "SELECT date_trunc('second', clock_timestamp()) + interval '1 second'")
        folder.artifacts.sort(key=lambda artifact: artifact.key)
        self._configuration(folder)
        beyond = facts.outside(self._connection, self._encrypted, self._doubts)
        folder.put("cluster.json", "cluster", json.dumps(beyond, indent=1, ensure_ascii=False, default=str).encode())
        consistency = consistency_of_a_copy(reached, self._options.include_wal)
        databases = [
            {"name": row["name"], "owner": row["owner"], "encoding": row["encoding"], "size": row["size"]}
            for row in facts.databases(self._connection)
            if not row["is_template"]
        ]
        server: dict[str, Any] = {"timeline": said.timeline} if said.timeline else {}
        server["tablespaces"] = self._copied(spaces, folder)
        if not self._options.include_wal:
            self._archiving().arrived(said.timeline, said.start_lsn, said.stop_lsn, folder.progress)
        return Draft(said.start_lsn, said.stop_lsn, consistency, databases, self._doubts, server=server)

    def _copied(self, before: Sequence[Mapping[str, Any]], folder: Folder) -> list[dict[str, Any]]:
        """The tablespaces that were copied: those that were dropped, or made, before the copy began are not what they were when it was planned."""
        there = {int(artifact.key.split(".")[0]) for artifact in folder.artifacts if artifact.role == "tablespace"}
        known = {row["oid"]: dict(row) for row in [*before, *self._tablespaces()]}
        return [known[oid] for oid in sorted(there & set(known))]

    def _heard(self, progress: Progress) -> Callable[[str], None]:
        """Tells what pg_basebackup waits for: a standby's next checkpoint comes when its primary makes one, and the WAL of an idle server is
        summarized when there is more of it."""
        size = self._size()
        waited = False

        def hear(line: str) -> None:
            nonlocal waited
            left_out = LEFT_OUT.search(line)
            if left_out:
                self._left_out.append(left_out[1])
            found = re.search("still waiting for WAL summarization through ([0-9A-F/]+)", line)
            if found:
                progress.step(
                    f"waiting for the server to summarize its WAL up to {found[1]}: CHECKPOINT on the primary ends that sooner"
                )
                if not waited:
                    self._doubts.append(
                        "The server summarized its WAL late, and the backup waited for that: on an idle one a CHECKPOINT on the primary "
                        "before the backup ends that sooner."
                    )
                waited = True
            elif "waiting for checkpoint to complete" in line:
                where = "the next checkpoint of the primary" if self.identity.in_recovery else "a checkpoint"
                progress.step(f"waiting for {where}")
            elif "checkpoint completed" in line:
                progress.step("copying the server", size)

        return hear

    def _watch(self, name: str) -> Callable[[], None]:
        """Sees that the server does not wait for its own archive without an end, which it does after a copy without WAL."""
        archiving = self._archiving()

        def look() -> None:
            waiting = facts.rows(self._connection, _WAITS_FOR_ARCHIVE, [name])
            try:
                if waiting:
                    archiving.watch()
            except ServerError:
                # It would see much later that its client is gone.
                facts.attempt(self._connection, f"SELECT pg_terminate_backend({waiting[0]['pid']:d})", [], "The copy")
                raise

        return (lambda: None) if self._options.include_wal else look

    def _archiving(self) -> Archiving:
        return Archiving(self._connection, self._wal, self._slot, self._options.wal_timeout)

    def _wal_kept(self) -> facts.Slot:
        """A temporary slot keeps the WAL of the copy until it is fetched at its end."""
        return facts.Slot(self._connection, f"holdfast_{secrets.token_hex(4)}", self._options.include_wal, self._doubts)

    def _configuration(self, folder: Folder) -> None:
        """The configuration files that lie outside the data directory."""
        packed = outside(self._connection, self._left_out, self._doubts)
        if packed is not None:
            folder.put(CONFIGURATION, "configuration", packed)


def _end_of(path: str) -> str:
    """The last lines of a manifest, which can have a million."""
    with open(path, "rb") as stream:
        stream.seek(max(os.path.getsize(path) - 65536, 0))
        return stream.read().decode("utf-8", "replace")
