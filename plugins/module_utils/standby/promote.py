# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby that runs: looked at, and made a primary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import refuse_standby
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import answers
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.watch import lagging, observe, problems

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


@dataclass(frozen=True)
class Limits:
    """How far a standby may lag. None: as far as it likes."""

    bytes: Optional[int]
    seconds: Optional[float]


@dataclass
class Outcome:
    """What a run did, or would do. ``seen``: what there was to see of the standby before."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)
    timeline: Optional[int] = None


def check_standby(connection: Connection, upstream: Optional[Upstream], limits: Limits) -> Outcome:
    """Look at a standby. Raises ServerError: it does not follow, or lags more than is allowed."""
    seen = observe(connection, upstream)
    found = problems(seen, limits.bytes, limits.seconds)
    if found:
        raise ServerError(
            f"The standby is not well: {'; '.join(found)}. It is at {seen['replayed_lsn']}"
            + (f", the primary at {seen['primary_lsn']}." if "primary_lsn" in seen else ".")
        )
    return Outcome(seen=seen, timeline=seen["timeline"])


@dataclass(frozen=True)
class Primary:
    """The one that a standby follows. ``name`` is how it is confirmed (host:port); ``open`` connects to it."""

    name: str
    host: str
    port: str
    open: Optional[Callable[[], Upstream]]


def promote(
    connection: Connection,
    primary: Optional[Primary],
    limits: Limits,
    agreed: bool,
    timeout: int,
    check: bool,
) -> Outcome:
    """Make a standby a primary, unless ``check``, and wait for it. ``agreed``: although the old primary still answers.

    Raises:
        ServerError: it lags more than is allowed, the old primary still answers, or it did not become one.
    """
    import psycopg2

    outcome = Outcome()
    if not facts.identify(connection).in_recovery:
        outcome.timeline = _timeline(connection)
        return outcome
    refuse_standby(facts.setting(connection, "data_directory") or "")
    alive = primary is not None and answers(primary.host, primary.port)
    if primary is not None and alive and not agreed:
        raise ServerError(
            f"The primary at {primary.name} still answers. Two primaries take writes that never come together again (split brain). "
            "Stop it first, and see to it that it does not start again as a primary; the standby then has all that it wrote. If "
            f"both are to go on nevertheless, set force: true and confirm: [{primary.name}]."
        )
    upstream = primary.open() if primary is not None and alive and primary.open else None
    seen = outcome.seen = observe(connection, upstream)
    found = lagging(seen, limits.bytes, limits.seconds)
    if found:
        raise ServerError(
            f"The standby is not promoted: {'; '.join(found)}. What it has not received would be lost. Wait until it has caught up, or "
            "allow more (max_lag_bytes, max_lag_seconds)."
        )
    if primary is None:
        outcome.warnings.append(
            "It is not known which server it follows, so nobody has looked whether that one still runs."
        )
    elif not alive:
        outcome.warnings.append(
            f"The primary at {primary.name} does not answer from here: what it wrote last and did not send is not on this standby."
        )
    outcome.changed = True
    outcome.plan = [
        f"promote the standby, which has replayed {seen['replayed_lsn']} of timeline {seen['timeline']}"
        + (f", although the primary at {primary.name} still answers" if primary and alive else "")
    ]
    if check:
        return outcome
    try:
        done = facts.value(connection, "SELECT pg_promote(true, %s)", [timeout])
    except psycopg2.Error as exc:
        raise ServerError(f"The standby could not be promoted: {str(exc).splitlines()[0]}") from exc
    if not done:
        raise ServerError(
            f"The standby was told to become a primary, and is none after {timeout} seconds: it still replays what it has. Look again "
            "by state: verified, and raise timeout."
        )
    outcome.timeline = _timeline(connection)
    return outcome


def _timeline(connection: Connection) -> int:
    """The timeline that a primary writes."""
    return int(str(facts.value(connection, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"))[:8], 16)
