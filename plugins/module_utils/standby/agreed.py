# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be agreed to before what is in a standby's directory goes, all of it said at once."""

from __future__ import annotations

from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.decide import REWIND, Decision
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.local import Local
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest


def ask(
    local: Optional[Local], decision: Decision, request: StandbyRequest, primary: str, directory: str, consent: Consent
) -> None:
    """Have it agreed to that ``local`` in ``directory``, where there is one, is replaced or rewound, and stopped. ``primary`` is that one's
    system identifier.

    Raises:
        HoldfastError: in a run, what was not agreed to.
    """
    if local is None:
        return
    needs: list[tuple[HoldfastError, dict[str, Any]]] = []
    if not request.confirmed:
        fate = (
            "What is only here would be taken back by pg_rewind, and is lost"
            if decision.method == REWIND
            else "A new copy would take its place; what is here is kept beside, under another name"
        )
        refusal = BadOption(
            "data_directory",
            directory,
            f"cannot follow the primary as it is: {decision.why}",
            f"{fate}. If that is right, set force: true and confirm: [{directory}].",
        )
        needs.append((refusal, {"force": True, "confirm": [directory]}))
    if local.system_id() != primary and not request.accept_new_server:
        another = ServerError(
            f"{directory} is another server (system identifier {local.system_id()}) than the primary "
            f"({primary}). If it is to be replaced nevertheless, set accept_new_server: true."
        )
        needs.append((another, {"accept_new_server": True}))
    if local.running and not request.stop_server:
        refusal_to_stop = ServerError(
            f"A server is running in {directory} (process {local.instance.pid()}){'' if needs else f', and cannot follow: {decision.why}'}. "
            "Stop it, or let this be done with stop_server: true."
        )
        needs.append((refusal_to_stop, {"stop_server": True}))
    consent.need_all(needs)
