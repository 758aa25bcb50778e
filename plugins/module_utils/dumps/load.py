# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading one dump into one database, with every error heard."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import subprocess
from collections.abc import Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.dumps import toc
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.foreign.edit import merged
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.foreign.script import MAINTENANCE
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.globals import Fitting, fit
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.psql import Player
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.roles import map_roles
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, OnBytes, pump, run
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import rows, value
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools

# pg_restore's own words, which LC_ALL=C keeps English; what the server says stands behind them, in its language.
_ERROR = re.compile(r"^pg_restore: error: *(.*)$", re.MULTILINE)
_ORDERED = re.compile(
    r"\d+; \d+ \d+ (ACL|DEFAULT ACL|MATERIALIZED VIEW DATA|EVENT TRIGGER|(COMMENT|SECURITY LABEL) - EVENT TRIGGER) "
)


class Loader:
    """Puts dumps into databases of one server, by its client programs."""

    def __init__(
        self, address: Address, tools: Tools, options: RestoreOptions, scratch: str, on_bytes: OnBytes
    ) -> None:
        self._address, self._tools, self._options = address, tools, options
        self._scratch, self._on_bytes = scratch, on_bytes
        self._player = Player(address, tools)
        #: errors that the user allowed
        self.allowed: list[str] = []
        #: what else is to be said
        self.notes: list[str] = []

    def load(self, dump: Dump, database: str, replace: bool = False) -> None:
        """Load a dump; ``replace`` drops what is selected first, in the same transaction.

        Raises:
            ToolError: a statement failed that the user did not allow to.
        """
        try:
            self._load(dump, database, replace)
        except ToolError as exc:
            hint = _hint([str(exc)])
            if not hint or hint in str(exc):
                raise
            raise ToolError(f"{str(exc).rstrip('. ')}{hint}.", exc.argv, exc.rc, exc.output) from exc
        finally:
            self.notes += [note for note in self._player.notes if note not in self.notes]
        dump.unchanged()

    def _load(self, dump: Dump, database: str, replace: bool) -> None:
        if dump.script is not None and (dump.format == "plain" or (dump.as_script and self._options.whole)):
            script = dump.script
            if self._options.no_tablespaces:
                script = dataclasses.replace(script, edits=merged(script.edits, script.spaces))
            stop = not self._options.allow_errors
            failures = self._player.play(dump.as_script or dump.stream, script, database, stop, self._on_bytes)
            self._judge(list(map(str, failures)))
            return
        if self._options.schemas and not self._options.data_only:
            # pg_restore --schema restores what is in a schema, and not the schema
            names = ['"' + name.replace('"', '""') + '"' for name in self._options.schemas]
            made = "".join(f"CREATE SCHEMA IF NOT EXISTS {name};\n" for name in names)
            self._judge(self._run_text(made, database, stop=True))
        if self._options.role_map:
            self._mapped(dump, database)
            return
        argv = self._pg_restore(database)
        if replace:
            argv += ["--clean", "--if-exists", "--single-transaction"]
        elif not self._options.allow_errors:
            argv += ["--exit-on-error"]
        if self._streams(dump):
            with dump.stream.open() as source:
                self._heed(
                    pump([*dump.stream.filters, self._tolerant(argv)], source, subprocess.DEVNULL, self._on_bytes)
                )
            return
        with dump.laid_out(self._scratch, self._on_bytes) as path:
            if self._options.tables:
                argv += [f"--use-list={self._list(path)}"]
            elif self._options.jobs > 1 and not replace and dump.format != "tar":
                early, late = self._split(path)
                parallel = [*argv, f"--jobs={self._options.jobs}", f"--use-list={early}", path]
                self._heed(pump([self._tolerant(parallel)], subprocess.DEVNULL, subprocess.DEVNULL, self._on_bytes))
                argv += [f"--use-list={late}"]
            command = self._tolerant([*argv, path])
            self._heed(pump([command], subprocess.DEVNULL, subprocess.DEVNULL, self._on_bytes))

    def prepare(self, dump: Dump) -> None:
        """Begin with what can be done before anything is touched: unpack, where pg_restore must seek. ``load`` would do it
        too, and says what goes wrong."""
        if dump.format != "plain" and not self._streams(dump):
            with contextlib.suppress(ToolError):
                dump.lay_out(self._scratch, self._on_bytes)

    def _streams(self, dump: Dump) -> bool:
        """Whether pg_restore can read the dump from a pipe."""
        options = self._options
        return options.jobs == 1 and dump.format != "directory" and not options.tables and not options.role_map

    def _pg_restore(self, database: str) -> list[str]:
        argv = [self._tools.path("pg_restore"), f"--dbname={self._address.conninfo(database)}", "--no-password"]
        return argv + self._options.arguments()

    def _mapped(self, dump: Dump, database: str) -> None:
        """With other roles: definitions as a script, in which they are exchanged; the data straight from the dump."""
        with dump.laid_out(self._scratch, self._on_bytes) as path:
            stop = not self._options.allow_errors
            for section in ("pre-data", "data", "post-data"):
                if section == "data":
                    argv = [*self._pg_restore(database), f"--section={section}", f"--jobs={self._options.jobs}", path]
                    argv += [] if self._options.allow_errors else ["--exit-on-error"]
                    self._heed(pump([self._tolerant(argv)], subprocess.DEVNULL, subprocess.DEVNULL, self._on_bytes))
                    continue
                argv = [self._tools.path("pg_restore"), *self._options.arguments()]
                text = run([Command([*argv, f"--section={section}", "--file=-", path])]).decode()
                self._judge(self._run_text(map_roles(text, dict(self._options.role_map)), database, stop))

    def globals(self, stream: Stream) -> None:
        """Roles and tablespaces: those that exist already stay; but for superusers and ourselves they get the attributes of the dump.

        Raises:
            ToolError: anything failed that the user did not allow to.
        """
        fitting = self._fitting()
        text = fit(stream.read().decode("utf-8", "surrogateescape"), fitting)
        failed = self._run_text(text, self._address.db, stop=False)
        bad = [line for line in failed if not self._allowed(line)]
        if bad:
            raise ToolError(
                f"Roles and tablespaces could not be restored: {'; '.join(bad[:5])}. No database was touched. (Tablespaces "
                "can go elsewhere by tablespace_locations; allow_errors lets such statements fail; globals: false leaves all of this out.)"
            )
        self.allowed += failed
        self.notes += fitting.notes()

    def cluster(self, dump: Dump) -> None:
        """A pg_dumpall script: as ``globals``, databases and all. Raises ToolError."""
        if dump.script is None:
            raise AssertionError("a dump is judged before it is loaded")
        fitting = self._fitting()
        edits = [edit for statement in dump.script.globals for edit in fitting.edits(statement)]
        script = dataclasses.replace(dump.script, edits=merged(dump.script.edits, edits))
        try:
            failures = self._player.play(dump.stream, script, "postgres", stop=False, on_bytes=self._on_bytes)
            self._judge(list(map(str, failures)))
            dump.unchanged()
        except ToolError as exc:
            made = ", ".join(repr(name) for name in dump.script.databases if name not in MAINTENANCE)
            raise ToolError(
                f"The script {dump.shown} failed half-way: {exc}. What it had made stays for you to look at, and is not complete: roles, and "
                f"of the databases {made} those that it came to. Drop them before the next attempt."
            ) from exc
        self.notes += [*fitting.notes(), *self._player.notes]

    def _fitting(self) -> Fitting:
        """How roles and tablespaces are fitted to those that the server has."""
        connection = self._address.connect()
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

    def create_clause(self, dump: Dump) -> Optional[str]:
        """The ``WITH …`` of a foreign dump's CREATE DATABASE: encoding and locale."""
        return dump.clause

    def _run_text(self, text: str, database: str, stop: bool) -> list[str]:
        return list(map(str, self._player.play_text(text, database, stop)))

    def _tolerant(self, argv: Sequence[str]) -> Command:
        return Command(argv, ok=(0, 1) if self._options.allow_errors else (0,))

    def _heed(self, words: str) -> None:
        self._judge(_ERROR.findall(words))

    def _judge(self, errors: list[str]) -> None:
        bad = [line for line in errors if not self._allowed(line)]
        if bad:
            raise ToolError(f"{len(bad)} statements failed: {'; '.join(bad[:5])}{_hint(bad)}.")
        self.allowed += errors

    def _allowed(self, error: str) -> bool:
        return any(kind in error for kind in self._options.allow_errors)

    def _split(self, path: str) -> tuple[str, str]:
        """Two lists of an archive's entries: those that jobs may do side by side, and those that need their order.

        With --jobs, pg_restore grants side by side: a grant by somebody who was granted the schema a moment later fails.
        What needs the grants (materialised views are filled as their owners) comes behind them.
        """
        listing = run([Command([self._tools.path("pg_restore"), "--list", path])]).decode("utf-8", "replace")
        lines = listing.splitlines()
        names = []
        for wanted in (False, True):
            names.append(os.path.join(self._scratch, f"list-{int(wanted)}"))
            with open(names[-1], "w", encoding="utf-8") as stream:
                stream.writelines(f"{line}\n" for line in lines if bool(_ORDERED.match(line)) is wanted)
        return names[0], names[1]

    def _list(self, path: str) -> str:
        program = self._tools.path("pg_restore")
        text = run([Command([program, "--verbose", "--schema-only", "--file=-", path])]).decode("utf-8", "replace")
        listing = run([Command([program, "--list", path])]).decode("utf-8", "replace")
        lines, left_out = toc.choose(text, listing, self._options.tables)
        if left_out:
            self.notes.append(f"Foreign keys to tables that were not chosen are left out: {', '.join(left_out)}.")
        chosen = os.path.join(self._scratch, "list")
        with open(chosen, "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
        return chosen


def _hint(errors: list[str]) -> str:
    """The way out of errors that many meet."""
    text = " ".join(errors)
    if "unrecognized configuration parameter" in text or "42704" in text and "configuration parameter" in text:
        return (
            ". The dump sets what this server's version does not know: let that fail by allow_errors: "
            "['unrecognized configuration parameter']"
        )
    if re.search(r"role .* does not exist", text):
        return ". Roles that the dump names are not there: restore them first, or use no_owner and no_privileges, or role_map"
    if "default_tablespace" in text or re.search(r"tablespace .* does not exist", text):
        return ". A tablespace that the dump names is not there: make it first, or set no_tablespaces: true"
    return ""


def check_plain(dump: Dump, options: RestoreOptions) -> None:
    """A plain dump is a script: nothing can be chosen from it. Raises BadOption."""
    if dump.format != "plain":
        return
    for name in ("tables", "schemas", "sections", "schema_only", "data_only", "no_owner", "no_privileges", "role_map"):
        if getattr(options, name):
            raise BadOption(
                name, params_value(getattr(options, name)), "cannot be chosen from a dump in plain format",
                "Restore it whole, under another name by target_db, and take what you need from there.",
            )  # fmt: skip


def params_value(value: object) -> object:
    """As the user wrote it."""
    return list(value) if isinstance(value, tuple) else value
