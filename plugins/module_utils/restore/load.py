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
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, pump, run
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import parts, toc
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.archive import in_its_encoding
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.failures import hint
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.edit import merged
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.load_context import LoadContext
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.roles import map_roles

_ORDERED = re.compile(
    r"\d+; \d+ \d+ (ACL|DEFAULT ACL|MATERIALIZED VIEW DATA|EVENT TRIGGER|(COMMENT|SECURITY LABEL) - EVENT TRIGGER) "
)


class Loader:
    """Puts dumps into databases that are new. ``scope`` says what the backup was made of."""

    def __init__(self, context: LoadContext, scope: Optional[Mapping[str, Any]] = None) -> None:
        self._with, self._options, self._scope = context, context.options, scope or {}

    def load(self, dump: Dump, database: str) -> None:
        """Load a dump, or what is chosen of it, into a database that is new.

        Raises:
            ToolError: a statement failed that the user did not allow to.
        """
        try:
            self._prepare_schemas(dump, database)
            self._load(dump, database)
        except ToolError as exc:
            way_out = hint([str(exc)])
            if not way_out or way_out in str(exc):
                raise
            raise ToolError(f"{str(exc).rstrip('. ')}{way_out}.", exc.argv, exc.rc, exc.output) from exc
        finally:
            self._with.notes += [note for note in self._with.player.notes if note not in self._with.notes]
        dump.unchanged()

    def _load(self, dump: Dump, database: str) -> None:
        if dump.script is not None and (dump.format == "plain" or (dump.as_script and self._options.whole)):
            script = dump.script
            if self._options.no_tablespaces:
                script = dataclasses.replace(script, edits=merged(script.edits, script.spaces))
            stop = not self._options.allow_errors
            failures = self._with.player.play(
                dump.as_script or dump.stream, script, database, stop, self._with.on_bytes
            )
            self._with.failures.judge(list(map(str, failures)))
            return
        if self._options.role_map:
            self._mapped(dump, database)
            return
        argv = self._pg_restore(database)
        argv += [] if self._options.allow_errors else ["--exit-on-error"]
        if self._streams(dump):
            with dump.stream.open() as source:
                self._with.failures.heed(
                    pump([*dump.stream.filters, self._tolerant(argv)], source, subprocess.DEVNULL, self._with.on_bytes)
                )
            return
        with dump.laid_out(self._with.scratch, self._with.on_bytes) as path:
            if self._options.chooses:
                argv += [f"--use-list={self._list(dump, path)}"]
            elif self._options.jobs > 1 and dump.format != "tar":
                early, late = self._split(path)
                parallel = [*argv, f"--jobs={self._options.jobs}", f"--use-list={early}", path]
                self._with.failures.heed(
                    pump([self._tolerant(parallel)], subprocess.DEVNULL, subprocess.DEVNULL, self._with.on_bytes)
                )
                argv += [f"--use-list={late}"]
            command = self._tolerant([*argv, path])
            self._with.failures.heed(pump([command], subprocess.DEVNULL, subprocess.DEVNULL, self._with.on_bytes))

    def explains(self, dump: Dump, name: tuple[str, str]) -> bool:
        """Whether a failure that the user allowed speaks of a table (schema, name), or of one of its partitions."""
        if not self._with.failures.allowed:
            return False
        partitions = [part for part, head in self._with.archive.heads(dump).items() if head == name]
        return any(self._with.failures.explain(table) for _schema, table in (name, *partitions))

    def chosen(self, dump: Dump) -> Optional[list[tuple[str, str]]]:
        """The tables (schema, name) that are to be there; None: the options choose no tables or schemas."""
        selection = self._with.chosen.get(id(dump))
        if selection is None:
            return None
        has_rows = {
            (entry.schema, entry.name)
            for entry in self._with.archive.entries(dump)
            if entry.type in ("TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW")
        }
        heads = self._with.archive.heads(dump)
        # Rows of partitions are counted with their heads'; one that was chosen alone was not recorded alone, which has to be said.
        return [name for name in selection.relations if name in has_rows and heads.get(name) not in selection.relations]

    def _prepare_schemas(self, dump: Dump, database: str) -> None:
        """Make what a backup of parts stands in, and lacks; and make room for the schema public where it brings its own."""
        if self._options.data_only:
            return
        if dump.format == "plain":
            tables = [name.partition(".")[0] for name in self._scope.get("tables") or () if "." in name]
            missing = sorted({name for name in tables if name.isidentifier()} - {"public"})
            missing = missing or (dump.script.homeless() if dump.script and not dump.script.cluster else [])
            public = "public" in (self._scope.get("schemas") or ())
        else:
            entries = self._with.archive.entries(dump)
            if self._options.chooses:
                self._with.chosen[id(dump)] = chosen = toc.select(
                    entries,
                    self._with.archive.listing(dump),
                    self._options.tables,
                    self._options.schemas,
                    None,
                )
                entries = [entry for entry in entries if entry.id in chosen.ids]
            missing, public = toc.homeless(entries), toc.makes_public(entries)
        text = "DROP SCHEMA public;\n" if public else ""
        text += "".join(f"CREATE SCHEMA {parts.quoted(name)};\n" for name in missing)
        if text:
            self._with.failures.judge(self._with.run_text(text, database, stop=True))
        if missing:
            self._with.notes.append(
                f"The backup does not have the schema {', '.join(map(repr, missing))} itself: it was made, without owner and privileges."
            )

    def prepare(self, dump: Dump) -> None:
        """Begin with what can be done before anything is touched: unpack, where pg_restore must seek. ``load`` would do it
        too, and says what goes wrong."""
        if dump.format != "plain" and not self._streams(dump):
            with contextlib.suppress(ToolError):
                dump.lay_out(self._with.scratch, self._with.on_bytes)

    def _streams(self, dump: Dump) -> bool:
        """Whether pg_restore can read the dump from a pipe."""
        options = self._options
        return options.jobs == 1 and dump.format != "directory" and not options.chooses and not options.role_map

    def _pg_restore(self, database: str) -> list[str]:
        argv = [
            self._with.tools.path("pg_restore"),
            f"--dbname={self._with.address.conninfo(database, self._with.quiet)}",
            "--no-password",
        ]
        return argv + self._options.arguments()

    def _mapped(self, dump: Dump, database: str) -> None:
        """With other roles: definitions as a script, in which they are exchanged; the data straight from the dump."""
        with dump.laid_out(self._with.scratch, self._with.on_bytes) as path:
            stop = not self._options.allow_errors
            for section in ("pre-data", "data", "post-data"):
                if section == "data":
                    argv = [
                        *self._pg_restore(database),
                        f"--section={section}",
                        f"--jobs={self._options.jobs}",
                        path,
                    ]
                    argv += [] if self._options.allow_errors else ["--exit-on-error"]
                    self._with.failures.heed(
                        pump([self._tolerant(argv)], subprocess.DEVNULL, subprocess.DEVNULL, self._with.on_bytes)
                    )
                    continue
                argv = [self._with.tools.path("pg_restore"), *self._options.arguments()]
                text = in_its_encoding(run([Command([*argv, f"--section={section}", "--file=-", path])]))
                self._with.failures.judge(
                    self._with.run_text(map_roles(text, dict(self._options.role_map)), database, stop)
                )

    def _tolerant(self, argv: Sequence[str]) -> Command:
        return Command(argv, ok=(0, 1) if self._options.allow_errors else (0,))

    def _split(self, path: str) -> tuple[str, str]:
        """Two lists of an archive's entries: those that jobs may do side by side, and those that need their order.

        With --jobs, pg_restore grants side by side: a grant by somebody who was granted the schema a moment later fails.
        What needs the grants (materialised views are filled as their owners) comes behind them.
        """
        listing = run([Command([self._with.tools.path("pg_restore"), "--list", path])]).decode("utf-8", "replace")
        lines = listing.splitlines()
        names = []
        for wanted in (False, True):
            names.append(os.path.join(self._with.scratch, f"list-{int(wanted)}"))
            with open(names[-1], "w", encoding="utf-8") as stream:
                stream.writelines(f"{line}\n" for line in lines if bool(_ORDERED.match(line)) is wanted)
        return names[0], names[1]

    def _list(self, dump: Dump, path: str) -> str:
        listing = toc.parse_list(self._with.archive.run(["--verbose", "--list"], path))
        selection = self._with.chosen[id(dump)]
        self._with.notes += selection.notes()
        return self._with.write_list("list", selection.lines(listing, selection.ids))


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
