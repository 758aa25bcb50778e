# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dump of one database: under locks, counted in its own snapshot, and made anew where its tables were rewritten before."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.folder_engine import Folder
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.beyond import (
    by_hand,
    left_out,
    say_left_out,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.growing import Following
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.locks import (
    Locks,
    TablesChanged,
    definitions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.options import (
    EXTENSIONS,
    DumpOptions,
    file_name,
    inner_compression,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.snapshots import Snapshots
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_dump.staging import dump
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, run
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import Tools

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_TRIES = 5
#: of a database, for the record
KEPT = ("name", "owner", "encoding", "collate", "ctype", "locale_provider", "locale", "size")


class NothingSelected(ServerError):
    """A database has nothing of what was asked for."""


class Dumper:
    """Dumps databases into a folder, one after another. ``observer`` is a connection that looks on; what is to be said goes to
    ``doubts``."""

    def __init__(
        self,
        address: Address,
        tools: Tools,
        options: DumpOptions,
        in_recovery: bool,
        staging: str,
        observer: Connection,
        doubts: list[str],
    ) -> None:
        self._address, self._tools, self._options = address, tools, options
        self._in_recovery, self._staging, self._observer, self._doubts = in_recovery, staging, observer, doubts
        self._application = f"holdfast pg_dump {os.getpid()}"
        #: by database: extensions, and each table's rows
        self.contents: dict[str, Any] = {}
        #: databases that have nothing of their own, whatever is selected
        self.empty: set[str] = set()

    def dump(self, folder: Folder, database: dict[str, Any], snapshots: Snapshots) -> dict[str, Any]:
        """Dump a database. Returns its entry for the record.

        Raises:
            NothingSelected: it has nothing of what was asked for.
            ServerError, ToolError: it cannot be dumped; nothing of it is in the folder then.
        """
        name = database["name"]
        if self._options.filtered:
            self._check_selection(name)
        changed: list[str] = []
        for _attempt in range(_TRIES):
            begun, said = len(folder.artifacts), len(folder.said)
            folder.progress.step(f"dumping the database {name!r}", database["size"])
            try:
                entry = self._attempt(folder, database, snapshots)
            except TablesChanged as exc:
                folder.drop_from(begun)
                changed.append(str(exc))
                snapshots.again(name, str(exc))
                continue
            except BaseException:
                folder.drop_from(begun)
                raise
            self._doubts += [f"pg_dump of {name!r} says: {line}" for line in folder.said[said:]]
            return entry
        raise ServerError(
            f"The database {name!r} could not be dumped: {_TRIES} times its tables were rewritten between the snapshot and the "
            f"moment at which pg_dump had them ({changed[-1]}). Take the backup when that work is over, or leave the tables out "
            "by exclude_tables."
        )

    def _attempt(self, folder: Folder, database: dict[str, Any], snapshots: Snapshots) -> dict[str, Any]:
        import psycopg2

        name = database["name"]
        session = snapshots.connections[name]

        def say(message: Optional[str]) -> None:
            folder.progress.step(message or f"dumping the database {name!r}", None if message else database["size"])

        try:
            locks = Locks(session, self._observer, name, self._options.lock_wait_timeout, say)
            locks.take()
        except psycopg2.Error as exc:
            # The session of the snapshot was ended: by a conflict with recovery, an administrator, a timeout.
            raise TablesChanged([f"(its session ended: {' '.join(str(exc).split())})"]) from exc
        counted = self._options.row_counts and not self._options.schema_only and not self._options.exclude_table_data
        with locks.watched(self._application):
            counting = Background(lambda: _contents(session, counted, self._in_recovery))
            try:
                entry = self._run(folder, database, snapshots.exported[name])
            except ToolError as exc:
                if locks.refused:
                    raise ServerError(locks.why_refused() or "") from exc
                self._check_definitions(name, session, exc)
                raise
            finally:
                counting.wait()
            if not locks.held:
                locks.check()
            self.contents[name] = counting.result()
        snapshots.release(name)
        entry["left_out"] = self.contents[name].pop("left_out")
        self._doubts += say_left_out(name, entry["left_out"])
        self._doubts += [f"{name!r}: {message}" for message in self.contents[name].pop("by_hand")]
        return entry

    def _check_definitions(self, name: str, session: Connection, exc: ToolError) -> None:
        """pg_dump failed: was it because definitions are not those of the snapshot any more? Raises TablesChanged."""
        import psycopg2

        try:
            with closing(self._address.connect(name)) as now:
                changed = definitions(now) != definitions(session)
        except (HoldfastError, psycopg2.Error):
            return
        if changed:
            raise TablesChanged([f"(pg_dump failed, and definitions have changed: {exc})"]) from exc

    def _run(self, folder: Folder, database: dict[str, Any], snapshot: str) -> dict[str, Any]:
        name, options = database["name"], self._options
        inner = inner_compression(folder.compression.method, folder.compression.level, options.format)
        argv = [
            self._tools.path("pg_dump"),
            f"--dbname={self._address.conninfo(name, application=self._application)}",
            f"--format={options.format}",
            f"--snapshot={snapshot}",
            "--no-password",
            *options.arguments(),
        ]
        # pg_dump does not compress (but in the directory format): a program beside it does, on another core.
        argv += [f"--compress={inner or 0}"] if options.format != "plain" and options.format != "tar" else []
        base = f"databases/{file_name(name)}{EXTENSIONS[options.format]}"
        if options.format == "directory":
            self._directory(folder, name, base, argv, inner is not None)
            artifact = base
        else:
            artifact = folder.put(base, "database", Command(argv), name).key
        return {
            **{key: database[key] for key in KEPT},
            "format": options.format,
            "artifact": artifact,
            "native": inner is not None or folder.compression.method == "none",
        }

    def _check_selection(self, name: str) -> None:
        """A selection that selects nothing is a mistake: in the pattern, or in which database it is looked for. That nothing is left
        of an empty database is none."""
        try:
            left = self._entries(name, [word for word in self._options.arguments() if not word.endswith("-only")])
        except ToolError as exc:
            if "no matching" in str(exc):
                message = (exc.output or "").splitlines()[-1].rpartition("error: ")[2]
                raise NothingSelected(message) from exc
            raise
        if left:
            return
        if self._options.tables or self._options.schemas or self._entries(name, []):
            raise NothingSelected("the selection leaves nothing")
        self.empty.add(name)

    def _entries(self, name: str, arguments: list[str]) -> list[bytes]:
        """What a dump with these arguments has, by the lines of its list. Raises ToolError."""
        argv = [
            self._tools.path("pg_dump"),
            f"--dbname={self._address.conninfo(name)}",
            "--format=custom",
            "--schema-only",
            "--no-password",
            *arguments,
        ]
        with tempfile.TemporaryFile(dir=self._staging) as file:
            file.write(run([Command(argv)]))
            file.seek(0)
            listed = run([Command([self._tools.path("pg_restore"), "--list"])], file)
        entries = [line for line in listed.splitlines() if line and not line.startswith(b";")]
        # What a dump of nothing at all has: how its texts are to be read.
        return [line for line in entries if line.split()[3:4] not in ([b"ENCODING"], [b"STDSTRINGS"], [b"SEARCHPATH"])]

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
            folder.said += dump(
                command,
                path,
                self._options.staging_limit,
                self._options.jobs,
                put,
                lambda passed: folder.progress.tell(None if compressed else passed, None),
            )
        folder.artifacts[begun:] = sorted(folder.artifacts[begun:], key=lambda artifact: artifact.key)


def _contents(connection: Connection, counted: bool, in_recovery: bool) -> dict[str, Any]:
    """Extensions, each table's rows (None: not counted) and what the dump lacks, in the dump's own snapshot."""
    try:
        return {
            "extensions": facts.rows(connection, facts.EXTENSIONS),
            "tables": facts.count_rows(connection, in_recovery) if counted else None,
            "left_out": left_out(connection, in_recovery),
            "by_hand": by_hand(connection),
        }
    except Exception as exc:
        raise ServerError(f"The rows could not be counted: {' '.join(str(exc).split())}") from exc
