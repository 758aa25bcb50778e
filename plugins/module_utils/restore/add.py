# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting parts of a dump into a database that is there: all of them, or nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Chain, Command
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import parts, toc
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.failures import details
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.load_context import LoadContext
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.psql import failures_in
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.remaining import Remaining


class Adder:
    """Looks at what would be put into a database, and puts it there."""

    def __init__(self, context: LoadContext) -> None:
        self._with, self._options = context, context.options

    def look(self, dump: Dump, database: str, replacing: bool) -> parts.Addition:
        """What would be put into a database that is there, ``replacing`` what it has of it. Reads only.

        Raises:
            BadOption: something is not in the dump, or could be several.
        """
        with contextlib.closing(self._with.address.connect(database)) as connection:
            selection = None
            if self._options.chooses:
                selection = toc.select(
                    self._with.archive.entries(dump),
                    self._with.archive.listing(dump),
                    self._options.tables,
                    self._options.schemas,
                    lambda entry: parts.is_there(connection, entry),
                )
                self._with.chosen[id(dump)] = selection
            replace = replacing and not self._options.data_only and "post-data" not in self._options.sections
            addition = parts.look(
                connection,
                selection,
                replace and (not self._options.sections or "pre-data" in self._options.sections),
            )
            if selection and not self._options.data_only:
                made = [
                    self._with.archive.by_id(dump)[number]
                    for number in selection.ids
                    if number in self._with.archive.by_id(dump)
                ]
                addition.schemas = [
                    name for name in toc.homeless(made) if not parts.is_there(connection, toc.schema_entry(name))
                ]
            return addition

    def add(self, dump: Dump, database: str, addition: parts.Addition, remaining: Remaining) -> None:
        """Put what is chosen of a dump into a database that is there, in one transaction unless errors are allowed.

        Raises:
            ToolError: a statement failed; or what came has other numbers of rows than were recorded. Nothing has changed then.
        """
        options = self._options
        remaining.parts_begun = bool(options.allow_errors)
        with dump.laid_out(self._with.scratch, self._with.on_bytes) as path:
            listing = toc.parse_list(self._with.archive.run(["--verbose", "--list"], path))
            argv = [self._with.tools.path("pg_restore"), *options.arguments(), "--file=-"]
            argv += ["--clean", "--if-exists"] if options.force and not options.data_only else []
            scripts = [
                parts.write(self._with.scratch, "before.sql", parts.before(addition, options.disable_triggers)),
                "-",
            ]
            selection = addition.selection
            if selection is not None:
                grants = {line.id for line in listing if line.text.startswith(("ACL ", "DEFAULT ACL "))} & selection.ids
                main = self._with.write_list(
                    "list", selection.lines(listing, selection.ids - (set() if options.sections else grants))
                )
                argv += [f"--use-list={main}"]
                if not options.sections and not options.data_only:
                    later = self._with.write_list("list-later", selection.lines(listing, grants | selection.attach))
                    text = self._with.archive.run([*options.arguments(), f"--use-list={later}", "--file=-"], path)
                    scripts += [parts.write(self._with.scratch, "between.sql", parts.between())]
                    scripts += [parts.write(self._with.scratch, "later.sql", text)]
                self._with.notes += selection.notes()
            whole = not options.data_only and not options.sections
            last = parts.behind(addition, options.disable_triggers, whole, self._expected(dump, addition))
            quiet = {} if options.data_only else self._with.quiet
            psql = [self._with.tools.path("psql"), "--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null"]
            psql += [f"--dbname={self._with.address.conninfo(database, quiet)}", "--set=VERBOSITY=verbose"]
            psql += [f"--set=ON_ERROR_STOP={int(not options.allow_errors)}"]
            psql += [] if options.allow_errors else ["--single-transaction"]
            gate = os.path.join(self._with.scratch, "behind.sql")
            psql += [f"--file={script}" for script in (*scripts, gate)]
            try:
                messages = self._play([Command([*argv, path]), Command(psql, ok=(0, 3))], gate, last, remaining)
            finally:
                for name in ("before.sql", "between.sql", "later.sql", "behind.sql", "list", "list-later"):
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(self._with.scratch, name))
        dump.unchanged()
        failures = failures_in(messages)
        depends = [failure.message for failure in failures if failure.sqlstate == "2BP01"]
        if depends:
            raise ToolError(
                f"Something else depends on what would be replaced: {'; '.join(depends[:3])} {details(messages)} Restore the parts into "
                "a new database by target_db and take the rows from there, or only the rows by data_only after a TRUNCATE."
            )
        self._with.failures.judge(list(map(str, failures)))

    def _play(self, commands: Sequence[Command], gate: str, last: str, remaining: Remaining) -> str:
        """Run pg_restore into psql, whose last script is ``last``: it gets that by a pipe, ``gate``, only once pg_restore has ended well.
        Else psql would commit what came until then. Returns psql's messages."""
        os.mkfifo(gate, 0o600)
        with Chain(commands, subprocess.DEVNULL, subprocess.DEVNULL) as chain:
            reader, writer = chain.processes
            while reader.poll() is None:
                self._with.on_bytes(chain.made(), 0)
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
                remaining.parts_begun = True  # from here on it may be committed
                with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "wb") as stream:
                    stream.write(last.encode("utf-8", "surrogateescape"))
                break
            if writer.wait() == 3 and not self._options.allow_errors:  # a statement failed, and all was taken back
                remaining.parts_begun = False
            chain.finish()
            remaining.parts_done = writer.returncode == 0
            return chain.messages(1, 1024 * 1024)

    def _expected(self, dump: Dump, addition: parts.Addition) -> list[tuple[str, str, int]]:
        """Numbers of rows that what is made anew must have."""
        options, selection = self._options, addition.selection
        if selection is None or options.schema_only or options.data_only or options.sections or options.allow_errors:
            return []
        recorded = {(row["schema"], row["table"]): row["rows"] for row in dump.contents.get("tables") or ()}
        return [(*name, recorded[name]) for name in selection.relations if recorded.get(name) is not None]
