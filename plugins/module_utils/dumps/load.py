# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading one dump into one database, with every error heard."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.dumps import toc
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.roles import map_roles
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, OnBytes, pump, run
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools

_ERROR = re.compile(r"^(?:pg_restore: error:|psql:[^:]*:\d+: (?:ERROR|FATAL|PANIC):|.*\berror:) *(.*)$", re.MULTILINE)
_ORDERED = re.compile(
    r"\d+; \d+ \d+ (ACL|DEFAULT ACL|MATERIALIZED VIEW DATA|EVENT TRIGGER|(COMMENT|SECURITY LABEL) - EVENT TRIGGER) "
)
_CREATE = re.compile(r'^CREATE DATABASE (?:"(?:[^"]|"")+"|\S+) (WITH .*);$', re.MULTILINE)

_NAME = r'(?:"(?:[^"]|"")+"|\S+)'
_TABLESPACE = re.compile(rf"^(CREATE TABLESPACE ({_NAME}) OWNER {_NAME}) LOCATION E?'(?:[^']|'')*';$", re.MULTILINE)


class Loader:
    """Puts dumps into databases of one server, by its client programs."""

    def __init__(
        self, address: Address, tools: Tools, options: RestoreOptions, scratch: str, on_bytes: OnBytes
    ) -> None:
        self._address, self._tools, self._options = address, tools, options
        self._scratch, self._on_bytes = scratch, on_bytes
        #: errors that the user allowed
        self.allowed: list[str] = []
        #: what else is to be said
        self.notes: list[str] = []

    def load(self, dump: Dump, database: str, replace: bool = False) -> None:
        """Load a dump; ``replace`` drops what is selected first, in the same transaction.

        Raises:
            ToolError: a statement failed that the user did not allow to.
        """
        if dump.format == "plain":
            self._psql(dump.stream, database)
            return
        if self._options.schemas and not self._options.data_only:
            # pg_restore --schema restores what is in a schema, and not the schema
            names = ['"' + name.replace('"', '""') + '"' for name in self._options.schemas]
            made = "".join(f"CREATE SCHEMA IF NOT EXISTS {name};\n" for name in names)
            self._judge(_ERROR.findall(self._run_text(made, database, stop=True)))
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
                self._judge(
                    _ERROR.findall(self._run_text(map_roles(text, dict(self._options.role_map)), database, stop))
                )

    def globals(self, stream: Stream) -> None:
        """Roles and tablespaces: those that exist already stay, and get the attributes of the dump.

        Raises:
            ToolError: anything else failed.
        """
        text = move_tablespaces(stream.read().decode(), dict(self._options.tablespace_locations))
        words = self._run_text(text, self._address.db, stop=False)
        bad = [line for line in _ERROR.findall(words) if not re.match(r"42710:", line)]
        if bad:
            raise ToolError(
                f"Roles and tablespaces could not be restored: {'; '.join(bad[:5])}. No database was touched. (Tablespaces "
                "can go elsewhere by tablespace_locations; globals: false leaves all of this out.)"
            )

    def cluster(self, stream: Stream) -> None:
        """A pg_dumpall script: as ``globals``, databases and all. Raises ToolError."""
        words = self._script(stream, self._address.db, stop=False)
        self._judge([line for line in _ERROR.findall(words) if not re.match(r"42710: *role .* already exists", line)])

    def create_clause(self, dump: Dump) -> Optional[str]:
        """The ``WITH …`` of a foreign archive's CREATE DATABASE: encoding and locale."""
        if dump.format not in ("custom", "tar"):
            return None
        with dump.stream.open() as source:
            argv = [self._tools.path("pg_restore"), "--create", "--schema-only", "--file=-"]
            text = run([*dump.stream.filters, Command(argv)], source).decode("utf-8", "replace")
        found = _CREATE.search(text)
        return found.group(1) if found else None

    def _psql(self, stream: Stream, database: str) -> None:
        words = self._script(stream, database, stop=not self._options.allow_errors)
        self._judge(_ERROR.findall(words))

    def _script(self, stream: Stream, database: str, stop: bool) -> str:
        with stream.open() as source:
            command = self._psql_command(database, stop)
            return pump([*stream.filters, command], source, subprocess.DEVNULL, self._on_bytes)

    def _run_text(self, text: str, database: str, stop: bool) -> str:
        with tempfile.TemporaryFile() as script:
            script.write(text.encode())
            script.seek(0)
            return pump([self._psql_command(database, stop)], script, subprocess.DEVNULL)

    def _psql_command(self, database: str, stop: bool) -> Command:
        argv = [self._tools.path("psql"), "--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null"]
        argv += [f"--set=ON_ERROR_STOP={int(stop)}", "--set=VERBOSITY=verbose", "--file=-"]
        return Command([*argv, f"--dbname={self._address.conninfo(database)}"])

    def _tolerant(self, argv: Sequence[str]) -> Command:
        return Command(argv, ok=(0, 1) if self._options.allow_errors else (0,))

    def _heed(self, words: str) -> None:
        self._judge(_ERROR.findall(words))

    def _judge(self, errors: list[str]) -> None:
        bad = [line for line in errors if not any(kind in line for kind in self._options.allow_errors)]
        if bad:
            raise ToolError(f"{len(bad)} statements failed: {'; '.join(bad[:5])}")
        self.allowed += errors

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


def move_tablespaces(script: str, locations: Mapping[str, str]) -> str:
    """A script of pg_dumpall with other directories for some tablespaces."""

    def move(found: re.Match[str]) -> str:
        name = found.group(2)
        name = name[1:-1].replace('""', '"') if name.startswith('"') else name
        if name not in locations:
            return found.group(0)
        location = locations[name].replace("'", "''")
        return f"{found.group(1)} LOCATION '{location}';"

    return _TABLESPACE.sub(move, script)


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
