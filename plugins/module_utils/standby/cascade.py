# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom those follow that a standby follows: in a cascade the primary is behind another standby, and it is the one that must not live on
beside a standby that is promoted."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import Endpoint, answers, endpoints

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_RECEIVER = "SELECT status, sender_host AS host, sender_port AS port FROM pg_stat_wal_receiver"


@dataclass(frozen=True)
class Above:
    """A server that a standby of the cascade follows. ``through``: that standby; ``connected``: its receiver is connected, else it answers from
    here."""

    endpoint: Endpoint
    through: Endpoint
    connected: bool

    def __str__(self) -> str:
        how = f"{self.through} is connected to it" if self.connected else "it answers"
        return f"{self.endpoint}, which {self.through} follows ({how})"


@dataclass
class Cascade:
    """``standbys``: those that were asked and are none that writes; ``above``: who lives behind them; ``doubts``: sentences on what could not
    be told."""

    standbys: list[Endpoint] = field(default_factory=list)
    above: list[Above] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def look_behind(first: Sequence[Endpoint], connect: Callable[[Endpoint], Connection]) -> Cascade:
    """Ask those that live whom they follow, and so on upwards."""
    import psycopg2

    found = Cascade()
    known, left = list(first), list(first)
    while left:
        asked = left.pop(0)
        try:
            connection = connect(asked)
            try:
                if not facts.identify(connection).in_recovery:
                    continue
                upper = _upstreams(
                    asked, facts.rows(connection, _RECEIVER), facts.setting(connection, "primary_conninfo")
                )
            finally:
                connection.close()
        except (HoldfastError, psycopg2.Error) as exc:
            found.doubts.append(
                f"Whether {asked} is a standby itself, of a primary that lives, is not known, as it cannot be asked: {' '.join(str(exc).split())}"
            )
            continue
        found.standbys.append(asked)
        if not upper:
            found.doubts.append(f"{asked} is a standby itself, and does not tell whom it follows.")
        for endpoint, connected in upper:
            if any(endpoint.same_as(other) for other in known):
                continue
            known.append(endpoint)
            if connected or answers(endpoint):
                found.above.append(Above(endpoint, asked, connected))
                left.append(endpoint)
            else:
                found.doubts.append(
                    f"{endpoint}, which {asked} follows, does not answer from here: what it wrote last is perhaps on no standby."
                )
    return found


def _upstreams(
    asked: Endpoint, receivers: Sequence[dict[str, Any]], conninfo: Optional[str]
) -> list[tuple[Endpoint, bool]]:
    """Whom a standby follows, as its receiver and its setting tell, each with whether it is connected."""
    from psycopg2.extensions import parse_dsn

    found = [
        (_seen_from_here(Endpoint(str(row["host"]), int(row["port"] or 5432)), asked), True)
        for row in receivers
        if row["status"] == "streaming" and row["host"]
    ]
    for endpoint in endpoints(parse_dsn(conninfo)) if conninfo else []:
        here = _seen_from_here(endpoint, asked)
        if not any(here.same_as(other) for other, _connected in found):
            found.append((here, False))
    return found


def _seen_from_here(endpoint: Endpoint, asked: Endpoint) -> Endpoint:
    """What another host calls itself, is that host here."""
    if _is_own_host(endpoint) and not _is_own_host(asked):
        return Endpoint(asked.host, endpoint.port, asked.address)
    return endpoint


def _is_own_host(endpoint: Endpoint) -> bool:
    target = endpoint.address or endpoint.host
    if target.startswith("/") or target == "localhost":
        return True
    try:
        return ipaddress.ip_address(target).is_loopback
    except ValueError:
        return False
