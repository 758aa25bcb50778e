# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a standby claims on its primary, and on the one that it leaves: a slot and a name that are its own, and who agrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.following import Following
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.landing import needed
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import endpoints
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.request import StandbyRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

_GOING = 5.0  # seconds in which a server notices that who read from it is gone


class Claims:
    """Those of the standby that ``request`` describes. ``view``: whom it follows now, None: it does not run."""

    def __init__(self, request: StandbyRequest, upstream: Upstream, view: Optional[Following]) -> None:
        self._request, self._upstream, self._view = request, upstream, view
        self._directory = request.directory
        #: whether it receives from the primary that is named, now
        self.follows = view is not None and view.in_recovery and view.streams_from([upstream.at])

    def check_synchronous(self, settings: Mapping[str, str]) -> None:
        """``settings``: the standby's own. Raises BadOption: commits on the primary wait for it by the name that it would give up."""
        from psycopg2.extensions import parse_dsn

        _count, listed = needed(self._upstream.setting("synchronous_standby_names") or "")
        own = (
            parse_dsn(settings.get("primary_conninfo") or "").get("application_name")
            or settings.get("cluster_name")
            or "walreceiver"
        )
        if own.lower() in listed and self._request.name.lower() not in listed and "*" not in listed:
            raise BadOption(
                "slot_name",
                self._request.name,
                f"would be the standby's application_name, and synchronous_standby_names on {self._upstream} names it {own!r}: commits there "
                "would wait for ever",
                f"Set slot_name: {own} (holdfast_standby_slot_name), or add {self._request.name} to synchronous_standby_names first.",
            )

    def slot(self) -> Optional[str]:
        """What has to be done about the slot: create, or replace one that lost its WAL; None: nothing. Raises ServerError."""
        name = self._request.slot
        if name is None:
            return None
        slot = self._upstream.slot(name)
        if slot is None and self._upstream.drops_slots():
            raise BadOption(
                "slot_name",
                name,
                f"is no slot of {self._upstream}, which Patroni runs: it drops slots that its configuration does not name, with the WAL that "
                "they hold",
                f"Have Patroni make it: patronictl edit-config -s slots.{name}.type=physical. Or do without one: slot_name: none.",
            )
        if slot is None:
            return "create"
        if slot["kind"] != "physical":
            raise ServerError(
                f"The replication slot {name!r} on {self._upstream} is a logical one. Choose another slot_name."
            )
        ours = self.follows and self._view is not None and self._view.slot == name
        if slot["active"] and not ours and not self._upstream.let_go(name, _GOING):
            raise ServerError(
                f"The replication slot {name!r} on {self._upstream} is used by another standby. Choose another slot_name, or stop "
                "that standby."
            )
        return "replace" if slot["wal_status"] == "lost" else None

    def check_name(self) -> None:
        """Raises ServerError: another standby goes by its name, so that nobody could tell them apart."""
        name = self._request.name

        def others() -> list[Optional[str]]:
            mine = self._upstream.slot_reader(self._request.slot) if self._request.slot and self.follows else None
            found = [row["address"] for row in self._upstream.replicas(name) if row["pid"] != mine]
            return found[1:] if self.follows and mine is None else found

        if Waiter(_GOING).until({"alone": lambda: None if others() else True}) is None:
            address = next(iter(others()), None)
            raise ServerError(
                f"Another standby ({address or 'over the socket'}) follows {self._upstream} by the application_name {name!r}. Choose "
                "another slot_name, which is that name too."
            )

    def check_leaving(self, consent: Consent) -> None:
        """Raises BadOption: it would leave a living server that it follows, and nobody agreed."""
        view = self._view
        if view is None or view.sender is None or self.follows or self._upstream.is_at(view.sender):
            return
        if not self._request.confirmed:
            refusal = BadOption(
                "primary_host",
                str(self._upstream.at),
                f"is not whom the standby in {self._directory} follows: it streams from {view.sender}, which is alive",
                f"It could perhaps never go back. If it is to follow the other one, set force: true and confirm: [{self._directory}].",
            )
            consent.need(refusal, force=True, confirm=[self._directory])

    def left_behind(self, settings: Mapping[str, str]) -> Optional[str]:
        """What to say of the slot on the server that it followed until now, by its ``settings``; None: there is none. That server may be
        dead, or another team's: whoever has it drops it."""
        from psycopg2.extensions import parse_dsn

        slot, own = settings.get("primary_slot_name"), settings.get("primary_conninfo")
        before = endpoints(parse_dsn(own)) if slot and own else []
        if not before or any(one.same_as(self._upstream.at) for one in before):
            return None
        return (
            f"The replication slot {slot!r} on {' or '.join(map(str, before))}, which it followed until now, holds WAL there until it is "
            f"dropped: SELECT pg_drop_replication_slot('{slot}')."
        )
