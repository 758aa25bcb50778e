# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore: everything is read and judged before anything is touched, and what was there comes back if it fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    HoldfastError,
    ObjectMissing,
    ServerError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import Stream
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import properties
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.add import Adder
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.cluster import ClusterLoader
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.database import (
    TargetServer,
    check_disk,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.dump import Dump
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.load_context import LoadContext
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.log import RestoreLog
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.making import Maker
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.plan import (
    Planner,
    Step,
    described,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.source import Source
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.server.facts import databases, identify
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import restore_tools
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
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
    #: options that a plan waits for, with the values that agree
    consent: dict[str, Any] = field(default_factory=dict)


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
        self.outcome = RestoreResult()
        #: whether something on the server may be other than it was
        self.touched = False
        self._maker = Maker(
            self._target, self._loading, source.record, self._identity.superuser, progress, self.outcome.warnings
        )
        self._cluster_loader = ClusterLoader(self._loading)
        self._planner = Planner(
            source, self._target, Adder(self._loading), self._loading.archive, options, log, self._identity.system_id
        )

    def run(self, check: bool) -> RestoreResult:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: its message is for the user. A database that was there before is as it was, or it is said that it is not.
        """
        import psycopg2

        try:
            with remains("Nothing was touched.", changed=False) as self._before:
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
        self._planner.consent = Consent(looking=check)
        self._source.understand(self._tools, self._identity.version_num // 10000, self._options)
        wanted = self._planner.wanted()
        if any(dump.cluster for dump, _name in wanted):
            return self._cluster(wanted[0][0], check)
        try:
            steps = self._planner.steps(wanted)
        except (ToolError, ObjectMissing):
            self._verify()  # a damaged artifact is told by its name
            raise
        self._left_out()
        self.outcome.consent = self._planner.consent.missing
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
        leftovers = self._target.leftovers(self.outcome.warnings)
        self.outcome.plan = [
            f"drop {name!r}, which an interrupted restore left"
            + (f", and give its name back to {predecessor!r}" if predecessor else "")
            for name, predecessor in leftovers
        ]
        self.outcome.plan += ["restore roles and tablespaces"] if with_globals else []
        since = self._source.record.started_at if self._source.record else None
        self.outcome.plan += [
            line for step in steps for line in step.describe(self._source.name, since, self._options.keep_old)
        ]
        if check:
            self.outcome.plan += self._planner.consent.steps()
            return self.outcome
        self.touched = True
        self._before.now("")  # from here on others say it
        self._target.leave([step.name for step in steps])
        for name, predecessor in leftovers:
            self._clear(name, predecessor)
        if leftovers:  # the name of one may be one that is wanted
            steps = self._planner.steps(wanted)
        remaining = self._maker.remaining
        remaining.waiting = [step.name for step in steps]
        with remains(remaining.sentences, lambda: remaining.changed):
            if with_globals and self._source.globals is not None:
                self._globals(self._source.globals)
            for step in steps:
                self._one(step)
        return self.outcome

    def _globals(self, stream: Stream) -> None:
        self._progress.step("restoring roles and tablespaces")
        self._maker.remaining.globals_begun = True
        self._cluster_loader.globals(stream)
        self.outcome.warnings += self._loading.notes
        properties.set_for_all(self._target, self._source.settings_for_all)
        self._maker.remaining.globals_done = True

    def _clear(self, name: str, predecessor: Optional[str]) -> None:
        """Remove what an interrupted restore left, and put back what it had moved aside."""
        if self._maker.dropped(name) and predecessor and self._target.oid(predecessor) is not None:
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
                self._maker.prepare(first)
            verifying.result()
        except BaseException:
            if first is not None:
                first.clear()
            raise

    def _one(self, step: Step) -> None:
        began = time.monotonic()
        self._progress.step(f"restoring the database {step.name!r}", step.dump.raw_size)
        self._loading.forget()
        import psycopg2

        try:
            landing, old = self._maker.make(step)
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
        self._maker.remaining.end()

    def _failed(self, step: Step, exc: Exception) -> NoReturn:
        """Say what failed first, and truly what it means for what was there."""
        message = " ".join(str(exc).split()) if not isinstance(exc, HoldfastError) else str(exc)
        kind = type(exc) if isinstance(exc, HoldfastError) and not isinstance(exc, BadOption) else ServerError
        raise kind(
            f"The database {step.name!r} could not be restored: {message.rstrip('. ')}. {self._maker.remaining.sentences()}"
        ) from exc

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
        self.touched = True
        self._before.now(
            "What the script had made stays for you to look at, and is not complete: roles and databases. Drop them before the next attempt."
        )
        began = time.monotonic()
        self._progress.step("restoring the whole cluster")
        self._cluster_loader.cluster(dump)
        self.outcome.warnings += self._loading.notes
        for row in databases(self._target.connection):
            if not row["is_template"]:
                step = self._planner.made(dump, row["name"])
                landing = self._maker.look(step, row["name"])
                self.outcome.proof.add(landing.proof)
                self.outcome.warnings += landing.warnings
                self.outcome.restored.append({"database": row["name"], **landing.report})
        if self.outcome.restored:
            self.outcome.restored[0]["seconds"] = round(time.monotonic() - began, 3)
        else:
            self.outcome.proof.unproven.append(
                "The server has no database but templates after the script: none was looked into."
            )
        return self.outcome
