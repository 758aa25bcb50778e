# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a standby on this host needs: what there is is looked at, a way is chosen, and what forbids it is found. Reads only."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.agreed import need_signatures
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories, is_empty
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.links import WAL
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.neighbours import check_tablespaces
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import DATA, PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.takeover import START_LOG
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import (
    Instance,
    check_service,
    configuration_of,
    last_words,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.managers import refuse_managed
from ansible_collections.holdfast.postgres.plugins.module_utils.server.neighbours import tablespaces
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import make_config_dir
from ansible_collections.holdfast.postgres.plugins.module_utils.server.packaged import configuration_for, packaged
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import refuse_standby
from ansible_collections.holdfast.postgres.plugins.module_utils.server.space import Need, check_space
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import server_programs
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.agreed import ask
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.backups import choose, to_fetch
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.claims import Claims
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.configuration import (
    passline,
    settings_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.decide import (
    BACKUP,
    COPY,
    FOLLOW,
    REWIND,
    Decision,
    Found,
    decide,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Position, compare
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.following import Following
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.obstacles import (
    check_archive,
    check_capacity,
    check_passage,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.past import proven
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest, StandbyResult
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.rewinding import Rewinding
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.steps import StandbyPlan, describe
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow


class StandbyPlanner:
    """Plans one standby. ``source`` None: its files come from the primary itself; ``ask`` asks a running one whom it follows."""

    def __init__(
        self,
        request: StandbyRequest,
        upstream: Upstream,
        source: Optional[PhysicalSource],
        result: StandbyResult,
        ask: Callable[[Local], Optional[Following]],
    ) -> None:
        self._request, self._upstream, self._source, self._result, self._ask = request, upstream, source, result, ask
        self._directory = request.directory
        self.programs = server_programs(upstream.identity.version_num, request.bin_dir)
        self.passfile = os.path.join(request.config_dir, f"{request.name}.primary.pgpass")
        #: what the user has yet to agree to: known after a plan that was made to be looked at
        self.consent = Consent()

    def plan(self, looking: bool = False) -> StandbyPlan:
        """What is to be done; made to be looked at (``looking``), it says what would have to be agreed to.

        Raises:
            HoldfastError: it cannot be done, or must not.
        """
        self.consent = Consent(looking)
        if self._request.service:
            check_service(self._request.service)
        if self._request.password:
            make_config_dir(self._request.config_dir, self._request.owner, check=True)
            check_passage(self._request.config_dir, self._request.owner)
        local = self._local()
        view = self._ask(local) if local is not None else None
        claims = Claims(self._request, self._upstream, view)
        slot = claims.slot()
        claims.check_name()
        if local is not None:
            claims.check_synchronous(local.settings())
        if not claims.follows:
            self._look_for_obstacles(local)
        left = claims.left_behind(local.settings()) if local is not None else None
        self._result.warnings += [left] if left else []
        decision = self._decide(local, view, claims.follows)
        configuration = self._configuration(local, decision)
        record = None
        if decision.method == BACKUP and self._source is not None:
            wal = self._source.wal
            archive = self._request.restore_command is not None or (wal is not None and wal.fetched_ahead)
            record = choose(self._source, self._request.backup_id, self._upstream, archive, self._result.warnings)
            unsigned = self._source.prove(record)
            need_signatures(unsigned, self._request, self.consent, self._result.warnings)
        rows = list((record.server.get("tablespaces") if record else None) or ())
        if decision.method == COPY:
            rows = self._upstream.tablespaces()
        spaces = {str(row["oid"]): row for row in rows}
        directories = self.directories(spaces)
        if decision.method in (COPY, BACKUP):
            self._refuse(local, decision, directories)
            self._check_space(record, directories, spaces)
            self._tell_of_wal()
        elif decision.method == REWIND:
            ask(local, decision, self._request, self._upstream.system_id, self._directory, self.consent)
        else:
            claims.check_leaving(self.consent)
        made = StandbyPlan(
            local,
            slot,
            decision,
            configuration,
            directories,
            record,
            spaces,
            settings_of(self._request, self._upstream.identity.version_num, self._upstream.address.db, self.passfile),
            self._passfile_differs(),
            claims.follows,
            view,
        )
        if record is not None and self._source is not None:
            made.fetch = to_fetch(self._source, record, self._upstream)
        if local is not None and decision.method == FOLLOW:
            made.idle_slots = self._idle_slots(local, view)
        made.steps = describe(made, self._request, self._upstream, self.passfile, self._result) + self.consent.steps()
        self._stands_still(made)
        self._result.state = "streaming" if claims.follows else None
        if not made.steps:
            self.compare_collations(view)
        return made

    def compare_collations(self, view: Optional[Following]) -> None:
        """Warn of databases whose texts this host sorts otherwise: queries here may miss rows, and a promotion makes that so for all."""
        if view is not None and view.collations:
            self._result.warnings.append(
                f"This host sorts texts by another version of the collation than the indexes of {', '.join(map(repr, view.collations))} were "
                "made by: queries here may miss rows, and after a promotion everywhere, until REINDEX DATABASE. Have the same operating "
                "system, or C library, on both hosts."
            )

    def directories(self, spaces: dict[str, dict[str, str]]) -> Directories:
        """Where its files go, its tablespaces among them."""
        chosen, own = self._request.tablespaces, tablespaces(self._directory)
        paths = {
            oid: chosen.get(row["name"], chosen.get(row["location"], own.get(oid, row["location"])))
            for oid, row in spaces.items()
        }
        return Directories(
            self._directory,
            {oid: os.path.realpath(path) for oid, path in paths.items()},
            f".before-{utcnow():%Y%m%dT%H%M%SZ}",
            texts={oid: path for oid, path in paths.items() if os.path.realpath(path) != path},
        )

    def _tell_of_wal(self) -> None:
        """pg_wal on a disk of its own comes into the data directory, as no copy has the link."""
        wal = os.path.join(self._directory, WAL)
        if os.path.islink(wal):
            self._result.warnings.append(
                f"pg_wal of the server in {self._directory} is a link to {os.path.realpath(wal)}. That of the new one is a directory, on the disk "
                "of its data directory: move it and lay the link again, while the standby is stopped."
            )

    def log_words(self) -> str:
        """The end of its log, where we started it ourselves."""
        log = os.path.join(self._directory, START_LOG)
        return last_words(log) if os.path.exists(log) else "Its log says why."

    # What there is

    def _local(self) -> Optional[Local]:
        refuse_standby(self._directory)
        refuse_managed(self._directory)
        if is_empty(self._directory):
            return None
        instance = Instance(
            self._directory,
            self.programs,
            self._request.owner,
            self._request.config_file or configuration_of(self._directory),
        )
        local = Local(instance)
        if local.major != self._upstream.identity.version_num // 10000:
            raise ServerError(
                f"{self._directory} is of PostgreSQL {local.major}, the primary of {self._upstream.identity.version}. Name another "
                "directory."
            )
        there = local.system_id()
        if there == self._upstream.system_id:
            local.refuse_self(self._upstream.started())
            if self._upstream.identity.in_recovery and not local.is_standby:
                raise ServerError(
                    f"{self._upstream} is itself a standby, and the server in {self._directory} was a primary: if it followed, there would be "
                    "no primary at all. Promote that one first (state: promoted, on its host)."
                )
        return local

    def _look_for_obstacles(self, local: Optional[Local]) -> None:
        request = self._request
        check_archive(
            request.restore_command, request.server_name, request.owner, self._upstream, self._result.warnings
        )
        if local is not None:
            check_capacity(local.instance, self._request.settings, self._upstream)

    def follows(self, view: Optional[Following]) -> bool:
        """Whether it receives from the primary that is named, now."""
        return view is not None and view.in_recovery and view.streams_from([self._upstream.at])

    def _decide(self, local: Optional[Local], view: Optional[Following], follows: bool) -> Decision:
        made = COPY if self._source is None else BACKUP
        return decide(self._found(local, view, follows), made, self._request.rewind)

    def _found(self, local: Optional[Local], view: Optional[Following], follows: bool) -> Found:
        """Asked only as far as an answer still matters."""
        mine, archive = self._upstream.system_id, self._request.restore_command is not None
        if local is None or local.system_id() != mine:
            return Found(mine, local.system_id() if local else None)
        if follows:
            return Found(mine, mine, streams=True)
        if Rewinding(self._directory, self._request.owner).left:
            return Found(mine, mine, half_rewound=True)
        position = local.position()
        if view is not None and view.in_recovery and view.reached is not None:
            # Of one that runs the files tell what was, not what is.
            position = Position(view.timeline, max(view.reached, position.lsn), True)
        now = self._upstream.position()
        verdict = compare(position, now, self._upstream.history(now.timeline))
        kept = self._upstream.keeps(position.lsn) if verdict.follows and not archive else None
        if kept is not False:  # otherwise it has to be made anew whatever its past
            verdict = proven(
                local, position, verdict, self._upstream, self._request.slot, archive, self._result.warnings
            )
        return Found(
            mine,
            mine,
            verdict=verdict,
            tells_changes=not verdict.follows and local.tells_changes(),
            lets_rewind=not verdict.follows and self._upstream.lets_rewind(),
            unknown_tablespaces=() if verdict.follows else self._unknown_tablespaces(),
            position=position.lsn,
            kept=kept,
            archive=archive,
        )

    def _idle_slots(self, local: Local, view: Optional[Following]) -> list[str]:
        """Those of its own that are to be dropped. What it kept WAL by as a primary, it keeps it by as a standby, for ever; of others that
        nobody reads from it is said that they do."""
        idle = view.idle_slots if view is not None else local.slots()
        rest = [name for name in idle if name not in self._request.drop_slots]
        # What a standby that stands has may be synchronised from its primary; its files do not tell.
        if rest and (view is not None or not local.is_standby):
            self._result.warnings.append(
                f"The server in {self._directory} has replication slots from which nobody reads: {', '.join(rest)}. They keep WAL there, until "
                "its disk is full. If they were for servers that follow another one now: drop_slots (holdfast_standby_drop_slots)."
            )
        return [name for name in idle if name in self._request.drop_slots]

    def _unknown_tablespaces(self) -> list[str]:
        """Those that were made since they parted: pg_rewind makes them where the primary has them, and fails half-way where that is there."""
        own = tablespaces(self._directory)
        return [row["name"] for row in self._upstream.tablespaces() if str(row["oid"]) not in own]

    def _configuration(self, local: Optional[Local], decision: Decision) -> Optional[str]:
        found = self._request.config_file or (local.instance.configuration if local else None)
        outside = self._upstream.configured_outside() if found is None and decision.method == COPY else False
        if outside is not False:
            # As is the primary's, or for all that its role may see: where there is one here, it is this directory's own.
            found = configuration_for(packaged(), self._directory)
        if found is None and outside:
            raise BadOption(
                "config_file",
                None,
                "is missing, and the primary's configuration is not in its data directory, so that no copy has it",
                "Name the standby's own. On Debian: make a cluster by pg_createcluster, and name its postgresql.conf; its data "
                "directory is then replaced (force and confirm).",
            )
        return found

    # What forbids it

    def _refuse(self, local: Optional[Local], decision: Decision, directories: Directories) -> None:
        full = [path for path in directories.all if not is_empty(path)]
        check_tablespaces(directories, replaces=local is not None)
        if local is None:
            if full:
                raise BadOption(
                    "tablespace_locations", full, "has files in it", "Name empty directories for these tablespaces."
                )
            return
        ask(local, decision, self._request, self._upstream.system_id, self._directory, self.consent)
        directories.check()

    def _check_space(
        self, record: Optional[Record], directories: Directories, spaces: dict[str, dict[str, str]]
    ) -> None:
        if record is not None and self._source is not None:
            sizes = {oid: size or 0 for oid, size in self._source.sizes(record).items()}
        else:
            size = self._upstream.size()
            sizes = {oid: int(row["size"] or 0) for oid, row in spaces.items()}
            sizes[DATA] = 0 if size is None else size - sum(sizes.values())
            if size is None:
                self._result.warnings.append(
                    f"Whether there is room for the copy is not known: {self._upstream.address.user} may not see the sizes of the primary's "
                    f"tablespaces. GRANT pg_read_all_stats TO {self._upstream.address.user} lets it."
                )
        needs = [Need(directories.staged(directories.data), sizes.get(DATA, 0), "the standby")]
        needs += [
            Need(directories.staged(path), sizes.get(oid, 0), f"its tablespace {spaces[oid]['name']!r}")
            for oid, path in directories.tablespaces.items()
        ]
        check_space(needs, "Free some space, or put it on another disk (data_directory, tablespace_locations).")

    # The plan

    def _passfile_differs(self) -> bool:
        if not self._request.password:
            return False
        try:
            with open(self.passfile, encoding="utf-8") as stream:
                mode = os.fstat(stream.fileno()).st_mode & 0o777
                return stream.read() != passline(self._request.password) or mode != 0o600
        except OSError:
            return True

    def _stands_still(self, made: StandbyPlan) -> None:
        """Raises ServerError: there is nothing to be done, and it does not follow."""
        running = made.local is not None and made.local.running
        if running and made.decision.method == FOLLOW and not made.steps and not made.follows:
            raise ServerError(
                f"The standby in {self._directory} is set up as wanted and runs, and does not stream from {self._upstream}. "
                f"{self.log_words()} Give it time, if it still reads WAL from an archive."
            )
