# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second third of a recovery: the files are laid out beside, told what to do, and recovered in private. It touches nothing
but what it makes itself."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
from collections.abc import Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import server_is_whole, where_it_landed
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import give, make_directory, put
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import WAL, is_empty
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import (
    STEERING,
    Isolated,
    measures,
    neutral,
    reachable,
    subscriptions,
    without_acting,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.plan import RecoveryPlan
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import (
    AUTO,
    SIGNAL,
    in_force,
    included_directories,
    quoted,
    rewrite,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import (
    Landing,
    PrivateServer,
    end_interrupted,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import RecoveryRequest, RecoveryResult
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.wal_ahead import WalReader, look_ahead
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import LATEST

PATRONI = "patroni.dynamic.json"


class Builder:
    """Makes the restored server, where nobody looks for one yet: ``lay_out``, then ``recover``."""

    def __init__(
        self,
        source: PhysicalSource,
        request: RecoveryRequest,
        plan: RecoveryPlan,
        progress: Progress,
        result: RecoveryResult,
    ) -> None:
        self._source, self._request, self._plan, self._progress = source, request, plan, progress
        self._result, self._warnings = result, result.warnings
        self._staged = plan.directories.staged(plan.directories.data)
        self._found: dict[str, str] = {}
        self._measured: dict[str, Optional[str]] = {}

    def lay_out(self) -> Instance:
        """Remove what an interrupted run left, unpack the backup and configure its recovery.

        Raises:
            HoldfastError: it could not be laid out; what there is of it is the caller's to clear.
        """
        plan = self._plan
        end_interrupted(Instance(self._staged, plan.programs, plan.owner))
        plan.directories.clear()
        self._source.lay_out(
            plan.chosen.record,
            self._staged,
            {oid: plan.directories.staged(path) for oid, path in plan.directories.tablespaces.items()},
            plan.owner,
            plan.programs,
            self._progress,
            self._warnings,
        )
        self._move_wal()
        return Instance(self._staged, plan.programs, plan.owner, self._configure())

    def _move_wal(self) -> None:
        """Where pg_wal was a link, to another disk most often, it is one again."""
        final = self._plan.directories.wal
        inner = os.path.join(self._staged, WAL)
        if final is None or os.path.islink(inner):
            return
        make_directory(os.path.dirname(final), self._plan.owner)
        shutil.move(inner, self._plan.directories.staged(final))
        os.symlink(self._plan.directories.staged(final), inner)
        for folder, names, files in os.walk(self._plan.directories.staged(final)):
            for path in (folder, *(os.path.join(folder, name) for name in [*names, *files])):
                give(path, self._plan.owner)

    def recover(self, instance: Instance) -> Landing:
        """Recover to the target in private, and stop there. Raises HoldfastError: it did not come to it."""
        request, plan = self._request, self._plan
        action = "promote" if plan.chosen.target.kind == LATEST else request.action
        end: Optional[Lsn] = None
        if plan.chosen.choice.runs:
            last = plan.chosen.choice.runs[-1]
            end = plan.chosen.archive.size.end(Segment(last.timeline, last.last))
        self._refuse_reaching_out(instance)
        libraries = without_acting(self._found.get("shared_preload_libraries", ""))
        users = [request.user] if request.user else ["postgres", plan.owner]
        names = [str(row["name"]) for row in plan.chosen.record.databases]
        with PrivateServer(instance, users, ["template1", "postgres", *names], _free_port()) as server:
            server.start(action == "pause", request.keep_archiving, libraries[0] if libraries[1] else None, self._major)
            landing = server.follow(
                action, plan.chosen.choice.backup.start_lsn, end, plan.chosen.archive.size, self._progress
            )
            self._look(server, landing)
            self._progress.step("stopping, to start it for all")
            server.stop()
        if action == "promote":
            # What steered the recovery has done its work, and would steer the next one.
            self._write({**self._measured, **request.settings})
        return landing

    def _look(self, server: PrivateServer, landing: Landing) -> None:
        """Look at the landing, while nobody else can. Raises ServerError: what is there is not what was asked for."""
        plan, result, in_place = self._plan, self._result, self._plan.old is not None
        self._progress.step("looking at what was recovered")
        proof = result.proof
        chosen = plan.chosen
        proof.add(where_it_landed(landing.lsn, landing.commit_time, chosen.target, chosen.choice.runs, chosen.archive))
        if landing.state == "shut down":
            proof.unproven.append("It was shut down at the target, so nobody connected to its databases.")
        else:
            proof.add(server_is_whole(server.connect, server.database, self._staged, landing.state != "promoted"))
        if landing.state == "promoted":
            result.isolated += subscriptions(server.connect, server.database, in_place)
        if landing.state != "shut down" and not in_place:
            self._warnings += reachable(server.connect, server.database)
        for slot in self._slots():
            proof.lost.append(
                f"The replication slot {slot!r} is not in it, as no backup has slots: what reads from it begins anew."
            )
        proof.require("What was recovered is not whole, and is not used.")

    def _slots(self) -> list[str]:
        """The slots of the server that is replaced."""
        old = self._plan.old
        with contextlib.suppress(OSError):
            return sorted(os.listdir(os.path.join(old.directory, "pg_replslot"))) if old else []
        return []

    def _refuse_reaching_out(self, instance: Instance) -> None:
        """Raises ServerError: WAL that came with the backup itself would make a tablespace elsewhere."""
        plan = self._plan
        reader = WalReader(plan.programs, self._staged, self._progress)
        inner = os.path.join(self._staged, "pg_wal")
        names = sorted(name for name in os.listdir(inner) if re.fullmatch("[0-9A-F]{24}", name))
        if not names or not reader.works:
            return
        known = set(plan.directories.late)
        ahead = look_ahead(
            reader.directory(inner, names[0], names[-1]), plan.chosen.target, plan.chosen.choice.backup.start_lsn
        )
        for made in ahead.tablespaces:
            if made.oid not in known and not is_empty(made.location):
                raise ServerError(
                    f"A tablespace was made while the backup {plan.chosen.record.id} was taken, and replaying writes into "
                    f"{made.location}, which has files in it. Use another backup (backup_id)."
                )

    def _configure(self) -> Optional[str]:
        """Write what the recovery needs. Returns the configuration file, when it is not in the directory."""
        request, plan, wal = self._request, self._plan, self._source.wal
        outside = request.config_file or (plan.old.configuration if plan.old else None)
        if outside is None and not os.path.exists(os.path.join(self._staged, "postgresql.conf")):
            self._bring_configuration()
        main = outside or os.path.join(self._staged, "postgresql.conf")
        self._found = in_force(main, os.path.join(self._staged, AUTO))
        in_place = plan.old is not None
        taken = measures(self._major, in_place, request.keep_archiving, request.action, self._found)
        self._result.isolated += [measure for measure in taken if measure.what not in request.settings]
        self._measured = {measure.what: measure.value for measure in taken}
        self._check_port(in_place)
        if not in_place and os.path.lexists(os.path.join(self._staged, PATRONI)):
            os.unlink(os.path.join(self._staged, PATRONI))
            self._result.isolated.append(Isolated(
                PATRONI, None, "it is the mark of a cluster that this server is no member of", "by Patroni, when it joins one",
            ))  # fmt: skip
        steered = sorted(name for name in STEERING if self._found.get(name, STEERING[name]) != STEERING[name])
        if steered:
            self._warnings.append(
                f"The restored configuration sets {', '.join(steered)}. They are overruled while it recovers, and stand in "
                "its files as before."
            )
        wanted: dict[str, Optional[str]] = {**self._measured, **request.settings, **plan.chosen.target.settings()}
        if wal is not None:
            wanted["restore_command"] = wal.restore_command()
            wanted["recovery_target_timeline"] = plan.chosen.choice.target_timeline
        if plan.chosen.target.kind != LATEST:
            wanted["recovery_target_action"] = request.action
        # The targets that do not count come first: PostgreSQL takes none after the one that does.
        self._write({**{name: value for name, value in neutral(self._major).items() if name not in wanted}, **wanted})
        for name in ("standby.signal", "recovery.done", "postmaster.pid", "postmaster.opts"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._staged, name))
        if wal is not None:
            put(os.path.join(self._staged, SIGNAL), "", plan.owner)
        return outside

    @property
    def _major(self) -> int:
        return int(self._plan.chosen.record.server["version_num"]) // 10000

    def _check_port(self, in_place: bool) -> None:
        """Raises BadOption: beside another server, it could not start on its port; better said now than after the recovery."""
        port = self._request.settings.get("port", self._found.get("port", "5432"))
        if in_place or not self._request.start or not port.isdigit():
            return
        with contextlib.suppress(OSError), socket.create_connection(("localhost", int(port)), 2):
            raise BadOption(
                "settings", {"port": int(port)}, "is taken by another server on this host, so this one could not start",
                "Name a free one: settings: {port: 5433}.",
            )  # fmt: skip

    def _bring_configuration(self) -> None:
        """The old configuration lay elsewhere, and is brought into the data directory, without what points elsewhere."""
        staged, owner, final = self._staged, self._plan.owner, self._plan.directories.data
        unpacked = os.path.join(staged, "holdfast_configuration")
        found = self._source.configuration(self._plan.chosen.record, unpacked, owner, self._plan.programs)
        main = next((path for path in found if os.path.basename(path) == "postgresql.conf"), None)
        if main is None:
            self._warnings.append(
                "The backup has no postgresql.conf: the server starts with defaults, and lets in who is local. Name config_file."
            )
            put(os.path.join(staged, "postgresql.conf"), "", owner)
            put(os.path.join(staged, "pg_hba.conf"), "local all all peer\n", owner)
            put(os.path.join(staged, "pg_ident.conf"), "", owner)
            return
        with open(main, encoding="utf-8", errors="surrogateescape") as stream:
            for name in included_directories(stream.read()):
                make_directory(os.path.join(staged, name), owner)  # also when there was nothing in it
        for path in found:
            if os.path.dirname(path).startswith(os.path.dirname(main)):
                inner = os.path.relpath(path, os.path.dirname(main))
                target = os.path.join(staged, inner)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(path, target)
                give(target, owner)
                give(os.path.dirname(target), owner)
        shutil.rmtree(unpacked, ignore_errors=True)
        with open(os.path.join(staged, "postgresql.conf"), "a", encoding="utf-8") as stream:
            stream.write("\n# Brought here by a restore: the files lie in the data directory now.\n")
            for name, value in (
                ("data_directory", final),
                ("hba_file", f"{final}/pg_hba.conf"),
                ("ident_file", f"{final}/pg_ident.conf"),
                ("external_pid_file", ""),
            ):
                stream.write(f"{name} = {quoted(value)}\n")

    def _write(self, wanted: Mapping[str, Optional[str]]) -> None:
        path = os.path.join(self._staged, AUTO)
        text = ""
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
            text = stream.read()
        put(path, rewrite(text, wanted), self._plan.owner)


def _free_port() -> int:
    """A number for the private socket's name, which nobody else has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
