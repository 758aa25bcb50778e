# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore: everything is read and judged before anything is touched, and what was there comes back if it fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.checks import data as checks
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.database import (
    TargetServer,
    check_disk,
    need_confirm,
    sessions_hint,
    side_names,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.load import Loader, check_plain
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.log import RestoreLog
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.roles import map_acl
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.source import Source
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import count_rows, databases, identify
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import restore_tools
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow


@dataclass
class Outcome:
    """What a run did, or would do."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    restored: list[dict[str, Any]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class RestoreRun:
    """Restores what ``options`` choose of a source into a server. ``verify`` reads the source's artifacts back."""

    def __init__(
        self,
        source: Source,
        verify: Callable[[], None],
        address: Address,
        bin_dir: Optional[str],
        options: RestoreOptions,
        log: RestoreLog,
        scratch: str,
        progress: Progress,
    ) -> None:
        self._source, self._verify, self._options, self._log = source, verify, options, log
        self._progress = progress
        self._target = TargetServer(address)
        self._address = address
        self._identity = identify(self._target.connection)
        self._tools = restore_tools(self._identity.version_num, source.made_by, bin_dir)
        self._loader = Loader(address, self._tools, options, scratch, lambda made, _out: progress.tell(made, None))
        self._counted: list[dict[str, Any]] = []  # the rows of the database that was checked last
        self.outcome = Outcome()

    def run(self, check: bool) -> Outcome:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: in words for the user. A database that was there before is as it was.
        """
        if self._identity.in_recovery:
            raise ServerError(
                f"The server at {self._address} is a standby: nothing can be restored into it. Name its primary."
            )
        wanted = self._wanted()
        if any(dump.cluster for dump, _name in wanted):
            return self._cluster(wanted[0][0], check)
        due = [(dump, name) for dump, name in wanted if not self._stands(dump, name)]
        if not due:
            return self.outcome
        self._judge([name for _dump, name in due])
        sizes = [dump.properties["size"] for dump, _name in due if dump.properties and dump.properties.get("size")]
        check_disk(self._address, self._target.connection, sum(sizes))
        self._read_back(None if check else due[0][0])
        self.outcome.changed = True
        with_globals = self._source.globals is not None and (
            self._options.whole_server and not self._options.role_map
            if self._options.globals is None
            else self._options.globals
        )
        leftovers = self._target.leftovers()
        self.outcome.plan = [f"drop {name!r}, which an interrupted restore left" for name in leftovers]
        self.outcome.plan += ["restore roles and tablespaces"] if with_globals else []
        self.outcome.plan += [self._words(dump, name) for dump, name in due]
        if check:
            return self.outcome
        self._target.leave([name for _dump, name in due])
        for leftover in leftovers:
            self._dropped(leftover)
        if with_globals and self._source.globals is not None:
            self._progress.step("restoring roles and tablespaces")
            self._loader.globals(self._source.globals)
            self.outcome.warnings += self._loader.notes
            self._target.set_for_all(self._source.settings_for_all)
        for dump, name in due:
            try:
                self._one(dump, name)
            except HoldfastError as exc:
                done = ", ".join(repr(entry["database"]) for entry in self.outcome.restored)
                raise type_of(exc)(
                    f"The database {name!r} could not be restored: {exc} What was there before is as it was."
                    + (f" Restored already: {done}." if done else "")
                ) from exc
        return self.outcome

    def _read_back(self, first: Optional[Dump]) -> None:
        """Verify the source, and meanwhile unpack the first dump that is to be restored: both read, and neither writes."""
        self._progress.step(f"checking {self._source.name}")
        verifying = Background(self._verify)
        try:
            if first is not None:
                self._loader.prepare(first)
            verifying.result()
        except BaseException:
            if first is not None:
                first.clear()
            raise

    def _wanted(self) -> list[tuple[Dump, str]]:
        wanted = []
        self._source.understand(self._tools, self._identity.version_num // 10000, self._options)
        for dump in self._source.choose(self._options.databases) if self._source.record else self._source.dumps:
            check_plain(dump, self._options)
            name = self._options.target_db or dump.database
            if name is None and not dump.cluster:
                raise BadOption(
                    "databases",
                    [],
                    f"does not say which database {self._source.name} is of",
                    "Name it: databases: [name].",
                )
            if dump.properties and self._options.role_map:
                roles = dict(self._options.role_map)
                owner, acl = dump.properties["owner"], dump.properties.get("acl")
                changed = {"owner": roles.get(owner, owner), "acl": acl and map_acl(acl, roles)}
                dump.properties = {**dump.properties, **changed}
            self.outcome.warnings += dump.notes
            wanted.append((dump, name or ""))
        return wanted

    def _stands(self, dump: Dump, name: str) -> bool:
        """Whether this very restore has been done, and the tables have as many rows as then."""
        oid = self._target.oid(name)
        noted = self._log.read(self._identity.system_id, oid)
        mine = {"source": self._source.identity, "database": dump.database, "selection": self._options.selection()}
        if not noted or any(noted.get(key) != value for key, value in mine.items()):
            return False
        if noted.get("tables") != self._target.tables(name):
            self.outcome.warnings.append(
                f"{name!r} was restored from {self._source.name} at {noted.get('at')}, and its tables have changed since."
            )
            return False
        self.outcome.unchanged.append(name)
        return True

    def _adds(self, name: str) -> bool:
        """Whether something is added to a database that is there, rather than the database made anew."""
        return self._options.partial and self._target.oid(name) is not None

    def _judge(self, names: list[str]) -> None:
        """Refuse what would destroy, and what sessions would stop."""
        present = [name for name in names if self._target.oid(name) is not None]
        full = [name for name in present if not self._target.is_empty(name)]
        need_confirm(full, self._options.force, self._options.confirm)
        for name in present:
            sessions = self._target.sessions(name)
            if sessions and not self._options.terminate_sessions and not self._adds(name):
                raise ServerError(f"The database {name!r} is in use. {sessions_hint(sessions)} Nothing was touched.")

    def _words(self, dump: Dump, name: str) -> str:
        what = dump.described if dump.origin else f"{dump.database!r} of {self._source.name}"
        if self._adds(name):
            return f"restore the chosen parts of {what} into {name!r}"
        if self._target.oid(name) is None:
            return f"restore {what} as the new database {name!r}"
        return f"restore {what} beside {name!r}, check it, and put it in its place"

    def _one(self, dump: Dump, name: str) -> None:
        began = time.monotonic()
        self._progress.step(f"restoring the database {name!r}", dump.raw_size)
        self._loader.allowed, self._loader.notes = [], []
        old: Optional[str] = None
        if self._adds(name):
            self._loader.load(dump, name, replace=self._options.force and not self._options.data_only)
            report = self._check(dump, name)
        else:
            new, old = side_names(name)
            try:
                report = self._build(dump, new)
                existed = self._target.oid(name) is not None
                self._target.swap(new, name, old, self._options.terminate_sessions)
            except BaseException:
                self._target.drop(new)
                raise
            if dump.properties:
                self._target.finish(name, dump.properties)
            if not existed or (not self._options.keep_old and self._dropped(old)):
                old = None
        noted = {
            "source": self._source.identity,
            "database": dump.database,
            "selection": self._options.selection(),
            "at": format_time(utcnow()),
            "tables": self._counted,
        }
        warning = self._log.write(self._identity.system_id, self._target.oid(name), noted)
        self.outcome.warnings += [warning] if warning else []
        self.outcome.warnings += self._loader.notes
        self.outcome.restored.append(
            {
                "database": name,
                "from": dump.described if dump.origin else self._source.name,
                "old_database": old,
                "seconds": round(time.monotonic() - began, 3),
                "allowed_errors": self._loader.allowed,
                **report,
            }
        )

    def _dropped(self, old: str) -> bool:
        """Drop a database that is needed no more. One that cannot be (a subscription or slot holds it) stays, with a
        word."""
        try:
            self._target.drop(old)
        except ServerError as exc:
            self.outcome.warnings.append(f"The database {old!r}, which is needed no more, is still there: {exc}")
            return False
        return True

    def _build(self, dump: Dump, new: str) -> dict[str, Any]:
        """The database under a name of its own, complete and checked."""
        clause = None if dump.properties else self._loader.create_clause(dump)
        self._target.create(new, dump.properties, clause, owner=not self._options.no_owner)
        if dump.properties:
            self._target.dress(new, dump.properties, privileges=not self._options.no_privileges)
        self._loader.load(dump, new)
        return self._check(dump, new)

    def _check(self, dump: Dump, name: str) -> dict[str, Any]:
        self._progress.step("checking what was restored")
        scope = self._source.record.scope if self._source.record else {}
        filtered = any(scope.get(key) for key in ("schemas", "exclude_schemas", "tables", "exclude_tables"))
        counts = dump.contents.get("tables")
        no_rows = self._options.schema_only or (self._options.sections and "data" not in self._options.sections)
        analyzing = Background(lambda: self._analyze(name)) if self._options.analyze else None
        connection = self._address.connect(name)
        try:
            differ: list[str] = []
            same: Optional[int] = None
            counted = count_rows(connection)
            if counts is not None and not no_rows:
                differ, same = checks.compare_rows(counted, counts, not filtered and not self._options.partial)
            if differ and not self._options.allow_errors and not self._options.partial:
                raise ServerError(f"The rows differ from those that the backup recorded: {'; '.join(differ[:10])}.")
            behind = [] if no_rows else checks.sequences_behind(connection, self._options.fix_sequences)
            invalid = checks.invalid(connection)
        finally:
            connection.close()
        if analyzing is not None:
            self._progress.step("gathering statistics")
            analyzing.result()
        self.outcome.warnings += [f"{name!r}: {words}" for words in differ + invalid + behind]
        self._counted = counted
        return {
            "tables_checked": same,
            "row_differences": differ,
            "invalid": invalid,
            "sequences_behind": behind,
        }

    def _analyze(self, name: str) -> None:
        with contextlib.closing(self._address.connect(name)) as connection:
            checks.analyze(connection)

    def _cluster(self, dump: Dump, check: bool) -> Outcome:
        """A pg_dumpall script makes databases itself: only a server without any may take it."""
        there = [row["name"] for row in databases(self._target.connection) if not row["is_template"]]
        full = [name for name in there if name != "postgres" or not self._target.is_empty(name)]
        if full:
            raise BadOption(
                "source", self._source.name, f"is a whole cluster, and the server has {', '.join(map(repr, full))} already",
                "Restore it into an empty server, and take single databases from there by pg_backup and pg_restore.",
            )  # fmt: skip
        self.outcome.changed, self.outcome.plan = True, [f"run {dump.described}"]
        if check:
            return self.outcome
        began = time.monotonic()
        self._progress.step("restoring the whole cluster")
        self._loader.cluster(dump)
        self.outcome.warnings += self._loader.notes
        for row in databases(self._target.connection):
            if not row["is_template"]:
                self.outcome.restored.append({"database": row["name"], **self._check(dump, row["name"])})
        self.outcome.restored[0]["seconds"] = round(time.monotonic() - began, 3)
        return self.outcome


def type_of(exc: HoldfastError) -> type[HoldfastError]:
    """The kind of an error, for saying it again with more words (BadOption takes others)."""
    return HoldfastError if isinstance(exc, BadOption) else type(exc)
