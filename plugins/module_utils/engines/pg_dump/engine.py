# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine pg_dump: plan and copy."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.folder_engine import (
    Draft,
    Folder,
    FolderEngine,
    Plan,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.beyond import (
    INVALID,
    not_backed_up,
    shown,
    unseen,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.dumper import Dumper, NothingSelected
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.options import DumpOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.snapshots import (
    NO_ROOM,
    TOGETHER,
    Snapshots,
    room,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address, as_text, is_text
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools, find_tools

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


class PgDump(FolderEngine):
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

    def _why_without(self) -> str:
        """Why roles are dumped without passwords, and what that means on the day of a restore."""
        asked = self._options.role_passwords is False
        why = "" if asked else ", as the backup is not encrypted or the role may not read them"
        return f"without passwords{why}: who is restored from it cannot log in by password until one is set"

    def _may_read_passwords(self) -> bool:
        return bool(facts.value(self._connection, "SELECT has_table_privilege('pg_authid', 'SELECT')"))

    def plan(self) -> Plan:
        chosen, warnings = self._choose()
        together = min(room(self._connection, self._options.jobs + 1), len(chosen) or 1)
        for database in chosen:
            self._look_into(database["name"], warnings)
        steps = [
            f"dump the database {database['name']!r} ({database['size']} bytes on the server) in {self._options.format} "
            f"format by pg_dump {self.version}"
            for database in chosen
        ]
        if together < len(chosen):
            moments = -(-len(chosen) // together)
            steps.append(f"read them at {moments} moments, {together} databases at each: {NO_ROOM}")
        if self._options.globals:
            steps.append(f"dump roles and tablespaces, {'with passwords' if self._passwords else self._why_without()}")
        steps.append("record settings, pg_hba rules, extensions, slots and tablespaces")
        steps += [f"leave out: {message}" for message in warnings]
        server = {
            "system_id": self.identity.system_id,
            "version": self.identity.version,
            "version_num": self.identity.version_num,
            "timeline": self.identity.timeline,
            "in_recovery": self.identity.in_recovery,
        }
        return Plan(steps, server, self._options.scope(), warnings)

    def _choose(self) -> tuple[list[dict[str, Any]], list[str]]:
        """The databases to dump, and what is to be said of others."""
        found, names = facts.databases(self._connection), self._options.databases
        warnings = [] if names else not_backed_up(found, names)
        chosen = facts.choose(
            [database for database in found if names or database["connection_limit"] != INVALID], names
        )
        if not chosen:
            raise ServerError(
                "There is no database to back up: all that the server has are templates, or take no connections. Name one in databases."
            )
        return chosen, warnings

    def _look_into(self, name: str, warnings: list[str]) -> None:
        """See before what this role cannot dump."""
        if self.identity.superuser:
            return
        try:
            connection = self._address.connect(name)
        except ServerError:
            return  # the dump says it, and goes on with the others
        with contextlib.closing(connection):
            if not self._options.filtered and not self._options.schema_only:
                self._check_readable(connection, name)
            warnings += unseen(connection, self.identity, name)

    def _check_readable(self, connection: Connection, name: str) -> None:
        closed = facts.unreadable(connection, self.identity)
        if closed:
            raise ServerError(
                f"The role {self.identity.role!r} may not read {shown(closed)} in the database {name!r} (or row security hides rows "
                "from it), so its backup would be incomplete. Grant it pg_read_all_data and BYPASSRLS (the role "
                "holdfast.postgres.setup does), or leave the tables out by exclude_tables."
            )

    def back_up(self, folder: Folder) -> Draft:
        chosen, _warnings = self._choose()
        unnamed = [database for database in chosen if not is_text(database["name"])]
        chosen = [database for database in chosen if is_text(database["name"])]
        together = room(self._connection, self._options.jobs + 1)
        entries: list[dict[str, Any]] = []
        failed: dict[str, HoldfastError] = {}
        dumper = Dumper(
            self._address,
            self._tools,
            self._options,
            self.identity.in_recovery,
            self._staging,
            self._connection,
            self._doubts,
        )
        for database in unnamed:
            name = as_text(database["name"])
            failed[name] = ServerError(
                f"The name {name!r} is no UTF-8, and a record cannot hold it: rename the database."
            )
        with Snapshots(self._address) as snapshots:
            start_lsn = facts.current_lsn(self._connection)
            for begin in range(0, len(chosen), together):
                batch = chosen[begin : begin + together]
                failed.update(snapshots.take([entry["name"] for entry in batch], NO_ROOM if begin else TOGETHER))
                for database in batch:
                    if database["name"] not in failed:
                        self._one(dumper, folder, database, snapshots, entries, failed)
            consistency = snapshots.describe()
        if len(consistency["moments"]) > 1:
            self._doubts.append(_moments(consistency["moments"]))
        # Empty databases alone, where others have nothing that is selected, are no backup either.
        passed_over = len(entries) + len(failed) < len(chosen)
        found = [entry for entry in entries if not passed_over or entry["name"] not in dumper.empty]
        self._judge(found, failed)
        if self._options.globals:
            folder.progress.step("dumping roles and tablespaces")
            said = len(folder.said)
            folder.put("globals.sql", "globals", self._dump_globals())
            self._doubts += [f"pg_dumpall says: {line}" for line in folder.said[said:]]
        outside = facts.outside(self._connection, self._encrypted, self._doubts)
        outside["contents"] = dumper.contents
        text = json.dumps(outside, indent=1, ensure_ascii=True, default=str)
        folder.put("cluster.json", "cluster", text.encode())
        scope = self._options.scope()
        if failed:
            scope["databases"] = [entry["name"] for entry in entries]
        return Draft(
            start_lsn,
            facts.current_lsn(self._connection),
            consistency,
            entries,
            self._doubts,
            failed=failed,
            scope=scope,
        )

    def _one(
        self,
        dumper: Dumper,
        folder: Folder,
        database: dict[str, Any],
        snapshots: Snapshots,
        entries: list[dict[str, Any]],
        failed: dict[str, HoldfastError],
    ) -> None:
        """One database; what goes wrong with it alone does not stop the others."""
        name = database["name"]
        try:
            entries.append(dumper.dump(folder, database, snapshots))
            return
        except NothingSelected as exc:
            if self._options.databases:
                failed[name] = ServerError(f"Nothing in the database {name!r} is selected: {exc}.")
            else:
                self._doubts.append(f"The database {name!r} is not in this backup: nothing in it is selected ({exc}).")
        except (ServerError, ToolError) as exc:
            if self._is_gone(name):
                self._doubts.append(f"The database {name!r} is not in this backup: it was dropped meanwhile.")
            else:
                failed[name] = exc
        snapshots.forget(name)

    def _is_gone(self, name: str) -> bool:
        """Whether a database is no more. Raises ServerError when the whole server is: then there is no use in going on."""
        import psycopg2

        try:
            return not facts.rows(self._connection, "SELECT FROM pg_database WHERE datname = %s", [name])
        except psycopg2.Error:
            pass
        try:
            self._connection = self._address.connect()
        except ServerError as exc:
            raise ServerError(
                f"The server went away while the database {name!r} was dumped. {exc} No backup was made."
            ) from exc
        return not facts.rows(self._connection, "SELECT FROM pg_database WHERE datname = %s", [name])

    @staticmethod
    def _judge(entries: list[dict[str, Any]], failed: dict[str, HoldfastError]) -> None:
        """Without any database there is no backup."""
        if entries:
            return
        if not failed:
            raise ServerError(
                "Nothing is selected in any database: look at schemas, tables and their exclusions. No backup was made."
            )
        message = " ".join(f"The database {name!r} could not be dumped. {exc}" for name, exc in failed.items())
        raise ServerError(f"{message} No backup was made.") from next(iter(failed.values()))

    def _dump_globals(self) -> Command:
        argv = [self._tools.path("pg_dumpall"), "--globals-only", "--no-password", f"--database={self._address.db}"]
        argv += [f"--dbname={self._address.conninfo(self._address.db)}"]
        return Command(argv + ([] if self._passwords else ["--no-role-passwords"]))


def _moments(moments: list[dict[str, Any]]) -> str:
    """Which databases are of which moment, for people."""
    parts = [f"{shown(moment['databases'])} at {moment['at']} ({moment['why']})" for moment in moments]
    return f"The databases of this backup are of {len(moments)} moments: {'; '.join(parts)}."
