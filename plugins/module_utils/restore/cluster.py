# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading what belongs to no database: roles and tablespaces, and scripts of pg_dumpall."""

from __future__ import annotations

import dataclasses

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.edit import merged
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.script import MAINTENANCE
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.globals import Fitting, fit
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.load_context import LoadContext
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value


class ClusterLoader:
    """Loads roles and tablespaces, fitted to those that the server has."""

    def __init__(self, context: LoadContext) -> None:
        self._with, self._options = context, context.options

    def globals(self, stream: Stream) -> None:
        """Roles and tablespaces: those that exist already stay; but for superusers and ourselves they get the attributes of the dump.

        Raises:
            ToolError: anything failed that the user did not allow to.
        """
        fitting = self._fitting()
        text = fit(stream.read().decode("utf-8", "surrogateescape"), fitting)
        failed = self._with.run_text(text, self._with.address.db, stop=False)
        bad = [line for line in failed if not self._with.failures.is_allowed(line)]
        if bad:
            raise ToolError(
                f"Roles and tablespaces could not be restored: {'; '.join(bad[:5])}. No database was touched. (Tablespaces "
                "can go elsewhere by tablespace_locations; allow_errors lets such statements fail; globals: false leaves all of this out.)"
            )
        self._with.failures.allowed += failed
        self._with.notes += fitting.notes()

    def cluster(self, dump: Dump) -> None:
        """A pg_dumpall script: as ``globals``, databases and all. Raises ToolError."""
        if dump.script is None:
            raise AssertionError("a dump is judged before it is loaded")
        fitting = self._fitting()
        edits = [edit for statement in dump.script.globals for edit in fitting.edits(statement)]
        script = dataclasses.replace(dump.script, edits=merged(dump.script.edits, edits))
        try:
            failures = self._with.player.play(dump.stream, script, "postgres", stop=False, on_bytes=self._with.on_bytes)
            self._with.failures.judge(list(map(str, failures)))
            dump.unchanged()
        except ToolError as exc:
            made = ", ".join(repr(name) for name in dump.script.databases if name not in MAINTENANCE)
            raise ToolError(
                f"The script {dump.shown} failed half-way: {exc}. What it had made stays for you to look at, and is not complete: roles, and "
                f"of the databases {made} those that it came to. Drop them before the next attempt."
            ) from exc
        self._with.notes += [*fitting.notes(), *self._with.player.notes]

    def _fitting(self) -> Fitting:
        """How roles and tablespaces are fitted to those that the server has."""
        connection = self._with.address.connect()
        try:
            roles = {
                row["rolname"]: row["rolsuper"] for row in rows(connection, "SELECT rolname, rolsuper FROM pg_roles")
            }
            there = frozenset(row["spcname"] for row in rows(connection, "SELECT spcname FROM pg_tablespace"))
            login = str(value(connection, "SELECT session_user"))
        finally:
            connection.close()
        options = self._options
        return Fitting(
            login, roles, there, dict(options.tablespace_locations), dict(options.role_map), options.no_owner,
            options.no_privileges, options.superuser_passwords,
        )  # fmt: skip
