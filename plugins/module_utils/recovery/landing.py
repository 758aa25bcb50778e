# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The landing of a recovery: what came of it is looked at while nobody else can reach it, and before it takes any other's place."""

from __future__ import annotations

import contextlib
import os
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import server_is_whole, where_it_landed
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import reachable, subscriptions
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.plan import RecoveryPlan
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.private_server import Landing, PrivateServer
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import RecoveryResult
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance


def look(server: PrivateServer, landing: Landing, plan: RecoveryPlan, directory: str, result: RecoveryResult) -> None:
    """Look at a server that was recovered in ``directory``, and runs in private unless it was shut down at its target. What is found goes to
    the ``result``.

    Raises:
        ServerError: what is there is not what was asked for.
    """
    proof, chosen, in_place = result.proof, plan.chosen, plan.old is not None
    proof.add(where_it_landed(landing.lsn, landing.commit_time, chosen.target, chosen.choice.runs, chosen.archive))
    if landing.state == "shut down":
        proof.unproven.append("It was shut down at the target, so nobody connected to its databases.")
    else:
        proof.add(server_is_whole(server.connect, server.database, directory, landing.state != "promoted"))
    if landing.state == "promoted":
        result.isolated += subscriptions(server.connect, server.database, in_place)
    if landing.state != "shut down" and not in_place:
        result.warnings += reachable(server.connect, server.database)
    for slot in _slots(plan.old):
        proof.lost.append(
            f"The replication slot {slot!r} is not in it, as no backup has slots: what reads from it begins anew."
        )
    proof.require("What was recovered is not whole, and is not used.")


def _slots(old: Optional[Instance]) -> list[str]:
    """The slots of the server that is replaced."""
    with contextlib.suppress(OSError):
        return sorted(os.listdir(os.path.join(old.directory, "pg_replslot"))) if old else []
    return []
