# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of a whole server, drilled: the first two thirds of a recovery, in a directory of their own."""

from __future__ import annotations

import contextlib
import datetime
import random
from collections.abc import Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.reading import as_backup, survey, with_commits
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.drill import choosing, scratch as limits
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.findings import Check, Findings
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.form import Form, Scratch
from ansible_collections.holdfast.postgres.plugins.module_utils.drill.request import DrillRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.build import Builder
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import REACHABLE, without_acting
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.plan import Planner, RecoveryPlan
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import AUTO
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import PrivateServer
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import RecoveryRequest, RecoveryResult
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import in_force
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact, parse_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.archive import Archive
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.inventory import Inventory
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import IMMEDIATE, LATEST, TIME, Target
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.window import windows


class WholeServer(Form):
    """A copy out of ``source``; ``records`` are all that there are of the server's. ``named``: this one alone may be used; else a newer or older
    one that leads to the target."""

    replays = True

    def __init__(
        self,
        source: PhysicalSource,
        records: Sequence[Record],
        record: Record,
        named: bool,
        request: DrillRequest,
        scratch: Scratch,
        findings: Findings,
        warnings: list[str],
    ) -> None:
        super().__init__(record, request, scratch, findings, warnings)
        self._source, self._records, self._named = source, records, named
        self._result = RecoveryResult()
        self._planned: Optional[tuple[RecoveryRequest, RecoveryPlan]] = None
        self._instance: Optional[Instance] = None

    def plan(self, looking: bool) -> list[str]:
        request = self._wanted(self._target())
        planner = Planner(self._source, request, self._scratch.space, self._findings.progress, self._warnings)
        plan = planner.plan(looking)
        if plan is None:
            raise AssertionError("nothing was ever restored there")
        self._refuse_late(plan)
        self.record = plan.chosen.record
        self.reached.asked = (
            plan.chosen.target.describe() if self._request.target is None else request.target.describe()
        )
        self._planned = request, plan
        start = next((backup.stop_time for backup in map(as_backup, [self.record]) if backup), None)
        ends = [commit.time for commit in plan.chosen.archive.commits]
        self.reached.window = (start, max(ends, default=None))
        count = sum(run.length for run in plan.chosen.choice.runs)
        size = (self._source.sizes(self.record).get("") or 0) + count * plan.chosen.archive.size.bytes
        return [
            f"restore the backup {self.record.id} ({self.record.stopped_at}) from {self._source.name} into {self._scratch.directory.path}, which takes "
            f"about {size} bytes: {plan.chosen.choice.why}",
            f"recover it in private to {plan.chosen.target.describe()} on timeline {plan.chosen.choice.timeline}, with {count} segments of WAL, all of "
            "them there",
        ]

    def _target(self) -> Target:
        """The target, drawn where it is one by chance; without an archive the backup's own end is all that there is."""
        asked = self._request.target
        if asked is None:
            return self._by_chance()
        if self._source.wal is None and asked.kind == LATEST:
            self._findings.notes.append(
                "There is no WAL archive: only the backup's own end can be reached, and replaying more is not proven."
            )
            return Target(IMMEDIATE)
        return asked

    def _by_chance(self) -> Target:
        """A moment between the backup's end and the last commit that the archive holds without a gap. Raises ServerError: there is none."""
        wal, backup = self._source.wal, as_backup(self.record)
        if wal is None or backup is None:
            raise ServerError(
                f"target: random needs a WAL archive beside the backup {self.record.id}, and there is none. Use target: end."
            )
        size = SegmentSize(int(self.record.server.get("wal_segment_size") or 1 << 24))
        inventory = Inventory(size)
        inventory.read(wal.names())
        programs = server_programs(int(self.record.server["version_num"]), self._request.bin_dir)
        archive: Archive = with_commits(survey(wal, inventory, self._scratch.space), wal, programs, self._scratch.space)
        found = [
            (stretch.start, stretch.end)
            for window in windows([backup], archive)
            for stretch in window.stretches
            if stretch.end is not None and stretch.end > stretch.start
        ]
        if not found:
            self._findings.notes.append(
                "No transaction after the backup is archived, so that its own end is the only moment to come to."
            )
            return Target(IMMEDIATE)
        start, end = found[-1]
        # A recovery to a time needs a transaction after it to stop at.
        last = end - datetime.timedelta(microseconds=1)
        return Target(TIME, time=choosing.moment(start, last, random.SystemRandom()))

    def _wanted(self, target: Target) -> RecoveryRequest:
        drill = self._request
        return RecoveryRequest(
            data_directory=self._scratch.directory.data,
            backup_id=self.record.id if self._named or drill.target is None else "latest",
            bin_dir=drill.bin_dir,
            config_file=None,
            settings={**limits.limits(drill.memory), "port": str(self._scratch.port)},
            tablespaces={},
            service=None,
            stop_server=False,
            force=False,
            confirm=(),
            accept_new_server=False,
            accept_unsigned=drill.accept_unsigned,
            target=target,
            action="promote",
            owner=self._scratch.owner,
            user=drill.user,
            start=False,
            keep_archiving=False,
            wal_timeout=drill.wal_timeout,
            tablespaces_below=self._scratch.directory.tablespaces,
        )

    def _refuse_late(self, plan: RecoveryPlan) -> None:
        """Raises ServerError: what is replayed would be written where another server has, or had, its own."""
        if plan.directories.late:
            raise ServerError(
                f"On the way to the target tablespaces are made in {', '.join(sorted(plan.directories.late.values()))}, and replaying makes them "
                "there and nowhere else, where a drill must not write. Drill a backup that was made since (select: latest), or on another host."
            )

    def _parts(self) -> tuple[RecoveryRequest, RecoveryPlan]:
        if self._planned is None:
            raise AssertionError("it is planned before")
        return self._planned

    def reading(self) -> contextlib.AbstractContextManager[object]:
        return self._source.reading(self.record, self._warnings)

    def stand(self, stack: contextlib.ExitStack) -> tuple[PrivateServer, Instance]:
        request, plan = self._parts()
        builder = Builder(self._source, request, plan, self._findings.progress, self._result)
        with self._findings.phase("restore", "restoring the backup") as phase:
            instance = builder.lay_out()
            self._refuse_late(plan)
            phase.bytes = self.fetched = self._source.sizes(plan.chosen.record).get("")
        with self._findings.phase("replay", "recovering") as phase:
            landing = builder.recover(instance)
            # Where foreign servers lead is changed before anything is asked of this one.
            self._findings.notes += [told for told in self._result.warnings if not told.startswith(REACHABLE)]
            phase.bytes = sum(run.length for run in plan.chosen.choice.runs) * plan.chosen.archive.size.bytes
        self._instance = instance
        self.reached.target, self.reached.lsn, self.reached.timeline = landing.state, landing.lsn, landing.timeline
        if landing.commit_time:
            self.reached.commit_time = parse_time(landing.commit_time, "commit_time")
            self.reached.target = f"the last transaction of {landing.commit_time}"
        self.reached.measures_rpo = plan.chosen.target.kind == LATEST
        self.isolated = {measure.what: measure.why for measure in self._result.isolated}
        self._prove(plan, landing.lsn)
        with self._findings.phase("start", "starting the scratch server"):
            server = self.start_again(stack)
        return server, instance

    def _prove(self, plan: RecoveryPlan, lsn: Optional[str]) -> None:
        """Where the recovery ended, beside what the WAL itself says: what was missing was an error before."""
        proof, ahead, target = self._result.proof, plan.chosen.ahead, plan.chosen.target
        told = " ".join([*proof.proven, *proof.unproven])
        self._findings.checks.append(Check("position", "the server", target.describe(), lsn, True, 0.0, told))
        self._findings.notes += proof.unproven + proof.lost
        if ahead is None or ahead.stop is None or lsn is None or target.kind not in (TIME,):
            return
        # What is replayed last ends behind the last transaction before the target, and not behind the first one after it.
        reached = Lsn.parse(lsn, "lsn")
        ok = (ahead.last is None or ahead.last < reached) and reached <= ahead.stop
        expected = f"after {ahead.last}, up to {ahead.stop}"
        self._findings.checks.append(Check("exact", "the target", expected, str(reached), ok, 0.0))

    def start_again(self, stack: contextlib.ExitStack) -> PrivateServer:
        request, plan = self._parts()
        instance = self._instance
        if instance is None:
            raise AssertionError("it is restored before")
        found = in_force(
            instance.configuration or f"{instance.directory}/postgresql.conf", f"{instance.directory}/{AUTO}"
        )
        libraries, acting = without_acting(found.get("shared_preload_libraries", ""))
        users = [request.user] if request.user else ["postgres", plan.owner]
        names = [str(row["name"]) for row in plan.chosen.record.databases]
        server = PrivateServer(instance, users, ["template1", "postgres", *names], self._scratch.port)
        stack.enter_context(server)
        major = int(plan.chosen.record.server["version_num"]) // 10000
        server.start(
            True, False, libraries if acting else None, major, self._scratch.cell, limits.running(self._request.memory)
        )
        size = plan.chosen.archive.size
        server.follow(
            "promote",
            plan.chosen.choice.backup.start_lsn,
            None,
            size,
            self._request.wal_timeout,
            self._findings.progress,
        )
        return server

    def marks_time(self) -> Optional[datetime.datetime]:
        """Not after which a marker may be: the target, where it is a time."""
        _request, plan = self._parts()
        return plan.chosen.target.time if plan.chosen.target.kind == TIME else None

    def reaches_beyond(self) -> bool:
        """Whether WAL after the backup's own end was to be replayed."""
        _request, plan = self._parts()
        return plan.chosen.target.kind != IMMEDIATE

    def backup_ended(self) -> Optional[str]:
        """When the backup's own end was, as a marker has to be after it."""
        backup = as_backup(self.record)
        return format_exact(backup.stop_time) if backup else None
