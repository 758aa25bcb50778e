# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby on this host: made, told to follow its primary, and rebuilt where its past is not the primary's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory, put
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import fetched
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories, alone
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.neighbours import check_tablespaces
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import write_auto
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import NewDirectory, PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.takeover import Takeover, start, stop
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import make_config_dir
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import disown
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.backups import segment_size
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.configuration import (
    OLD_SIGNAL,
    SIGNAL,
    passline,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.decide import BACKUP, COPY, FOLLOW, REWIND
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.following import Following
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.maker import Maker
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.own import OwnConfiguration
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.plan import StandbyPlanner
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest, StandbyResult
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.rewinding import Rewinding
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.steps import StandbyPlan
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter


class StandbyRun:
    """One standby. ``source`` None: its files come from the primary itself."""

    def __init__(
        self,
        request: StandbyRequest,
        upstream: Upstream,
        source: Optional[PhysicalSource],
        progress: Progress,
        ask: Callable[[Local], Optional[Following]],
        drop_slot: Callable[[Local, str], None],
    ) -> None:
        self._request, self._upstream, self._source, self._progress = request, upstream, source, progress
        self._directory = request.directory
        self._rewinding = Rewinding(request.directory, request.owner)
        self.result = StandbyResult()
        self._planner = StandbyPlanner(request, upstream, source, self.result, ask)
        self._ask, self._drop_slot = ask, drop_slot

    def run(self, check: bool) -> StandbyResult:
        """Plan, and unless ``check``, act.

        Raises:
            HoldfastError: in words for the user.
        """
        result = self.result
        before = Directories(self._directory, {}, "")
        found = before.interrupted()
        first = interrupted.steps(found, self._directory)
        if found is not None and not found.done:
            if check and not os.path.isdir(self._directory):
                # What comes then is planned when the old server is back where it was.
                result.changed, result.plan = True, [*first, "then plan the standby anew"]
                return result
            if not check:
                with alone(self._directory):
                    before.take_back(self._request.owner)
        if self._rewinding.is_aside:
            if check and not os.path.lexists(self._directory):
                result.changed = True
                result.plan = [
                    f"give {self._rewinding.aside} its name again, which an interrupted pg_rewind left, and see to it that it is not started",
                    "then plan the standby anew: it is copied",
                ]
                return result
            if not check:
                with alone(self._directory):
                    self._rewinding.take_back()
        plan = self._planner.plan(looking=check)
        result.consent = self._planner.consent.missing
        result.method, result.why, result.plan = plan.decision.method, plan.decision.why, [*first, *plan.steps]
        result.backup = plan.record.id if plan.record else None
        result.changed = bool(result.plan)
        if not check and result.changed:
            with contextlib.nullcontext() if plan.decision.method == FOLLOW else self._alone():
                self._act(plan)
            if found is not None:
                before.end()
        return result

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else replaces what is in the directory meanwhile. Raises ServerError: somebody does."""
        make_directory(os.path.dirname(self._directory), self._request.owner)
        with alone(self._directory):
            yield

    def _act(self, plan: StandbyPlan) -> None:
        request = self._request
        if request.slot and plan.slot == "replace":
            self._upstream.drop_slot(request.slot)
        if request.slot and plan.slot:
            self._upstream.create_slot(request.slot)
        try:
            if request.password:
                make_config_dir(request.config_dir, request.owner)
                put(self._planner.passfile, passline(request.password), request.owner)
            self._make(plan)
        except BaseException:
            # A slot that nobody reads from fills the primary's disk.
            if request.slot and plan.slot:
                with contextlib.suppress(HoldfastError):
                    self._upstream.drop_slot(request.slot)
            raise
        self._wait(plan)
        if plan.fetch and self.result.state == "streaming":
            # It has come past what was fetched, and the primary has all that follows.
            self._write(self._directory, plan)
            run_as(request.owner, [self._instance(plan).program("pg_ctl"), "-D", self._directory, "reload"])
            fetched.forget(self._directory)
        for name in plan.idle_slots:
            self._drop_slot(Local(self._instance(plan)), name)

    def _make(self, plan: StandbyPlan) -> None:
        method, local = plan.decision.method, plan.local
        instance = self._instance(plan)
        if local is not None:
            OwnConfiguration(self._directory, self._request.owner).put_back()
        if method == REWIND and local is not None:
            if local.running:
                self._progress.step("stopping the server")
                stop(instance, self._request.service)
            if not self._rewound(plan):
                method = self.result.method = COPY
                self._plan_copy(plan)
                with self._half_rewound():
                    self._replace(plan)
                return
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

    def _rewound(self, plan: StandbyPlan) -> bool:
        self._progress.step("rewinding")
        self._upstream.checkpoint()
        instance = self._instance(plan)
        restore = bool(Local(instance).settings().get("restore_command"))
        own = OwnConfiguration(self._directory, self._request.owner)
        own.keep()
        try:
            with self._rewinding.at_work() as directory:
                with self._rewinding.configuration(plan.configuration) as configuration:
                    try:
                        moved = Instance(directory, instance.bin_dir, instance.owner, configuration)
                        self._maker().rewind(moved, restore)
                    finally:
                        own.put_back(directory)
                # Whoever starts it from here on, starts a standby.
                self._write(directory, plan)
        except ToolError as exc:
            self.result.warnings.append(f"{exc}. The primary is copied instead.")
            return False
        return True

    @contextlib.contextmanager
    def _half_rewound(self) -> Iterator[None]:
        """Raises ServerError: what failed, and what became of the server that was to be rewound."""
        try:
            yield
        except HoldfastError as exc:
            raise ServerError(f"{' '.join(self.result.warnings[-1:])} {exc} {self._left_down()}") from exc

    def _left_down(self) -> str:
        return (
            f"The server in {self._directory} is stopped, and may be half rewound: do not start it. Run this again when the primary "
            "answers."
        )

    def _plan_copy(self, plan: StandbyPlan) -> None:
        """After pg_rewind failed. Raises HoldfastError: it cannot be copied either, and the server is down."""
        import psycopg2

        try:
            plan.spaces = {str(row["oid"]): row for row in self._upstream.tablespaces()}
            plan.directories = self._planner.directories(plan.spaces)
            check_tablespaces(plan.directories, replaces=True)
        except (HoldfastError, psycopg2.Error) as exc:
            raise ServerError(
                f"{' '.join(self.result.warnings[-1:])} That failed too: {' '.join(str(exc).split())}. {self._left_down()}"
            ) from exc

    def _replace(self, plan: StandbyPlan) -> None:
        request, directories = self._request, plan.directories
        staged = directories.staged(directories.data)
        old = plan.local.instance if plan.local is not None else None
        takeover = Takeover(directories, old, request.owner, request.service, self._progress, self._patience)
        directories.clear()
        with takeover.making():
            inner = {oid: directories.staged(path) for oid, path in directories.tablespaces.items()}
            if plan.record is not None and self._source is not None:
                made = NewDirectory(staged, inner, request.owner, self._planner.programs)
                with self._source.reading(plan.record, self.result.warnings):
                    self._source.lay_out(plan.record, made, self._progress)
            else:
                self._progress.step("copying the primary", self._upstream.size())
                by_location = {plan.spaces[oid]["location"]: path for oid, path in inner.items()}
                self._maker().copy(staged, by_location, request.slot, request.max_rate)
            if old is not None:
                OwnConfiguration(self._directory, request.owner).give(staged)
            self._write(staged, plan)
            if plan.fetch and plan.record is not None and self._source is not None and self._source.wal is not None:
                system_id = self._upstream.system_id
                size = segment_size(plan.record)
                fetched.fetch(self._source.wal, plan.fetch, size, system_id, staged, request.owner, self._progress)
                write_auto(staged, {**plan.wanted, "restore_command": fetched.COMMAND}, request.owner)
            takeover.stop()
            takeover.swap()
            takeover.start(self._instance(plan), "the standby")
        self._rewinding.end()
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
        """The settings, and the signal that makes it a standby. What was copied of a member of Patroni is none: those are refused before."""
        if directory != self._directory:
            disown(directory, self._request.owner)
        write_auto(directory, plan.wanted, self._request.owner)
        for name in ("recovery.signal", "backup_label.old", "postmaster.pid", "postmaster.opts"):
            if directory != self._directory or name == "recovery.signal":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, name))
        with contextlib.suppress(FileNotFoundError):
            os.rename(os.path.join(directory, OLD_SIGNAL), os.path.join(directory, f"{OLD_SIGNAL}.old"))
        put(os.path.join(directory, SIGNAL), "", self._request.owner)

    def _wait(self, plan: StandbyPlan) -> None:
        """Following is more than that its receiver streams: it recovers, replays, and comes past where the primary is now.

        Raises:
            ServerError: it does not follow.
        """
        self._progress.step("waiting until it follows")
        goal = self._upstream.position().lsn
        local = Local(self._instance(plan))
        delayed = self._request.settings.get("recovery_min_apply_delay", "0") not in ("0", "")
        last: list[Optional[Following]] = [None]
        refused: list[str] = []

        def look() -> Optional[Following]:
            try:
                last[0] = self._ask(local)
            except ServerError as exc:
                refused[:] = [str(exc)]
            return last[0]

        def following() -> Optional[bool]:
            view = look()
            if view is None or view.paused or not self._planner.follows(view):
                return None
            at = view.reached if delayed else view.replayed
            return True if at is not None and at >= goal else None

        def promoted() -> Optional[bool]:
            return True if last[0] is not None and not last[0].in_recovery else None

        seen = Waiter(self._request.timeout).until({"following": following, "promoted": promoted})
        if seen is not None and seen.name == "following":
            self.result.state = "streaming"
            self._planner.compare_collations(last[0])
            return
        view = last[0]
        if seen is not None:
            problem = "has become a primary by itself: something steers its recovery (recovery_target_*), or somebody promoted it"
        elif view is not None and view.paused:
            problem = "does not replay: it is paused (SELECT pg_wal_replay_resume())"
        elif view is not None and self._planner.follows(view):
            self.result.state = "catchup"
            self.result.warnings.append(
                f"The standby follows, and has not caught up within {self._request.timeout:g} seconds: it has replayed {view.replayed}, and "
                f"the primary was at {goal}."
            )
            return
        else:
            problem = f"does not stream from {self._upstream} after {self._request.timeout:g} seconds"
        raise ServerError(
            f"The standby in {self._directory} was started, and {problem}. {' '.join(refused)} {self._planner.log_words()}"
        )
