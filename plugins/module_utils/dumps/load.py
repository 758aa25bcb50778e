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
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.dumps import parts, toc
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.foreign.edit import merged
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.foreign.script import MAINTENANCE
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.globals import Fitting, fit
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.psql import Player, failures_in
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.roles import map_roles
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command, OnBytes, pump, run
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
    """Puts dumps into databases of one server, by its client programs. ``quiet`` are settings by which a session that makes something
    new fires no event triggers, where the server knows no better way; ``scope`` says what the backup was made of."""

    def __init__(
        self,
        address: Address,
        tools: Tools,
        options: RestoreOptions,
        scratch: str,
        on_bytes: OnBytes,
        scope: Optional[Mapping[str, Any]] = None,
        quiet: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._address, self._tools, self._options = address, tools, options
        self._scratch, self._on_bytes = scratch, on_bytes
        self._scope, self._quiet = scope or {}, quiet or {}
        self._player = Player(address, tools)
        self._definitions: dict[int, list[toc.Entry]] = {}
        self._chosen: dict[int, toc.Selection] = {}
        #: errors that the user allowed
        self.allowed: list[str] = []
        #: what else is to be said
        self.notes: list[str] = []

    def load(self, dump: Dump, database: str) -> None:
        """Load a dump, or what is chosen of it, into a database that is new.

        Raises:
            ToolError: a statement failed that the user did not allow to.
        """
        try:
            self._prepare_schemas(dump, database)
            self._load(dump, database)
        except ToolError as exc:
            hint = _hint([str(exc)])
            if not hint or hint in str(exc):
                raise
            raise ToolError(f"{str(exc).rstrip('. ')}{hint}.", exc.argv, exc.rc, exc.output) from exc
        finally:
            self.notes += [note for note in self._player.notes if note not in self.notes]
        dump.unchanged()

    def _load(self, dump: Dump, database: str) -> None:
        if dump.script is not None and (dump.format == "plain" or (dump.as_script and self._options.whole)):
            script = dump.script
            if self._options.no_tablespaces:
                script = dataclasses.replace(script, edits=merged(script.edits, script.spaces))
            stop = not self._options.allow_errors
            failures = self._player.play(dump.as_script or dump.stream, script, database, stop, self._on_bytes)
            self._judge(list(map(str, failures)))
            return
        if self._options.role_map:
            self._mapped(dump, database)
            return
        argv = self._pg_restore(database)
        argv += [] if self._options.allow_errors else ["--exit-on-error"]
        if self._streams(dump):
            with dump.stream.open() as source:
                self._heed(
                    pump([*dump.stream.filters, self._tolerant(argv)], source, subprocess.DEVNULL, self._on_bytes)
                )
            return
        with dump.laid_out(self._scratch, self._on_bytes) as path:
            if self._options.chooses:
                argv += [f"--use-list={self._list(dump, path)}"]
            elif self._options.jobs > 1 and dump.format != "tar":
                early, late = self._split(path)
                parallel = [*argv, f"--jobs={self._options.jobs}", f"--use-list={early}", path]
                self._heed(pump([self._tolerant(parallel)], subprocess.DEVNULL, subprocess.DEVNULL, self._on_bytes))
                argv += [f"--use-list={late}"]
            command = self._tolerant([*argv, path])
            self._heed(pump([command], subprocess.DEVNULL, subprocess.DEVNULL, self._on_bytes))

    def look(self, dump: Dump, database: str) -> parts.Addition:
        """What would be put into a database that is there. Reads only.

        Raises:
            BadOption: something is not in the dump, or could be several.
        """
        with contextlib.closing(self._address.connect(database)) as connection:
            selection = None
            if self._options.chooses:
                selection = toc.select(
                    self._entries(dump),
                    self._listing(dump),
                    self._options.tables,
                    self._options.schemas,
                    lambda entry: parts.is_there(connection, entry),
                )
                self._chosen[id(dump)] = selection
            replace = self._options.force and not self._options.data_only and "post-data" not in self._options.sections
            addition = parts.look(
                connection, selection, replace and (not self._options.sections or "pre-data" in self._options.sections)
            )
            if selection and not self._options.data_only:
                made = [self._by_id(dump)[number] for number in selection.ids if number in self._by_id(dump)]
                addition.schemas = [
                    name for name in toc.homeless(made) if not parts.is_there(connection, toc.schema_entry(name))
                ]
            return addition

    def add(self, dump: Dump, database: str, addition: parts.Addition) -> None:
        """Put what is chosen of a dump into a database that is there, in one transaction unless errors are allowed.

        Raises:
            ToolError: a statement failed; or what came has other numbers of rows than were recorded. Nothing has changed then.
        """
        options = self._options
        with dump.laid_out(self._scratch, self._on_bytes) as path:
            listing = toc.parse_list(self._run_pg_restore(["--verbose", "--list"], path))
            argv = [self._tools.path("pg_restore"), *options.arguments(), "--file=-"]
            argv += ["--clean", "--if-exists"] if options.force and not options.data_only else []
            scripts = [parts.write(self._scratch, "before.sql", parts.before(addition, options.disable_triggers)), "-"]
            selection = addition.selection
            if selection is not None:
                grants = {line.id for line in listing if line.text.startswith(("ACL ", "DEFAULT ACL "))} & selection.ids
                main = self._write_list(
                    "list", selection.lines(listing, selection.ids - (set() if options.sections else grants))
                )
                argv += [f"--use-list={main}"]
                if not options.sections and not options.data_only:
                    later = self._write_list("list-later", selection.lines(listing, grants | selection.attach))
                    text = self._run_pg_restore([*options.arguments(), f"--use-list={later}", "--file=-"], path)
                    scripts += [parts.write(self._scratch, "between.sql", parts.between())]
                    scripts += [parts.write(self._scratch, "later.sql", text)]
                self.notes += selection.notes()
            whole = not options.data_only and not options.sections
            last = parts.behind(addition, options.disable_triggers, whole, self._expected(dump, addition))
            quiet = {} if options.data_only else self._quiet
            psql = [self._tools.path("psql"), "--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null"]
            psql += [f"--dbname={self._address.conninfo(database, quiet)}", "--set=VERBOSITY=verbose"]
            psql += [f"--set=ON_ERROR_STOP={int(not options.allow_errors)}"]
            psql += [] if options.allow_errors else ["--single-transaction"]
            gate = os.path.join(self._scratch, "behind.sql")
            psql += [f"--file={script}" for script in (*scripts, gate)]
            try:
                messages = self._play([Command([*argv, path]), Command(psql, ok=(0, 3))], gate, last)
            finally:
                for name in ("before.sql", "between.sql", "later.sql", "behind.sql", "list", "list-later"):
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(self._scratch, name))
        dump.unchanged()
        failures = failures_in(messages)
        depends = [failure.message for failure in failures if failure.sqlstate == "2BP01"]
        if depends:
            raise ToolError(
                f"Something else depends on what would be replaced: {'; '.join(depends[:3])} {_details(messages)} Restore the parts into "
                "a new database by target_db and take the rows from there, or only the rows by data_only after a TRUNCATE."
            )
        self._judge(list(map(str, failures)))

    def _play(self, commands: Sequence[Command], gate: str, last: str) -> str:
        """Run pg_restore into psql, whose last script is ``last``: it gets that by a pipe, ``gate``, only once pg_restore has ended well.
        Else psql would commit what came until then. Returns psql's messages."""
        os.mkfifo(gate, 0o600)
        with Chain(commands, subprocess.DEVNULL, subprocess.DEVNULL) as chain:
            reader, writer = chain.processes
            while reader.poll() is None:
                self._on_bytes(chain.made(), 0)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    reader.wait(0.5)
            if reader.returncode:
                last = "DO $$BEGIN RAISE EXCEPTION 'the dump could not be read to its end'; END$$;"
            while writer.poll() is None:
                try:
                    fd = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)  # fails until psql has come so far
                except OSError:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        writer.wait(0.02)
                    continue
                os.set_blocking(fd, True)
                with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "wb") as stream:
                    stream.write(last.encode("utf-8", "surrogateescape"))
                break
            chain.finish()
            return chain.messages(1, 1024 * 1024)

    def _expected(self, dump: Dump, addition: parts.Addition) -> list[tuple[str, str, int]]:
        """Numbers of rows that what is made anew must have."""
        options, selection = self._options, addition.selection
        if selection is None or options.schema_only or options.data_only or options.sections or options.allow_errors:
            return []
        recorded = {(row["schema"], row["table"]): row["rows"] for row in dump.contents.get("tables") or ()}
        return [(*name, recorded[name]) for name in selection.relations if recorded.get(name) is not None]

    def chosen(self, dump: Dump) -> Optional[list[tuple[str, str]]]:
        """The tables (schema, name) that are to be there; None: the options choose no tables or schemas."""
        selection = self._chosen.get(id(dump))
        if selection is None:
            return None
        kinds = {(entry.schema, entry.name) for entry in self._entries(dump) if entry.type == "TABLE"}
        recorded = {(row["schema"], row["table"]) for row in dump.contents.get("tables") or ()}
        inside = {name for name in selection.relations if self._is_partition(dump, name)}
        heads = [name for name in selection.relations if name in kinds and name not in inside]
        return [name for name in heads if name in recorded or not recorded]

    def _is_partition(self, dump: Dump, name: tuple[str, str]) -> bool:
        return any(entry.type == "TABLE ATTACH" and (entry.schema, entry.name) == name for entry in self._entries(dump))

    def extensions(self, dump: Dump) -> set[str]:
        """Names of the extensions that the dump makes, as far as it can be read."""
        return toc.extensions(self._entries(dump))

    def checks_name(self, dump: Dump) -> bool:
        """Whether a constraint asks for the database's name."""
        return toc.checks_name(self._entries(dump))

    def _prepare_schemas(self, dump: Dump, database: str) -> None:
        """Make what a backup of parts stands in, and lacks; and make room for the schema public where it brings its own."""
        if self._options.data_only:
            return
        if dump.format == "plain":
            tables = [name.partition(".")[0] for name in self._scope.get("tables") or () if "." in name]
            missing = sorted({name for name in tables if name.isidentifier()} - {"public"})
            public = "public" in (self._scope.get("schemas") or ())
        else:
            entries = self._entries(dump)
            if self._options.chooses:
                self._chosen[id(dump)] = chosen = toc.select(
                    entries, self._listing(dump), self._options.tables, self._options.schemas, None
                )
                entries = [entry for entry in entries if entry.id in chosen.ids]
            missing, public = toc.homeless(entries), toc.makes_public(entries)
        text = "DROP SCHEMA public;\n" if public else ""
        text += "".join(f"CREATE SCHEMA {parts.quoted(name)};\n" for name in missing)
        if text:
            self._judge(self._run_text(text, database, stop=True))
        if missing:
            self.notes.append(
                f"The backup does not have the schema {', '.join(map(repr, missing))} itself: it was made, without owner and privileges."
            )

    def _entries(self, dump: Dump) -> list[toc.Entry]:
        """The definitions in an archive; none of a script."""
        if dump.format == "plain":
            return []
        if id(dump) not in self._definitions:
            text = self._read_archive(dump, ["--verbose", "--schema-only", "--file=-"])
            self._definitions[id(dump)] = toc.parse(text)
        return self._definitions[id(dump)]

    def _by_id(self, dump: Dump) -> dict[int, toc.Entry]:
        return {entry.id: entry for entry in self._entries(dump)}

    def _listing(self, dump: Dump) -> list[toc.Line]:
        return toc.parse_list(self._read_archive(dump, ["--verbose", "--list"]))

    def _read_archive(self, dump: Dump, arguments: Sequence[str]) -> str:
        """What pg_restore tells of an archive whose head alone is read."""
        argv = [self._tools.path("pg_restore"), *arguments]
        if dump.is_laid_out:
            return self._run_pg_restore(arguments, dump.lay_out(self._scratch, self._on_bytes))
        if dump.format == "directory":
            with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
                for name in ("toc.dat", "toc.dat.gz"):
                    if name in dump.streams:
                        dump.streams[name].save(os.path.join(directory, name), lambda made, out: None)
                return self._run_pg_restore(arguments, directory)
        with dump.stream.open() as source:
            return in_its_encoding(run([*_whatever(dump.stream.filters), Command(argv)], source))

    def _run_pg_restore(self, arguments: Sequence[str], path: str) -> str:
        return in_its_encoding(run([Command([self._tools.path("pg_restore"), *arguments, path])]))

    def _write_list(self, name: str, lines: Sequence[str]) -> str:
        return parts.write(self._scratch, name, "\n".join(lines) + "\n")

    def prepare(self, dump: Dump) -> None:
        """Begin with what can be done before anything is touched: unpack, where pg_restore must seek. ``load`` would do it
        too, and says what goes wrong."""
        if dump.format != "plain" and not self._streams(dump):
            with contextlib.suppress(ToolError):
                dump.lay_out(self._scratch, self._on_bytes)

    def _streams(self, dump: Dump) -> bool:
        """Whether pg_restore can read the dump from a pipe."""
        options = self._options
        return options.jobs == 1 and dump.format != "directory" and not options.chooses and not options.role_map

    def _pg_restore(self, database: str) -> list[str]:
        argv = [
            self._tools.path("pg_restore"),
            f"--dbname={self._address.conninfo(database, self._quiet)}",
            "--no-password",
        ]
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
                text = in_its_encoding(run([Command([*argv, f"--section={section}", "--file=-", path])]))
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

    def _heed(self, messages: str) -> None:
        self._judge(_ERROR.findall(messages))

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

    def _list(self, dump: Dump, path: str) -> str:
        listing = toc.parse_list(self._run_pg_restore(["--verbose", "--list"], path))
        selection = self._chosen[id(dump)]
        self.notes += selection.notes()
        return self._write_list("list", selection.lines(listing, selection.ids))


def _whatever(filters: Sequence[Command]) -> list[Command]:
    """Programs before one that reads the head alone: how they end when it goes away is no matter."""
    return [dataclasses.replace(command, ok=tuple(range(-64, 256))) for command in filters]


def in_its_encoding(output: bytes) -> str:
    """What pg_restore prints, in the archive's encoding; bytes that are none come back as they are when it is written again."""
    import psycopg2.extensions

    found = re.search(rb"^SET client_encoding = '(\w+)';$", output, re.MULTILINE)
    name = re.sub(r"\W|_", "", found.group(1).decode()).upper() if found else "UTF8"
    codecs = {re.sub(r"\W|_", "", key).upper(): codec for key, codec in psycopg2.extensions.encodings.items()}
    codec = codecs.get(name, "utf_8")
    return output.decode("utf_8" if codec == "ascii" else codec, "surrogateescape")


def _details(messages: str) -> str:
    """What psql told in detail."""
    found = re.findall(r"^DETAIL:\s+(.*)$", messages, re.MULTILINE)
    return f"({'; '.join(found[:3])})." if found else ""


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
