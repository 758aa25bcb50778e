# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server must have for pg_receivewal to stream its WAL: a replication slot, and room for one. Nothing is restarted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.setup import Outcome, Wanted, finish
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.receiver import WalReceiver
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import Patroni
from ansible_collections.holdfast.postgres.plugins.module_utils.server.settings import differences

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_SLOT = (
    "SELECT slot_type, active, (pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    " ELSE pg_current_wal_lsn() END, restart_lsn))::bigint AS behind FROM pg_replication_slots WHERE slot_name = %s"
)


def set_up(
    connection: Connection,
    receiver: WalReceiver,
    wanted: Wanted,
    check: bool,
    before: Callable[[], list[Step]],
    patroni: Optional[Patroni] = None,
) -> Outcome:
    """Make the directory and the slot, unless ``check``; settings as far as they would not do.

    Raises:
        HoldfastError: it cannot be done.
    """
    outcome = Outcome()
    minimal = facts.setting(connection, "wal_level") == "minimal"
    settings: dict[str, Optional[str]] = {"wal_level": "replica"} if minimal else {}
    for name in ("max_wal_senders", "max_replication_slots"):
        if facts.setting(connection, name) == "0":
            settings[name] = "10"
    if wanted.max_slot_wal_keep_size is not None:
        settings["max_slot_wal_keep_size"] = wanted.max_slot_wal_keep_size
    changes = differences(connection, settings)
    slot = _slot(connection, receiver)
    if slot and slot["slot_type"] != "physical":
        raise ServerError(
            f"The replication slot {receiver.slot} is a {slot['slot_type']} one. Drop it, or use another server_name."
        )
    steps = before() + receiver.configure(check) + receiver.prepare(check)
    later = any(change.restart for change in changes)
    if not slot:
        when = ", once the server was restarted" if later else ""
        steps.append(Step(f"create the replication slot {receiver.slot}{when}"))
        if not check and not later:
            facts.value(
                connection, "SELECT slot_name FROM pg_create_physical_replication_slot(%s, true)", [receiver.slot]
            )
    outcome.plan += [step.words for step in steps]
    return finish(connection, changes, bool(steps), outcome, check, patroni)


def take_down(connection: Connection, receiver: WalReceiver, check: bool) -> Outcome:
    """Drop the slot, unless ``check``. What was received stays.

    Raises:
        ServerError: the receiver still runs.
    """
    outcome = Outcome()
    slot = _slot(connection, receiver)
    if slot:
        if slot["active"]:
            raise ServerError(f"pg_receivewal still runs on the slot {receiver.slot}. Stop its service first.")
        outcome.plan.append(f"drop the replication slot {receiver.slot}")
        outcome.changed = True
        if not check:
            facts.value(connection, "SELECT pg_drop_replication_slot(%s)::text", [receiver.slot])
    return outcome


def check_running(connection: Connection, receiver: WalReceiver) -> None:
    """Raises ServerError: nobody receives."""
    slot = _slot(connection, receiver)
    if slot is None:
        raise ServerError(f"Nothing is received: there is no slot {receiver.slot}. Set it up (state: present).")
    if not slot["active"]:
        raise ServerError(
            f"Nothing is received: the slot {receiver.slot} is {slot['behind']} bytes behind, and nobody reads from it. Start the "
            f"receiver, and look at its words if it ends: {' '.join(receiver.command)}"
        )


def words(connection: Connection, receiver: WalReceiver) -> str:
    """What is known of a segment that does not come, for a message."""
    slot: dict[str, Any] = _slot(connection, receiver) or {}
    state = "runs" if slot.get("active") else "does not run"
    return f"pg_receivewal {state}, and its slot {receiver.slot} is {slot.get('behind')} bytes behind."


def _slot(connection: Connection, receiver: WalReceiver) -> Optional[dict[str, Any]]:
    found = facts.rows(connection, _SLOT, [receiver.slot])
    return found[0] if found else None
