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

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.files import give, make_directory, put
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import fetched
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.configuration_files import ConfigurationFiles
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import is_empty
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import (
    STEERING,
    Isolated,
    measures,
    neutral,
    without_acting,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.landing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.links import WAL
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.neighbours import check_late
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.plan import RecoveryPlan, refuse_moved
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import (
    AUTO,
    SIGNAL,
    quoted,
    write_auto,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import (
    Landing,
    PrivateServer,
    end_interrupted,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import RecoveryRequest, RecoveryResult
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import NewDirectory, PhysicalSource
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.startable import (
    lacking,
    require,
    require_readable,
    taken_by,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.wal_ahead import WalReader, look_ahead
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import in_force
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import disown
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import Segment
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.target import LATEST

#: what a server that answers while it recovers needs as much of as the old one had, with its defaults
PARAMETERS = {
    "max_connections": "100",
    "max_worker_processes": "8",
    "max_wal_senders": "10",
    "max_prepared_transactions": "0",
    "max_locks_per_transaction": "64",
}
_SOCKETS = "unix_socket_directories"
_SHORT = {"max_prepared_transactions": "max_prepared_xacts", "max_locks_per_transaction": "max_locks_per_xact"}


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
        inner = {oid: plan.directories.staged(path) for oid, path in plan.directories.tablespaces.items()}
        made = NewDirectory(self._staged, inner, plan.owner, plan.programs)
        self._source.lay_out(plan.chosen.record, made, self._progress)
        self._move_wal()
        self._fetch_wal()
        instance = Instance(self._staged, plan.programs, plan.owner, self._configure())
        require_readable(instance)
        self._foresee()
        return instance

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

    def _fetch_wal(self) -> None:
        chosen, wal = self._plan.chosen, self._source.wal
        if wal is not None and wal.fetched_ahead:
            system_id = chosen.record.server.get("system_id")
            fetched.fetch(
                wal, chosen.choice.runs, chosen.archive.size, system_id, self._staged, self._plan.owner, self._progress
            )

    def recover(self, instance: Instance) -> Landing:
        """Recover to the target in private, and stop there. Raises HoldfastError: it did not come to it."""
        request, plan = self._request, self._plan
        action = "promote" if plan.chosen.target.kind == LATEST else request.action
        end: Optional[Lsn] = None
        if plan.chosen.choice.runs:
            last = plan.chosen.choice.runs[-1]
            end = plan.chosen.archive.size.end(Segment(last.timeline, last.last))
        libraries = without_acting(self._found.get("shared_preload_libraries", ""))
        users = [request.user] if request.user else ["postgres", plan.owner]
        names = [str(row["name"]) for row in plan.chosen.record.databases]
        with PrivateServer(instance, users, ["template1", "postgres", *names], _free_port()) as server:
            server.start(action == "pause", request.keep_archiving, libraries[0] if libraries[1] else None, self._major)
            landing = server.follow(
                action,
                plan.chosen.choice.backup.start_lsn,
                end,
                plan.chosen.archive.size,
                request.wal_timeout,
                self._progress,
            )
            self._progress.step("looking at what was recovered")
            look(server, landing, plan, self._staged, self._result)
            self._progress.step("stopping, to start it for all")
            server.stop()
        if action == "promote":
            # What steered the recovery has done its work, and would steer the next one.
            write_auto(self._staged, {**self._measured, **request.settings}, self._plan.owner)
            fetched.forget(self._staged)
        return landing

    def _foresee(self) -> None:
        """Read what WAL that came with the backup itself would make elsewhere: replaying makes tablespaces where they were, whether the
        backup has their files or not. Raises BadOption: that is not ours to fill."""
        plan, directories = self._plan, self._plan.directories
        reader = WalReader(plan.programs, self._staged, self._progress)
        inner = os.path.join(self._staged, WAL)
        names = sorted(name for name in os.listdir(inner) if re.fullmatch("[0-9A-F]{24}", name))
        since = plan.chosen.choice.backup.start_lsn
        if names and reader.works:
            ahead = look_ahead(reader.directory(inner, names[0], names[-1]), plan.chosen.target, since)
            for made in ahead.tablespaces:
                path = os.path.realpath(made.location)
                if made.oid in directories.late:
                    continue
                directories.late[made.oid] = path
                self._warnings.append(
                    f"The tablespace of {path} was made while the backup {plan.chosen.record.id} was taken. Replaying makes it there"
                    + ("." if is_empty(path) else f", and what is there is moved to {path}{directories.aside} before.")
                )
        for oid in directories.late:
            if oid in directories.tablespaces:
                # It was made after the position from which is replayed, and all of it is in the WAL.
                shutil.rmtree(directories.staged(directories.tablespaces.pop(oid)), ignore_errors=True)
                directories.texts.pop(oid, None)
        refuse_moved(plan.chosen.record, directories.late, self._request.tablespaces)
        directories.check()
        check_late(directories, replaces=plan.old is not None)

    def _configure(self) -> Optional[str]:
        """Write what the recovery needs. Returns the configuration file, when it is not in the directory."""
        request, plan, wal = self._request, self._plan, self._source.wal
        outside = request.config_file or (plan.old.configuration if plan.old else None)
        unpacked = os.path.join(self._staged, "holdfast_configuration")
        named: dict[str, str] = {}
        files = ConfigurationFiles(
            self._staged,
            plan.directories.data,
            plan.chosen.record.server.get("data_directory"),
            unpacked,
            plan.owner,
            plan.old is not None or request.in_place,
        )
        main = outside or os.path.join(self._staged, "postgresql.conf")
        if outside is None:
            brought = self._source.configuration(plan.chosen.record, unpacked, plan.owner, plan.programs)
            self._bring_main(files, brought, unpacked)
            named = files.settle(in_force(main, os.path.join(self._staged, AUTO)))
            shutil.rmtree(unpacked, ignore_errors=True)
            self._point(main, named)
        self._found = in_force(main, os.path.join(self._staged, AUTO))
        if outside is not None:
            self._refuse_another(outside)
        in_place = plan.in_place
        taken = measures(self._major, in_place, request.keep_archiving, request.action, self._found)
        self._result.isolated += [measure for measure in taken if measure.what not in request.settings]
        self._measured = {measure.what: measure.value for measure in taken}
        self._check_files(files)
        self._measured.update(self._raised({**self._found, **request.settings}))
        self._check_port(in_place)
        if not in_place and disown(self._staged, plan.owner):
            self._result.isolated.append(Isolated(
                "patroni.dynamic.json", None, "it is the mark of a cluster that this server is no member of", "by Patroni, when it joins one",
            ))  # fmt: skip
        steered = sorted(name for name in STEERING if self._found.get(name, STEERING[name]) != STEERING[name])
        if steered:
            self._warnings.append(
                f"The restored configuration sets {', '.join(steered)}. They are overruled while it recovers, and stand in "
                "its files as before."
            )
        wanted: dict[str, Optional[str]] = {**self._measured, **request.settings, **plan.chosen.target.settings()}
        if wal is not None:
            wanted["restore_command"] = fetched.COMMAND if wal.fetched_ahead else wal.restore_command()
            wanted["recovery_target_timeline"] = plan.chosen.choice.target_timeline
        if plan.chosen.target.kind != LATEST:
            wanted["recovery_target_action"] = request.action
        # The targets that do not count come first: PostgreSQL takes none after the one that does.
        write_auto(
            self._staged,
            {**{name: value for name, value in neutral(self._major).items() if name not in wanted}, **wanted},
            self._plan.owner,
        )
        for name in ("standby.signal", "recovery.done", "postmaster.pid", "postmaster.opts"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._staged, name))
        if wal is not None:
            put(os.path.join(self._staged, SIGNAL), "", plan.owner)
        return outside

    def _raised(self, settings: Mapping[str, str]) -> dict[str, str]:
        """What has to be higher than it is configured, where queries are to be answered before the recovery has ended: else PostgreSQL
        pauses for ever where the old server got more of it, or does not start."""
        ahead, action = self._plan.chosen.ahead, self._request.action
        if action != "pause" or ahead is None:
            return {}
        control = Instance(self._staged, self._plan.programs, self._plan.owner).control()
        raised = {}
        for name, default in PARAMETERS.items():
            told = control.get(f"{name} setting", control.get(f"{_SHORT.get(name, name)} setting", "0"))
            needed = max(ahead.needed.get(name, 0), int(told) if told.isdigit() else 0)
            have = settings.get(name, default)
            if have.isdigit() and int(have) < needed:
                raised[name] = str(needed)
        if raised:
            self._warnings.append(
                f"{', '.join(f'{name} = {value}' for name, value in raised.items())}: raised to what the old server had on the way to the "
                "target, without which it would pause before that. ALTER SYSTEM RESET takes it back, once it is promoted."
            )
        return raised

    @property
    def _major(self) -> int:
        return int(self._plan.chosen.record.server["version_num"]) // 10000

    def _check_port(self, in_place: bool) -> None:
        """Raises BadOption: beside another server, it could not start on its port; better said now than after the recovery."""
        port = self._request.settings.get("port", self._found.get("port", "5432"))
        if in_place or not self._request.start or not port.isdigit():
            return
        taken = taken_by(int(port), self._request.settings.get(_SOCKETS, self._found.get(_SOCKETS, "")))
        if taken is not None:
            raise BadOption(
                "settings", {"port": int(port)}, f"is taken by another server on this host ({taken}), so this one could not start",
                "Name a free one: settings: {port: 5433}.",
            )  # fmt: skip

    def _check_files(self, files: ConfigurationFiles) -> None:
        """Raises ServerError: something that the server needs on this host is not there."""
        request, settings = self._request, {name: value for name, value in self._measured.items() if value is not None}
        counting = {**self._found, **settings, **request.settings}
        self._measured.update(files.check_tls(counting))
        hba = request.settings.get("hba_file")
        if hba and not os.path.exists(os.path.join(self._staged, hba)):
            files.found.missing.append(f"hba_file is {hba}, which is not there.")
        require([*files.found.missing, *lacking(counting, self._plan.owner)], request.start, self._warnings)
        hosts = sorted(set(files.found.hosts))
        if hosts and self._plan.old is None:
            self._warnings.append(
                f"Its configuration reads {', '.join(hosts)}, outside its data directory: as it is on this host, not as the backup has it."
            )

    def _bring_main(self, files: ConfigurationFiles, brought: list[str], unpacked: str) -> None:
        """Where the data directory has no postgresql.conf, it lay elsewhere: it is brought, or made."""
        staged, owner = self._staged, self._plan.owner
        if os.path.exists(os.path.join(staged, "postgresql.conf")):
            return
        main = next((path for path in brought if os.path.basename(path) == "postgresql.conf"), None)
        if main is not None:
            files.bring_main(main[len(unpacked) :])
            return
        self._warnings.append(
            "The backup has no postgresql.conf: the server starts with defaults, and lets in who is local. Name config_file."
        )
        put(os.path.join(staged, "postgresql.conf"), "", owner)
        put(os.path.join(staged, "pg_hba.conf"), "local all all peer\n", owner)
        put(os.path.join(staged, "pg_ident.conf"), "", owner)

    def _point(self, main: str, named: Mapping[str, str]) -> None:
        """Let the postgresql.conf of the data directory name this directory, and no file of the old one."""
        found, final = in_force(main), self._plan.directories.data
        wanted = dict(named)
        if found.get("data_directory", final) != final:
            # postgres -D would start the server of the directory that is named here.
            wanted["data_directory"] = final
        if wanted:
            with open(main, encoding="utf-8", errors="surrogateescape") as stream:
                text = stream.read()
            text += "\n# Written by a restore: the files lie in this data directory now.\n"
            text += "".join(f"{name} = {quoted(value)}\n" for name, value in wanted.items())
            put(main, text.encode("utf-8", "surrogateescape"), self._plan.owner)

    def _refuse_another(self, outside: str) -> None:
        """Raises BadOption: with this configuration another server would be started."""
        named, final = self._found.get("data_directory"), self._plan.directories.data
        if named is not None and os.path.realpath(named) != os.path.realpath(final):
            raise BadOption(
                "config_file", outside, f"is of another server: its data_directory is {named}, so PostgreSQL would start that one",
                f"Name a copy of it that says data_directory = {quoted(final)}. Nothing was touched.",
            )  # fmt: skip


def _free_port() -> int:
    """A number for the private socket's name, which nobody else has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
