# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump, drilled: into a server that is made for it, of the version that was dumped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.drill import scratch as limits
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.findings import Check, Findings
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.form import Form, Scratch
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import DrillRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import ACTING
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import PrivateServer
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.log import RestoreLog
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.psql import AS_ROOT
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.run import RestoreRun
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.source import Source, from_backup
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.server.space import Need, check_space
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import restore_tools, server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

#: the database that we speak to, which is in no dump
DATABASE = "holdfast_drill"
_EMPTY = 64 * 1024 * 1024  # bytes of a server without data, its WAL with it
# By which libraries with jobs of their own start none; without being loaded their extensions cannot be made.
_JOBS = {
    "pg_cron": {"cron.launch_active_jobs": "off"},
    "timescaledb": {"timescaledb.max_background_workers": "0"},
}


class DumpedDatabases(Form):
    """A dump on ``shelf``. ``asked`` is the user's option encryption."""

    def __init__(
        self,
        shelf: Shelf,
        secrets: Secrets,
        record: Record,
        request: DrillRequest,
        scratch: Scratch,
        findings: Findings,
        warnings: list[str],
    ) -> None:
        super().__init__(record, request, scratch, findings, warnings)
        self._shelf, self._secrets = shelf, secrets
        self._source: Optional[Source] = None
        self._instance: Optional[Instance] = None

    @property
    def _version_num(self) -> int:
        return int(self.record.server["version_num"])

    def plan(self, looking: bool) -> list[str]:
        if self._request.replays:
            raise BadOption(
                "target", self._request.asked, f"cannot be reached by the dump {self.record.id}, which is of one moment",
                "Leave target out, or drill a copy of the whole server (engine: pg_basebackup or another one of those).",
            )  # fmt: skip
        programs = server_programs(self._version_num, self._request.bin_dir)
        if not os.access(os.path.join(programs, "initdb"), os.X_OK):
            raise ToolError(
                f"There is no initdb in {programs}, by which a server for the dump is made. Install the server's package."
            )
        self._instance = Instance(self._scratch.directory.data, programs, self._scratch.owner)
        encryption = self._secrets.of(self.record)
        self._source = from_backup(self._shelf, self.record, encryption, (), self._secrets.asked)
        if self._source.unsigned is not None and not self._request.accept_unsigned:
            raise self._source.unsigned
        self._source.made_by = restore_tools(self._version_num, self._source.made_by, self._request.bin_dir).major
        self.expected = {str(dump.database): dump.contents for dump in self._source.dumps}
        size = self._size()
        check_space(
            [Need(self._scratch.directory.path, size + _EMPTY, "the server that the dump is restored into")],
            "Free some space, or name another disk (scratch_dir).",
        )
        reached = self.record.consistency.get("reached_at") or self.record.started_at
        self.reached.asked = "the moment of the dump"
        self.reached.commit_time, self.reached.target = (
            parse_time(str(reached), "reached_at"),
            f"the dump's moment, {reached}",
        )
        self.reached.measures_rpo = True
        self.reached.window = (self.reached.commit_time, self.reached.commit_time)
        names = ", ".join(repr(dump.database) for dump in self._source.dumps)
        return [
            f"make a server of PostgreSQL {self._version_num // 10000} in {self._scratch.directory.path}, which takes about {size + _EMPTY} bytes",
            f"restore the dump {self.record.id} ({self.record.stopped_at}) from {self._shelf.name} in {self._shelf.repository.description} into it, "
            f"with roles: {names}",
        ]

    def _size(self) -> int:
        """What the databases took on the server, as far as it is known; else what their dumps have before compression."""
        found = 0
        for entry in self.record.databases:
            made = [
                artifact.raw_size or artifact.size
                for artifact in self.record.artifacts
                if artifact.database == entry["name"]
            ]
            found += int(entry.get("size") or sum(made))
        return found

    def reading(self) -> contextlib.AbstractContextManager[object]:
        return Reading(self._shelf, [self.record.id], "a drill", self._warnings)

    def stand(self, stack: contextlib.ExitStack) -> tuple[PrivateServer, Instance]:
        source, instance = self._source, self._instance
        if source is None or instance is None:
            raise AssertionError("it is planned before")
        with self._findings.phase("make", "making a server for the dump"):
            self._initialise(instance)
            server = self.start_again(stack)
            with server.connect("postgres") as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
        with self._findings.phase("restore", "restoring the dump") as phase:
            phase.bytes = self.fetched = self.record.size
            self._restore(source, server)
        return server, instance

    @property
    def _superuser(self) -> str:
        """Who made the server that was dumped: from PostgreSQL 16 on memberships that were granted by that one can be granted by nobody else. Its
        templates tell."""
        rows = self._source.cluster.get("databases") or [] if self._source else []
        owners = {str(row["name"]): str(row["owner"]) for row in rows if row.get("owner")}
        return owners.get("template0") or owners.get("template1") or "postgres"

    def _initialise(self, instance: Instance) -> None:
        argv = [
            instance.program("initdb"),
            # What outlives a killed drill for a moment must not remove what the next one makes there.
            "--no-clean",
            "--pgdata",
            instance.directory,
            f"--username={self._superuser}",
            "--auth=trust",
        ]
        argv += ["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync"]
        done = run_as(instance.owner, argv)
        if done.returncode:
            raise ServerError(
                f"A server for the dump could not be made in {instance.directory}: {' '.join(done.stdout.split())[-1000:]}"
            ) from ToolError.failed(done.args, done.returncode, done.stdout)

    def start_again(self, stack: contextlib.ExitStack) -> PrivateServer:
        instance = self._instance
        if instance is None:
            raise AssertionError("it is planned before")
        libraries = self._libraries()
        settings = {**limits.running(self._request.memory), "max_prepared_transactions": "10", "max_wal_size": "2GB"}
        for library in libraries:
            settings.update(_JOBS.get(library, {}))
        if "pg_cron" in libraries:
            settings["cron.database_name"] = next(
                name for name, has in self.expected.items() if "pg_cron" in _names(has)
            )
        server = PrivateServer(instance, [self._superuser], ["template1"], self._scratch.port)
        stack.enter_context(server)
        major = self._version_num // 10000
        server.start(True, False, ", ".join(libraries) if libraries else None, major, self._scratch.cell, settings)
        server.follow("promote", Lsn(0), None, SegmentSize(), self._request.wal_timeout, self._findings.progress)
        self.isolated = {"archive_mode": "a server that is made for a dump archives nothing"}
        return server

    def _libraries(self) -> list[str]:
        """What the old server loaded when it started, as far as an extension of the dump cannot do without, and starts nothing by itself."""
        rows = self._source.cluster.get("settings") or [] if self._source else []
        loaded = next((row["setting"] for row in rows if row["name"] == "shared_preload_libraries"), "") or ""
        wanted = {name for has in self.expected.values() for name in _names(has)}
        names = [name.strip().strip('"') for name in str(loaded).split(",")]
        return [name for name in names if name in wanted and (name not in ACTING or name in _JOBS)]

    def _restore(self, source: Source, server: PrivateServer) -> None:
        places: dict[str, str] = {}
        for row in source.cluster.get("tablespaces") or ():
            if row.get("location"):
                places[str(row["name"])] = os.path.join(self._scratch.directory.tablespaces, str(len(places) + 1))
                make_directory(places[str(row["name"])], self._scratch.owner)
        options = RestoreOptions.from_params(
            {
                "databases": [], "tables": [], "schemas": [], "sections": [], "confirm": [], "allow_errors": [],
                "schema_only": False, "data_only": False, "no_owner": False, "no_privileges": False, "no_tablespaces": False,
                "superuser_passwords": False, "disable_triggers": False, "force": False, "terminate_sessions": False, "keep_old": False,
                "analyze": False, "fix_sequences": False, "break_replication": False, "template": "template0",
                "jobs": self._request.jobs, "tablespace_locations": places, "accept_unsigned": self._request.accept_unsigned,
            }
        )  # fmt: skip
        made = {"login_unix_socket": server.socket_directory, "login_port": server.port, "login_user": server.user}
        address = Address({**made, "login_db": DATABASE}, self._scratch.space, writes=True)
        log = os.path.join(self._scratch.space, "log")
        os.makedirs(log, mode=0o700, exist_ok=True)
        run = RestoreRun(
            source,
            lambda: self._shelf.verify(self.record),
            address,
            self._request.bin_dir,
            options,
            RestoreLog(FileRepository(log), "restores"),
            self._scratch.room,
            self._findings.progress,
        )
        outcome = run.run(False)
        # Nobody but its owner and root reaches its socket, so psql has no other user to run as.
        told = [warning for warning in outcome.warnings if not warning.startswith(AS_ROOT)]
        self._findings.notes += [*told, *outcome.proof.unproven, *outcome.proof.lost]
        for entry in outcome.restored:
            why = None if entry["tables_checked"] is not None else "no numbers of rows were recorded"
            self._findings.checks.append(
                Check(
                    "restored",
                    str(entry["database"]),
                    "as it was recorded",
                    f"{entry['tables_checked'] or 0} tables compared",
                    True,
                    entry["seconds"],
                    why,
                )
            )

    def of_interest(self, databases: Sequence[str]) -> list[str]:
        return [name for name in databases if name in self.expected]

    def backup_ended(self) -> Optional[str]:
        return str(self.record.consistency.get("reached_at") or self.record.started_at)


def _names(contents: Mapping[str, Any]) -> set[str]:
    return {str(row["name"]) for row in contents.get("extensions") or ()}
