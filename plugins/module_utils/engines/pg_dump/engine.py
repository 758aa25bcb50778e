# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine pg_dump: plan and copy."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.growing import Following
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.options import (
    EXTENSIONS,
    DumpOptions,
    file_name,
    inner_compression,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.snapshots import Snapshots, check_room
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.staging import dump
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.stream_engine import (
    Draft,
    Folder,
    Plan,
    StreamEngine,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools, find_tools

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


class PgDump(StreamEngine):
    """Dumps of one, several or all databases, with the cluster's globals and what lies outside the dumps."""

    name = "pg_dump"
    kind = "logical"

    def __init__(
        self, address: Address, options: DumpOptions, bin_dir: Optional[str], encrypted: bool, staging: str
    ) -> None:
        self._address, self._options, self._staging = address, options, staging
        self._connection = address.connect()
        self.identity = facts.identify(self._connection)
        self._tools: Tools = find_tools(self.identity.version_num, bin_dir)
        self.version = self._tools.version
        self._encrypted = encrypted
        # Password hashes are secrets: they go only into what is encrypted, or where the user asks for exactly that.
        wanted = encrypted if options.role_passwords is None else options.role_passwords
        self._passwords = wanted and options.globals
        self._doubts: list[str] = []
        if self._passwords and not self._may_read_passwords():
            if options.role_passwords:
                raise ServerError(
                    f"role_passwords: the role {self.identity.role!r} may not read pg_authid, so passwords cannot be backed "
                    "up. Use a superuser, or role_passwords: false."
                )
            self._passwords = False
            self._doubts.append("Role passwords are not in this backup: the role may not read pg_authid.")

    def _may_read_passwords(self) -> bool:
        return bool(facts.value(self._connection, "SELECT has_table_privilege('pg_authid', 'SELECT')"))

    def plan(self) -> Plan:
        chosen = facts.choose(facts.databases(self._connection), self._options.databases)
        check_room(self._connection, len(chosen) + self._options.jobs + 1)
        if not self._options.filtered and not self._options.schema_only:
            for database in chosen:
                self._check_readable(database["name"])
        steps = [
            f"dump the database {database['name']!r} ({database['size']} bytes on the server) in {self._options.format} "
            f"format by pg_dump {self.version}"
            for database in chosen
        ]
        if self._options.globals:
            steps.append(f"dump roles and tablespaces, {'with' if self._passwords else 'without'} passwords")
        steps.append("record settings, pg_hba rules, extensions, slots and tablespaces")
        server = {
            "system_id": self.identity.system_id,
            "version": self.identity.version,
            "version_num": self.identity.version_num,
            "timeline": self.identity.timeline,
            "in_recovery": self.identity.in_recovery,
        }
        return Plan(steps, server, self._options.scope(), sum(database["size"] for database in chosen))

    def _check_readable(self, name: str) -> None:
        if self.identity.superuser:
            return
        connection = self._address.connect(name)
        try:
            closed = facts.unreadable(connection, self.identity)
        finally:
            connection.close()
        if closed:
            shown = ", ".join(closed[:5]) + (f" and {len(closed) - 5} more" if len(closed) > 5 else "")
            raise ServerError(
                f"The role {self.identity.role!r} may not read {shown} in the database {name!r} (or row security hides rows "
                "from it), so its backup would be incomplete. Grant it pg_read_all_data and BYPASSRLS (the role "
                "holdfast.postgres.setup does), or leave the tables out by exclude_tables."
            )

    def back_up(self, folder: Folder) -> Draft:
        chosen = facts.choose(facts.databases(self._connection), self._options.databases)
        contents: dict[str, Any] = {}
        entries: list[dict[str, Any]] = []
        with Snapshots(self._address, [database["name"] for database in chosen]) as snapshots:
            start_lsn = facts.current_lsn(self._connection)
            consistency = snapshots.describe()
            for database in chosen:
                entries.append(self._database(folder, database, snapshots, contents))
        if self._options.globals:
            folder.progress.step("dumping roles and tablespaces")
            folder.put("globals.sql", "globals", self._dump_globals())
        outside = facts.outside(self._connection, self._encrypted, self._doubts)
        outside["contents"] = contents
        folder.put("cluster.json", "cluster", json.dumps(outside, indent=1, ensure_ascii=False, default=str).encode())
        return Draft(start_lsn, facts.current_lsn(self._connection), consistency, entries, self._doubts)

    def _dump_globals(self) -> Command:
        argv = [self._tools.path("pg_dumpall"), "--globals-only", "--no-password", f"--database={self._address.db}"]
        argv += [f"--dbname={self._address.conninfo(self._address.db)}"]
        return Command(argv + ([] if self._passwords else ["--no-role-passwords"]))

    def _database(
        self, folder: Folder, database: dict[str, Any], snapshots: Snapshots, contents: dict[str, Any]
    ) -> dict[str, Any]:
        name, options = database["name"], self._options
        folder.progress.step(f"dumping the database {name!r}", database["size"])
        counted = options.row_counts and not options.schema_only and not options.exclude_table_data
        connection, in_recovery = snapshots.connections[name], self.identity.in_recovery
        counting = Background(lambda: _contents(connection, counted, in_recovery))
        inner = inner_compression(folder.compression.method, folder.compression.level, options.format)
        argv = [
            self._tools.path("pg_dump"),
            f"--dbname={self._address.conninfo(name)}",
            f"--format={options.format}",
            f"--snapshot={snapshots.exported[name]}",
            "--no-password",
            *options.arguments(),
        ]
        # pg_dump does not compress (but in the directory format): a program beside it does, on another core.
        argv += [f"--compress={inner or 0}"] if options.format != "plain" and options.format != "tar" else []
        base = f"databases/{file_name(name)}{EXTENSIONS[options.format]}"
        try:
            if options.format == "directory":
                self._directory(folder, name, base, argv, inner is not None)
                artifact = base
            else:
                artifact = folder.put(base, "database", Command(argv), name).key
        except ToolError as exc:
            raise ToolError(f"The database {name!r} could not be dumped. {exc} No backup was made.") from exc
        finally:
            counting.wait()
        contents[name] = counting.result()
        snapshots.release(name)
        kept = ("name", "owner", "encoding", "collate", "ctype", "locale_provider", "locale", "size")
        return {
            **{key: database[key] for key in kept},
            "format": options.format,
            "artifact": artifact,
            "native": inner is not None or folder.compression.method == "none",
        }

    def _directory(self, folder: Folder, name: str, base: str, argv: list[str], compressed: bool) -> None:
        """pg_dump writes many files at once: into a staging directory, from where they go into the repository as they grow."""
        begun = len(folder.artifacts)

        def put(file: str, stream: Following) -> None:
            folder.put(
                f"{base}/{file}",
                "database",
                stream,
                name,
                compress=not compressed and file.endswith(".dat"),
                raw_size=lambda: None if compressed and file != "toc.dat" else stream.passed,
                on_bytes=lambda made, out: stream.check(),
            )

        with tempfile.TemporaryDirectory(prefix="dump-", dir=self._staging) as staging:
            path = os.path.join(staging, "dump")
            # What is durable is the repository's business.
            command = Command([*argv, f"--file={path}", f"--jobs={self._options.jobs}", "--no-sync"])
            doubt = dump(
                command,
                path,
                self._options.staging_limit,
                self._options.jobs,
                put,
                lambda passed: folder.progress.tell(None if compressed else passed, None),
            )
        self._doubts += [doubt] if doubt else []
        folder.artifacts[begun:] = sorted(folder.artifacts[begun:], key=lambda artifact: artifact.key)


def _contents(connection: Connection, counted: bool, in_recovery: bool) -> dict[str, Any]:
    """Extensions, and each table's rows (None: not counted), in the dump's own snapshot."""
    try:
        extensions = facts.rows(connection, facts.EXTENSIONS)
        return {
            "extensions": extensions,
            "tables": facts.count_rows(connection, in_recovery) if counted else None,
        }
    except Exception as exc:
        raise ServerError(f"The rows could not be counted: {' '.join(str(exc).split())}") from exc
