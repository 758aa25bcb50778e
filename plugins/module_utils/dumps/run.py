# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore: everything is read and judged before anything is touched, and what was there comes back if it fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps import belongings, properties
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.add import Adder
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.cluster import ClusterLoader
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.database import (
    TargetServer,
    check_disk,
    side_names,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.landing import Landing, land
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.load import Loader
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.load_context import LoadContext
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.log import RestoreLog
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.plan import (
    ADD,
    ASIDE,
    BESIDE,
    INVALID,
    NEW,
    Planner,
    Step,
    described,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.dumps.source import Source
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    HoldfastError,
    ServerError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import databases, identify
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import restore_tools
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, utcnow


@dataclass
class RestoreResult:
    """What a run did, or would do, and what it proved."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    restored: list[dict[str, Any]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    proof: Proof = field(default_factory=Proof)


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
        # From 17 on event triggers are switched off by themselves (server/connection.py).
        replica = self._identity.superuser and self._identity.version_num < 170000
        self._loading = LoadContext(
            address,
            self._tools,
            options,
            scratch,
            lambda made, _out: progress.tell(made, None),
            {"session_replication_role": "replica"} if replica else {},
        )
        self._loader = Loader(self._loading, source.record.scope if source.record else {})
        self._cluster_loader, self._adder = ClusterLoader(self._loading), Adder(self._loading)
        self._planner = Planner(
            source, self._target, self._adder, self._loading.archive, options, log, self._identity.system_id
        )
        #: whether the database that is being restored has its name already
        self._taken = False
        #: the comment that a script brought for its database
        self._brought: Optional[str] = None
        self.outcome = RestoreResult()

    def run(self, check: bool) -> RestoreResult:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: its message is for the user. A database that was there before is as it was, or it is said that it is not.
        """
        import psycopg2

        try:
            return self._run(check)
        except psycopg2.Error as exc:
            raise ServerError(f"PostgreSQL at {self._address} failed: {' '.join(str(exc).split())}") from exc
        finally:
            self.outcome.warnings += self._planner.warnings
            self.outcome.unchanged = self._planner.unchanged

    def _run(self, check: bool) -> RestoreResult:
        if self._identity.in_recovery:
            raise ServerError(
                f"The server at {self._address} is a standby: nothing can be restored into it. Name its primary."
            )
        self._source.understand(self._tools, self._identity.version_num // 10000, self._options)
        wanted = self._planner.wanted()
        if any(dump.cluster for dump, _name in wanted):
            return self._cluster(wanted[0][0], check)
        try:
            steps = self._planner.steps(wanted)
        except ToolError:
            self._verify()  # a damaged artifact is told by its name
            raise
        self._left_out()
        if not steps:
            return self.outcome
        sizes = [
            step.dump.properties["size"] for step in steps if step.dump.properties and step.dump.properties.get("size")
        ]
        check_disk(self._target.connection, sum(sizes))
        self._read_back(None if check else steps[0].dump)
        self.outcome.changed = True
        with_globals = self._source.globals is not None and (
            self._options.whole_server and not self._options.role_map
            if self._options.globals is None
            else self._options.globals
        )
        leftovers = self._target.leftovers()
        self.outcome.plan = [
            f"drop {name!r}, which an interrupted restore left"
            + (f", and give its name back to {predecessor!r}" if predecessor else "")
            for name, predecessor in leftovers
        ]
        self.outcome.plan += ["restore roles and tablespaces"] if with_globals else []
        self.outcome.plan += [line for step in steps for line in step.describe(self._source.name)]
        if check:
            return self.outcome
        self._target.leave([step.name for step in steps])
        for name, predecessor in leftovers:
            self._clear(name, predecessor)
        if leftovers:  # the name of one may be one that is wanted
            steps = self._planner.steps(wanted)
        if with_globals and self._source.globals is not None:
            self._progress.step("restoring roles and tablespaces")
            self._cluster_loader.globals(self._source.globals)
            self.outcome.warnings += self._loading.notes
            properties.set_for_all(self._target, self._source.settings_for_all)
        for step in steps:
            self._one(step)
        return self.outcome

    def _clear(self, name: str, predecessor: Optional[str]) -> None:
        """Remove what an interrupted restore left, and put back what it had moved aside."""
        if self._dropped(name) and predecessor and self._target.oid(predecessor) is not None:
            self._target.step_aside(predecessor, name, terminate=True)
            self._target.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", name)

    def _left_out(self) -> None:
        """Databases that a backup of all does not have: nobody hears of them else."""
        if self._options.whole_server:
            self.outcome.proof.lost += [
                f"The database {name!r} is not in {self._source.name}: {why}." for name, why in self._source.left_out
            ]

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

    def _one(self, step: Step) -> None:
        began = time.monotonic()
        self._progress.step(f"restoring the database {step.name!r}", step.dump.raw_size)
        self._loading.forget()
        self._taken, old = False, None
        make = {ADD: self._add, NEW: self._new, BESIDE: self._beside, ASIDE: self._aside, INVALID: self._beside}[
            step.mode
        ]
        import psycopg2

        try:
            landing, old = make(step)
        except (HoldfastError, psycopg2.Error) as exc:
            self._failed(step, exc)
        landing.finish(
            self._source.identity, step, self._options, format_time(utcnow()), described(self._target, step.name)
        )
        warning = self._log.write(self._identity.system_id, self._target.oid(step.name), landing.mark)
        self.outcome.warnings += [warning] if warning else []
        self.outcome.warnings += [*self._loading.notes, *landing.warnings]
        self.outcome.proof.add(landing.proof)
        self.outcome.restored.append(
            {
                "database": step.name,
                "from": step.dump.described if step.dump.origin else self._source.name,
                "old_database": old,
                "seconds": round(time.monotonic() - began, 3),
                "allowed_errors": self._loading.failures.allowed,
                **landing.report,
            }
        )

    def _failed(self, step: Step, exc: Exception) -> NoReturn:
        """Say what failed first, and truly what it means for what was there."""
        if self._taken:
            state = f"It stands under its name {step.name!r}, complete and checked; what is said above was not done."
        elif step.mode == ADD and self._options.allow_errors:
            state = f"{step.name!r} keeps what was loaded before: with allow_errors each statement stands for itself."
        elif step.there:
            state = "What was there before is as it was."
        else:
            state = f"There is no database {step.name!r}, as before."
        done = ", ".join(repr(entry["database"]) for entry in self.outcome.restored)
        message = " ".join(str(exc).split()) if not isinstance(exc, HoldfastError) else str(exc)
        kind = type(exc) if isinstance(exc, HoldfastError) and not isinstance(exc, BadOption) else ServerError
        raise kind(
            f"The database {step.name!r} could not be restored: {message} {state}"
            + (f" Restored already: {done}." if done else "")
            + "".join(f" {note}" for note in self._loading.notes if note.startswith("Still there"))
        ) from exc

    def _add(self, step: Step) -> tuple[Landing, Optional[str]]:
        if step.addition is None:
            raise AssertionError("a step that adds knows what")
        self._adder.add(step.dump, step.name, step.addition)
        landing = self._land(step, step.name)
        with contextlib.closing(self._address.connect(step.name)) as connection:
            landing.proof.lost += step.addition.lost(connection)
        return landing, None

    def _new(self, step: Step) -> tuple[Landing, Optional[str]]:
        """Under its own name, where there is none: what asks for the database's name gets the right answer."""
        try:
            landing = self._build(step, step.name, None)
        except BaseException:
            self._give_up(step.name)
            raise
        self._open(step)
        properties.close(self._target, step.name, step.design)
        return landing, None

    def _beside(self, step: Step) -> tuple[Landing, Optional[str]]:
        new, old = side_names(step.name)
        try:
            landing = self._build(step, new, None)
            landing.proof.lost += belongings.hand_over_labels(self._target, step.belongings, new)
            properties.finish(self._target, new, step.design)
            if step.mode == INVALID:
                self._target.drop(step.name)
            self._target.swap(new, step.name, old, self._options.terminate_sessions, self._comment(step))
        except BaseException:
            self._give_up(new)
            raise
        self._taken = True
        landing.refresh(self._target, step.name)
        kept = self._settle(step, landing, old)
        properties.close(self._target, step.name, step.design)
        return landing, kept

    def _aside(self, step: Step) -> tuple[Landing, Optional[str]]:
        _new, old = side_names(step.name)
        self._target.step_aside(step.name, old, self._options.terminate_sessions)
        try:
            landing = self._build(step, step.name, old)
            landing.proof.lost += belongings.hand_over_labels(self._target, step.belongings, step.name)
        except BaseException:
            self._give_up(step.name)
            self._target.step_aside(old, step.name, terminate=True)
            self._target.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", step.name)
            raise
        self._open(step)
        kept = self._settle(step, landing, old)
        properties.close(self._target, step.name, step.design)
        return landing, kept

    def _open(self, step: Step) -> None:
        """Let others into a database that was made under its own name."""
        self._taken = True
        self._target.unmark(step.name, self._comment(step))
        properties.finish(self._target, step.name, step.design)

    def _comment(self, step: Step) -> Optional[str]:
        """The one that a script brought; else as it was."""
        found: Optional[str] = self._brought or (step.design.properties or {}).get("comment")
        return found

    def _settle(self, step: Step, landing: Landing, old: str) -> Optional[str]:
        """What hung on the old database; and the old one, where it is not kept. Returns its name if it is still there."""
        if step.mode == INVALID:
            return None
        landing.proof.lost += belongings.hand_over_replication(self._target, step.belongings, old)
        if self._target.is_open(step.name):
            landing.proof.lost += step.belongings.lost(self._target)
        if not self._options.keep_old and self._dropped(old):
            return None
        if self._options.terminate_sessions and step.there and step.there["allow_connections"]:
            self._target.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", old)
        return old

    def _give_up(self, name: str) -> None:
        """Drop what was begun. Whatever goes wrong here must not hide what went wrong first."""
        import psycopg2

        try:
            self._target.drop(name)
        except (HoldfastError, psycopg2.Error):
            self._loading.notes.append(
                f"Still there, half made, is the database {name!r}: the next restore drops it, or do it by DROP DATABASE."
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

    def _build(self, step: Step, new: str, predecessor: Optional[str]) -> Landing:
        """The database, complete and checked; nobody but superusers comes in meanwhile."""
        properties.create(self._target, new, step.design)
        self._target.mark(new, predecessor)
        if self._identity.superuser:
            self._target.execute("ALTER DATABASE {} WITH CONNECTION LIMIT 0", new)
        properties.dress(self._target, new, step.design, privileges=not self._options.no_privileges)
        self._loader.load(step.dump, new)
        self._brought = self._target.own_comment(new)
        landing = self._land(step, new)
        made = self._target.properties(new)
        if made and made["connection_limit"] == 0:  # else a script has brought its own
            self._target.execute("ALTER DATABASE {} WITH CONNECTION LIMIT -1", new)
        return landing

    def _land(self, step: Step, name: str) -> Landing:
        self._progress.step("checking what was restored")
        with contextlib.closing(self._address.connect(name)) as connection:
            scope = self._source.record.scope if self._source.record else {}
            landing = land(connection, self._address, name, step, scope, self._options, self._loader)
        return landing

    def _cluster(self, dump: Dump, check: bool) -> RestoreResult:
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
        self._cluster_loader.cluster(dump)
        self.outcome.warnings += self._loading.notes
        for row in databases(self._target.connection):
            if not row["is_template"]:
                step = self._planner.made(dump, row["name"])
                landing = self._land(step, row["name"])
                self.outcome.proof.add(landing.proof)
                self.outcome.warnings += landing.warnings
                self.outcome.restored.append({"database": row["name"], **landing.report})
        self.outcome.restored[0]["seconds"] = round(time.monotonic() - began, 3)
        return self.outcome
