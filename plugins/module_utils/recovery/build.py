# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second third of a recovery: the files are laid out beside, told what to do, and recovered in private. It touches nothing
but what it makes itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.files import give, make_directory, put
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.plan import RecoveryPlan
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import (
    AUTO,
    SIGNAL,
    included_directories,
    quoted,
    rewrite,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import (
    Landing,
    PrivateServer,
    end_interrupted,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import RecoveryRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import LATEST


class Builder:
    """Makes the restored server, where nobody looks for one yet: ``lay_out``, then ``recover``."""

    def __init__(
        self,
        source: PhysicalSource,
        request: RecoveryRequest,
        plan: RecoveryPlan,
        progress: Progress,
        warnings: list[str],
    ) -> None:
        self._source, self._request, self._plan, self._progress = source, request, plan, progress
        self._warnings = warnings
        self._staged = plan.directories.staged(plan.directories.data)

    def lay_out(self) -> Instance:
        """Remove what an interrupted run left, unpack the backup and configure its recovery.

        Raises:
            HoldfastError: it could not be laid out; what there is of it is the caller's to clear.
        """
        plan = self._plan
        end_interrupted(Instance(self._staged, plan.programs, plan.owner))
        plan.directories.clear()
        self._source.lay_out(
            plan.record,
            self._staged,
            {oid: plan.directories.staged(path) for oid, path in plan.directories.tablespaces.items()},
            plan.owner,
            plan.programs,
            self._progress,
        )
        return Instance(self._staged, plan.programs, plan.owner, self._configure())

    def recover(self, instance: Instance) -> Landing:
        """Recover to the target in private, and stop there. Raises HoldfastError: it did not come to it."""
        request, plan = self._request, self._plan
        action = "promote" if plan.target.kind == LATEST else request.action
        end: Optional[Lsn] = None
        if plan.choice.runs:
            last = plan.choice.runs[-1]
            end = plan.archive.size.end(Segment(last.timeline, last.last))
        with PrivateServer(instance, request.user, _free_port()) as server:
            server.start(action == "pause", request.keep_archiving)
            landing = server.follow(action, plan.choice.backup.start_lsn, end, plan.archive.size, self._progress)
            self._progress.step("stopping, to start it for all")
            server.stop()
        if action == "promote":
            # What steered the recovery has done its work, and would steer the next one.
            keep: dict[str, Optional[str]] = dict(request.settings)
            keep["archive_mode"] = None if request.keep_archiving else "off"
            self._write(keep)
        return landing

    def _configure(self) -> Optional[str]:
        """Write what the recovery needs. Returns the configuration file, when it is not in the directory."""
        request, plan, wal = self._request, self._plan, self._source.wal
        outside = request.config_file or (plan.old.configuration if plan.old else None)
        if outside is None and not os.path.exists(os.path.join(self._staged, "postgresql.conf")):
            self._bring_configuration()
        wanted: dict[str, Optional[str]] = {**request.settings, **plan.target.settings()}
        if wal is not None:
            wanted["restore_command"] = wal.restore_command()
            wanted["recovery_target_timeline"] = plan.choice.target_timeline
        if plan.target.kind != LATEST:
            wanted["recovery_target_action"] = request.action
        if not request.keep_archiving:
            wanted["archive_mode"] = "off"
        self._write(wanted)
        for name in ("standby.signal", "recovery.done", "postmaster.pid", "postmaster.opts"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._staged, name))
        if wal is not None:
            put(os.path.join(self._staged, SIGNAL), "", plan.owner)
        return outside

    def _bring_configuration(self) -> None:
        """The old configuration lay elsewhere, and is brought into the data directory, without what points elsewhere."""
        staged, owner, final = self._staged, self._plan.owner, self._plan.directories.data
        unpacked = os.path.join(staged, "holdfast_configuration")
        found = self._source.configuration(self._plan.record, unpacked, owner, self._plan.programs)
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
