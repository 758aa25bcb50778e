# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a server back to a moment: planned and proven before anything is touched, recovered beside the old one in private,
and put in its place only when it is where it should be."""

from __future__ import annotations

import os

from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ELSEWHERE
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import fetched, laid_out, mark
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.build import Builder
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import (
    Directories,
    alone,
    write_marker,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.plan import (
    Planner,
    RecoveryPlan,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import (
    CHOOSE,
    LAID_OUT,
    RecoveryRequest,
    RecoveryResult,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.takeover import Takeover, start
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance


class RecoverRun:
    """A point-in-time recovery of one server. ``scratch`` is a private directory."""

    def __init__(self, source: PhysicalSource, request: RecoveryRequest, scratch: str, progress: Progress) -> None:
        self._source, self._request, self._progress = source, request, progress
        self.result = RecoveryResult()
        self._planner = Planner(source, request, scratch, progress, self.result.warnings)

    def run(self, check: bool) -> RecoveryResult:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: its message is for the user. What was there before is as it was, and runs if it ran.
        """
        result, before = self.result, self._planner.directories
        if self._request.prepare and self._source.wal is not None and not self._source.wal.fetched_ahead:
            raise BadOption(
                "prepare", True, f"cannot be done with WAL of {self._source.wal.description}",
                "Its restore_command means nothing where the server is started. Leave prepare out, or use a store that WAL is shipped to.",
            )  # fmt: skip
        found = before.interrupted()
        if found is not None and not found.done:
            if check and not os.path.isdir(before.data):
                # What comes then is planned when the old server is back where it was.
                result.changed, result.plan = (
                    True,
                    [*interrupted.steps(found, before.data), "then plan the recovery anew"],
                )
                return result
            if not check:
                with alone(before.data):
                    self._planner.take_back()
        plan = self._planner.plan(looking=check)
        result.consent = self._planner.consent.missing
        if plan is None:
            self._start_what_stands(before, check)
            return result
        result.changed, result.plan = True, plan.steps
        result.choice, result.record = plan.chosen.choice, plan.chosen.record
        if check:
            return result
        is_there = self._request.snapshots == LAID_OUT
        if plan.chosen.record.engine in ELSEWHERE and not is_there:
            raise BadOption(
                "snapshots", CHOOSE, f"is for a plan, and {plan.chosen.record.id}, which was chosen, is a volume snapshot",
                "Restore it into new claims (pvc_snapshot with state: restored and awaits_recovery: true), and run this there with snapshots: laid_out "
                "and its backup_id; or leave snapshots out, and the best of the other backups is taken.",
            )  # fmt: skip
        make_directory(os.path.dirname(plan.directories.data), plan.owner)
        with alone(laid_out.lock_of(plan.directories.data) if is_there else plan.directories.data):
            self._act(plan)
        return result

    def _start_what_stands(self, directories: Directories, check: bool) -> None:
        """It was recovered before. A run that was killed after all was in place has not started it, or somebody has stopped it since."""
        here, found = self._planner.here, directories.interrupted()
        if here is None or not self._request.start or self._request.action == "shutdown":
            return
        if here.pid() is None:
            down = [f"start the server in {directories.data}, which was recovered before and is down"]
            self.result.changed, self.result.plan = True, interrupted.steps(found, directories.data) or down
            if not check:
                start(here, self._request.service or (found.unit if found else None))
        if found is not None and not check:
            directories.end()

    def _act(self, plan: RecoveryPlan) -> None:
        request, result = self._request, self.result
        builder = Builder(self._source, request, plan, self._progress, result)
        takeover = Takeover(plan.directories, plan.old, plan.owner, plan.service, self._progress)
        with self._source.reading(plan.chosen.record, result.warnings), takeover.making():
            instance = builder.lay_out()
            takeover.stop()
            if not request.prepare:
                result.landing = builder.recover(instance)
            else:
                result.proof.unproven.append(
                    "Nothing was recovered here: what was laid out is the backup, with all WAL up to the target. Whoever starts PostgreSQL in it has "
                    "it recover, and should look at what came of it."
                )
            content = mark.made(request, self._source.name, plan.chosen, result.landing, instance)
            write_marker(instance.directory, plan.owner, content)
            takeover.swap()
            if request.start and request.action != "shutdown":
                final = Instance(plan.directories.data, plan.programs, plan.owner, instance.configuration)
                takeover.start(final, "the restored server")
            else:
                takeover.leave()
        result.kept = plan.directories.kept
        result.next_steps = self._next_steps(plan)

    def _next_steps(self, plan: RecoveryPlan) -> list[str]:
        """What is to be done now; the last one is about archiving."""
        request = self._request
        steps = [
            f"{measure.what} was kept from working, as {measure.why}. To switch it on: {measure.switch_on}."
            for measure in self.result.isolated
            if measure.what != "archive_mode"
        ]
        steps += self.result.proof.lost
        if plan.directories.kept:
            steps.append(
                f"What was there before lies in {', '.join(plan.directories.kept)}: delete it when nobody needs it any more."
            )
        if request.prepare:
            steps.append(
                f"It recovers when PostgreSQL {plan.chosen.record.server.get('version')} is started in {plan.directories.data}, as {plan.owner}."
            )
        if (
            self._source.wal is not None
            and self._source.wal.fetched_ahead
            and (request.action != "promote" or request.prepare)
        ):
            steps.append(
                f"{fetched.DIRECTORY} in it has the WAL that was fetched for it: delete that, and reset restore_command (ALTER SYSTEM), once it is "
                "promoted."
            )
        if request.keep_archiving:
            steps.append(
                "It archives as the old server did, on its new timeline: take a backup of it now, as the ones before lead there only "
                "over the old timeline."
            )
        else:
            steps.append(
                "archive_mode is off in it: what is written to it from now on is in no archive and no backup. Set archiving up again "
                "(wal_archive, or the playbook setup), and take a backup."
            )
        return steps
