# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Continuous archiving of a server: set up and taken down."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving import history
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver, Step, WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archive_command import (
    engine_of,
    judge,
    keeps_nothing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archiving import running_command
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import Patroni
from ansible_collections.holdfast.postgres.plugins.module_utils.server.settings import (
    Change,
    apply,
    by_alter_system,
    configured,
    differences,
    waiting_for_restart,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


@dataclass
class ArchivingRequest:
    """What the user wants of archiving. Sizes and times as PostgreSQL writes them; None: as it is."""

    archive_timeout: str
    max_slot_wal_keep_size: Optional[str]
    summarize_wal: Optional[bool]
    #: a command of the user's own instead of the engine's
    archive_command: Optional[str]
    accept_unsafe: bool
    replace: bool


@dataclass
class ArchivingResult:
    """What a run did, or would do."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    restart_required: bool = False
    waiting: list[str] = field(default_factory=list)
    #: Patroni's members that wait for a restart
    members: list[str] = field(default_factory=list)
    settings: dict[str, dict[str, Optional[str]]] = field(default_factory=dict)


def set_up(
    connection: Connection,
    archiver: Archiver,
    host: Host,
    request: ArchivingRequest,
    check: bool,
    before: Callable[[], list[Step]] = list,
    patroni: Optional[Patroni] = None,
    consent: Optional[Consent] = None,
) -> ArchivingResult:
    """Make the server archive its WAL, unless ``check``. Nothing is restarted. ``before`` does what the archiver needs first, once
    nothing forbids it. ``patroni``: who manages the server, if it is Patroni. ``consent``: what has to be agreed to comes there.

    Raises:
        HoldfastError: the server cannot be set up so, or archives already elsewhere.
    """
    result = ArchivingResult()
    # A replica of Patroni's has the configuration for the day when it leads; its WAL and the repository are the leader's.
    replica = patroni is not None and facts.identify(connection).in_recovery
    if patroni is not None:
        patroni.check_same(connection)
        if not archiver.by_command:
            raise ServerError(
                "Patroni drops slots that are not its own at each restart and switchover, and WAL that nobody fetched goes with them. Archive by "
                "archive_command there (streaming: false): Patroni carries it to every member, and the leader always archives."
            )
    if not replica:
        archiver.refuse(connection)
    command = ""
    if archiver.by_command:
        command = request.archive_command or archiver.wal.archive_command()
        _refuse_unsafe(command, request)
        _refuse_takeover(connection, archiver.wal, command, request, result, consent or Consent())
    elif request.archive_command:
        raise BadOption("archive_command", request.archive_command, "means nothing with streaming", "Leave one out.")
    settings = archiver.settings(connection, command, request.archive_timeout)
    if request.max_slot_wal_keep_size is not None:
        settings["max_slot_wal_keep_size"] = request.max_slot_wal_keep_size
    if request.summarize_wal is not None:
        settings["summarize_wal"] = "on" if request.summarize_wal else "off"
    changes = differences(connection, settings)  # before anything is made: it refuses what the server does not know
    if not check:
        archiver.configure(True)  # what it refuses, it refuses before anything is written
    steps = before() + archiver.configure(check)
    with contextlib.suppress(HoldfastError) if check and steps else contextlib.nullcontext():
        # What prepares the repository may need the configuration that check mode did not write.
        steps += [] if replica else archiver.prepare(check)
        if archiver.by_command and not replica:
            steps += history.archive(connection, archiver.wal, host, check)
    if not replica:
        steps += archiver.join(connection, check, any(change.restart for change in changes))
    result.plan += [step.message for step in steps]
    return finish(connection, changes, bool(steps), result, check, patroni)


def take_down(
    connection: Connection,
    archiver: Archiver,
    command: Optional[str],
    check: bool,
    patroni: Optional[Patroni] = None,
) -> ArchivingResult:
    """Let the server archive no more, unless ``check``: what was set for it is taken away, so that the configuration files hold again.
    The archive stays as it is. ``command``: one of the user's own that was set instead of the engine's. Raises HoldfastError."""
    result = ArchivingResult()
    if patroni is not None:
        patroni.check_same(connection)
    changes = _resets(connection, archiver, command, patroni, result) if archiver.by_command else []
    steps = archiver.leave(connection, check)
    result.plan += [step.message for step in steps]
    return finish(connection, changes, bool(steps), result, check, patroni)


def finish(
    connection: Connection,
    changes: list[Change],
    steps: bool,
    result: ArchivingResult,
    check: bool,
    patroni: Optional[Patroni],
) -> ArchivingResult:
    """Make the changes of settings, unless ``check``, and say what waits for a restart."""
    result.plan += [_describe(change) for change in changes]
    result.changed = steps or bool(changes)
    result.settings = {change.name: {"before": change.before, "after": change.after} for change in changes}
    if changes and patroni is not None:
        patroni.configuration()  # a plan that could not be carried out is an error
        result.plan.append(f"let Patroni do that, at {patroni.url}")
    if changes and not check:
        if patroni is not None:
            patroni.apply(connection, changes)
        else:
            apply(connection, changes)
        time.sleep(0.1)  # the reload is done by signals
    result.waiting = sorted({*waiting_for_restart(connection), *(item.name for item in changes if item.restart)})
    if patroni is not None:
        result.members = patroni.waiting()
        if result.members:
            result.warnings.append(_members_message(result.members))
    result.restart_required = bool(result.waiting or result.members)
    return result


def _members_message(members: list[str]) -> str:
    return (
        f"The settings take effect on the members {', '.join(members)} with their next restart: until then, each of them archives nothing when "
        "it becomes the leader. `patronictl restart CLUSTER --pending` restarts them, one after another."
    )


def check_members(connection: Connection, patroni: Patroni) -> None:
    """Raises ServerError: it is another cluster, or a member waits for a restart, so after a switchover nothing would be archived."""
    patroni.check_same(connection)
    members = patroni.waiting()
    if members:
        raise ServerError(_members_message(members))


def _describe(change: Change) -> str:
    after = "its default" if change.after is None else repr(change.after)
    return f"set {change.name} to {after} (now {change.before!r}){', which needs a restart' if change.restart else ''}"


def _refuse_unsafe(command: str, request: ArchivingRequest) -> None:
    problems = judge(command) if request.archive_command is not None else []
    if problems and not request.accept_unsafe:
        raise BadOption(
            "archive_command",
            command,
            f"loses data: {'; '.join(problems)}",
            "Leave it out for a safe one, or, where you know that it is right, set accept_unsafe: true.",
        )


def _refuse_takeover(
    connection: Connection,
    wal: WalArchive,
    command: str,
    request: ArchivingRequest,
    result: ArchivingResult,
    consent: Consent,
) -> None:
    if facts.setting(connection, "archive_mode") != "off":
        library, current = facts.setting(connection, "archive_library") or "", running_command(connection) or ""
    elif configured(connection, "archive_mode").lower() in _OFF:
        return
    else:  # somebody has set it up, and it waits for a restart
        library, current = configured(connection, "archive_library"), configured(connection, "archive_command")
    if not library and (current == command or wal.is_own(current)):
        return
    if not library and keeps_nothing(current):
        if current:
            result.warnings.append(
                f"The archive_command that is replaced, {current!r}, lost data: {judge(current)[0]}."
            )
        return
    how = f"the archive_library {library!r}" if library else repr(current)
    problems = [] if library else judge(current)
    doubts = f" (It is not safe: {'; '.join(problems)}.)" if problems else ""
    if not request.replace:
        refusal = ServerError(
            f"The server archives already, by {how}.{doubts} Another archive would begin anew, and the old one end here. If that is what you "
            "want, set replace: true, and take a base backup right after; else adopt it (engine: "
            f"{engine_of(current) or 'as it is'}, with its own server_name and repository)."
        )
        consent.need(refusal, replace=True)
    result.warnings.append(f"The server archived by {how} before: that archive ends here.{doubts}")


_OFF = ("", "off", "false", "no", "0")
_OURS = ("archive_mode", "archive_command", "archive_timeout")


def _resets(
    connection: Connection,
    archiver: Archiver,
    command: Optional[str],
    patroni: Optional[Patroni],
    result: ArchivingResult,
) -> list[Change]:
    """What was set for archiving and is to be taken away; nothing where somebody else archives.

    ``archive_mode`` goes first and takes effect with the next restart: until then the command stays, so that nothing is lost or
    piles up.
    """
    current = configured(connection, "archive_command")
    if current and current != command and not archiver.wal.is_own(current):
        result.warnings.append(
            f"The server archives by {current!r}, which is not into {archiver.wal.description}: it stays as it is."
        )
        return []
    found = patroni.parameters(_OURS) if patroni is not None else by_alter_system(connection, _OURS)
    names = [name for name in _OURS if name in found]
    if facts.setting(connection, "archive_mode") != "off":
        if "archive_mode" in found:
            names = ["archive_mode"]
        elif configured(connection, "archive_mode").lower() in _OFF:
            return []  # the next restart is waited for
        elif names:
            result.warnings.append(
                "archive_mode is on in the configuration file, and without the command WAL may pile up: turn it off there, or set a command."
            )
    return [Change(name, found[name], None, name == "archive_mode") for name in names]
