# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby on this host: made, told to follow its primary, and rebuilt where its past is not the primary's."""

from __future__ import annotations

import contextlib
import os
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory, put
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import AUTO, rewrite
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.takeover import Takeover, start, stop
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.configuration import SIGNAL, passline
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.decide import BACKUP, COPY, FOLLOW, REWIND
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.maker import Maker
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.plan import StandbyPlan, StandbyPlanner
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest, StandbyResult
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter


class StandbyRun:
    """One standby. ``source`` None: its files come from the primary itself."""

    def __init__(
        self, request: StandbyRequest, upstream: Upstream, source: Optional[PhysicalSource], progress: Progress
    ) -> None:
        self._request, self._upstream, self._source, self._progress = request, upstream, source, progress
        self._directory = os.path.abspath(request.data_directory)
        self.result = StandbyResult()
        self._planner = StandbyPlanner(request, upstream, source, self.result)

    def run(self, check: bool) -> StandbyResult:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: in words for the user.
        """
        result = self.result
        plan = self._planner.plan()
        result.method, result.why, result.plan = plan.decision.method, plan.decision.why, plan.steps
        result.backup = plan.record.id if plan.record else None
        result.changed = bool(result.plan)
        if not check and result.changed:
            self._act(plan)
        return result

    def _act(self, plan: StandbyPlan) -> None:
        request = self._request
        if request.slot and plan.slot == "replace":
            self._upstream.drop_slot(request.slot)
        if request.slot and plan.slot:
            self._upstream.create_slot(request.slot)
        try:
            if request.password:
                make_directory(request.config_dir, request.owner)
                put(self._planner.passfile, passline(request.password), request.owner)
            self._make(plan)
        except BaseException:
            # A slot that nobody reads from fills the primary's disk.
            if request.slot and plan.slot == "create":
                with contextlib.suppress(HoldfastError):
                    self._upstream.drop_slot(request.slot)
            raise
        self._wait()

    def _make(self, plan: StandbyPlan) -> None:
        method, local = plan.decision.method, plan.local
        instance = self._instance(plan)
        if method == REWIND and local is not None:
            if local.running:
                self._progress.step("stopping the server")
                stop(instance, self._request.service)
            if not self._rewound(instance):
                method = self.result.method = COPY
                plan.spaces = {str(row["oid"]): row for row in self._upstream.tablespaces()}
                plan.directories = self._planner.directories(plan.spaces)
        if method in (COPY, BACKUP):
            self._replace(plan)
            return
        self._write(self._directory, plan)
        if local is not None and local.running and method == FOLLOW:
            done = run_as(self._request.owner, [instance.program("pg_ctl"), "-D", self._directory, "reload"])
            if done.returncode:
                raise ServerError(f"The server did not reload its configuration: {' '.join(done.stdout.split())}")
            return
        self._progress.step("starting the standby")
        start(instance, self._request.service, self._patience)

    def _rewound(self, instance: Instance) -> bool:
        self._progress.step("rewinding")
        self._upstream.checkpoint()
        try:
            self._maker().rewind(instance, "restore_command" in Local(instance).settings())
        except ToolError as exc:
            self.result.warnings.append(f"{exc}. The primary is copied instead.")
            return False
        return True

    def _replace(self, plan: StandbyPlan) -> None:
        request, directories = self._request, plan.directories
        staged = directories.staged(directories.data)
        old = plan.local.instance if plan.local is not None else None
        takeover = Takeover(directories, old, request.owner, request.service, self._progress, self._patience)
        directories.clear()
        with takeover.making():
            inner = {oid: directories.staged(path) for oid, path in directories.tablespaces.items()}
            if plan.record is not None and self._source is not None:
                programs = self._planner.programs
                self._source.lay_out(plan.record, staged, inner, request.owner, programs, self._progress)
            else:
                self._progress.step("copying the primary", self._upstream.size())
                by_location = {plan.spaces[oid]["location"]: path for oid, path in inner.items()}
                self._maker().copy(staged, by_location, request.slot, request.max_rate)
            self._write(staged, plan)
            takeover.stop()
            takeover.swap()
        takeover.start(self._instance(plan), "the standby")
        self.result.kept = directories.kept

    def _instance(self, plan: StandbyPlan) -> Instance:
        return Instance(self._directory, self._planner.programs, self._request.owner, plan.configuration)

    @property
    def _patience(self) -> int:
        return max(60, int(self._request.timeout))

    def _maker(self) -> Maker:
        address = self._upstream.address
        password = self._request.admin_password
        return Maker(self._request.owner, self._planner.programs, address.conninfo(address.db), password)

    def _write(self, directory: str, plan: StandbyPlan) -> None:
        """The settings, and the signal that makes it a standby."""
        path = os.path.join(directory, AUTO)
        text = ""
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
            text = stream.read()
        put(path, rewrite(text, plan.wanted), self._request.owner)
        for name in ("recovery.signal", "backup_label.old", "postmaster.pid", "postmaster.opts"):
            if directory != self._directory or name == "recovery.signal":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, name))
        put(os.path.join(directory, SIGNAL), "", self._request.owner)

    def _wait(self) -> None:
        """Raises ServerError: it does not stream."""
        self._progress.step("waiting until it streams")

        def streaming() -> Optional[bool]:
            row = self._upstream.replica(self._request.name)
            self.result.state = None if row is None else row["state"] or "streaming"
            return True if self.result.state == "streaming" else None

        if Waiter(self._request.timeout).until({"streaming": streaming}) is not None:
            return
        if self.result.state is not None:
            self.result.warnings.append(
                f"The standby follows, and has not caught up within {self._request.timeout:g} seconds (state {self.result.state})."
            )
            return
        raise ServerError(
            f"The standby in {self._directory} was started, and does not stream from {self._upstream} after "
            f"{self._request.timeout:g} seconds. {self._planner.log_words()}"
        )
