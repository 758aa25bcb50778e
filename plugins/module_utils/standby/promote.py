# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby that runs: looked at, and made a primary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import Incomplete, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.managers import refuse_managed, told_of_repmgr
from ansible_collections.holdfast.postgres.plugins.module_utils.server.patroni import refuse_standby
from ansible_collections.holdfast.postgres.plugins.module_utils.standby import before, landing
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.cascade import Cascade, look_behind
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import Endpoint, answers
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.watch import lagging, observe, problems
from ansible_collections.holdfast.postgres.plugins.module_utils.waiting import Waiter

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

# What becomes of commits that are to wait for standbys (option synchronous_standbys).
REQUIRED, LATER, REMOVED = "required", "later", "removed"
_RELOAD = 10.0  # seconds until a new configuration is everybody's


@dataclass(frozen=True)
class Limits:
    """How far a standby may lag. None: as far as it likes. ``accept_unknown``: also where nobody knows how far."""

    bytes: Optional[int]
    seconds: Optional[float]
    accept_unknown: bool = False


@dataclass(frozen=True)
class Primary:
    """Where the primary may be: ``endpoints`` as the options or the standby's own primary_conninfo name it, empty: unknown. ``open``
    connects to one of ``named``, which the options name; None: they name none."""

    endpoints: Sequence[Endpoint]
    named: Sequence[Endpoint] = ()
    open: Optional[Callable[[], Upstream]] = None


@dataclass(frozen=True)
class PromotionRequest:
    """``confirm``: the living primaries (host:port) beside which it is promoted nevertheless, with ``force``. ``synchronous``: one of
    REQUIRED, LATER, REMOVED. ``connect``: to ask another server of the cascade whom it follows. ``unreplayed``: the bytes that are left to
    replay of what a primary wrote that was shut down in order, None: it is not certain that it was; it is asked with the position that is
    replayed."""

    primary: Primary
    limits: Limits
    force: bool
    confirm: Sequence[str]
    synchronous: str
    timeout: int
    connect: Callable[[Endpoint], Connection]
    unreplayed: Callable[[str], Optional[int]]


@dataclass
class PromotionResult:
    """What a run did, or would do. ``seen``: what there was to see of the standby before; ``proof``: of the landing."""

    changed: bool = False
    plan: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)
    timeline: Optional[int] = None
    proof: Proof = field(default_factory=Proof)

    def describe(self) -> dict[str, Any]:
        """For a module's result."""
        timeline = {"timeline": self.timeline} if self.timeline else {}
        return {
            "changed": self.changed,
            "plan": self.plan,
            "standby": {**self.seen, **timeline},
            "proof": self.proof.describe(),
        }


def check_standby(connection: Connection, upstream: Optional[Upstream], limits: Limits) -> PromotionResult:
    """Look at a standby. Raises ServerError: it does not follow, or lags more than is allowed."""
    seen = observe(connection, upstream)
    found = problems(seen, limits.bytes, limits.seconds, limits.accept_unknown)
    if found:
        raise ServerError(
            f"The standby is not well: {'; '.join(found)}. It is at {seen['replayed_lsn']}"
            + (f", the primary at {seen['primary_lsn']}." if "primary_lsn" in seen else ".")
        )
    return PromotionResult(seen=seen, timeline=seen["timeline"])


def promote(connection: Connection, request: PromotionRequest, check: bool) -> PromotionResult:
    """Make a standby a primary, unless ``check``, wait for it, and look where it landed.

    Raises:
        ServerError: it lags more than is allowed, a primary is alive, or it did not become one.
        Incomplete: it is a primary, and cannot be relied on.
    """
    result = PromotionResult()
    if not facts.identify(connection).in_recovery:
        result.timeline = _timeline(connection)
        result.proof = landing.look(connection, result.timeline, write=False)
        return _landed(result, "It is a primary already, and cannot be relied on")
    directory = facts.setting(connection, "data_directory")
    if not directory:
        raise ServerError(
            "The role may not see where the standby's data directory is, so that nobody can tell whether Patroni or another program manages it, "
            "and promotes it by itself. Use a superuser, or grant it pg_read_all_settings."
        )
    refuse_standby(directory)
    refuse_managed(directory)
    result.warnings += told_of_repmgr(facts.setting(connection, "shared_preload_libraries"))
    seen = result.seen = observe(connection, None)
    alive = living(request.primary.endpoints, seen["receiver"])
    cascade = look_behind(alive, request.connect)
    _refuse_second(alive, cascade, seen["receiver"], request)
    alive += [above.endpoint for above in cascade.above]
    result.warnings += cascade.doubts
    upstream = None
    if request.primary.open and any(answers(endpoint) for endpoint in request.primary.named):
        upstream = request.primary.open()
        seen = result.seen = observe(connection, upstream)
    _refuse_lag(seen, request)
    result.warnings += before.look(connection, upstream, seen)
    waits = _synchronous(connection, request, result)
    if not request.primary.endpoints:
        result.warnings.append(
            "It is not known which server it follows, so nobody has looked whether that one still runs."
        )
    elif not alive:
        names = ", ".join(map(str, request.primary.endpoints))
        result.warnings.append(
            f"The primary at {names} does not answer from here: what it wrote last and did not send is not on this standby. If "
            "it was a standby itself, nobody has looked for the primary behind it."
        )
    result.changed = True
    result.plan.append(
        f"promote the standby, which has replayed {seen['replayed_lsn']} of timeline {seen['timeline']}"
        + (f", although a primary is alive ({', '.join(map(str, alive))})" if alive else "")
    )
    if waits and request.synchronous == REMOVED:
        result.plan.append("take synchronous_standby_names out, so that no write waits")
    if check:
        return result
    _promote(connection, request.timeout)
    if waits and request.synchronous == REMOVED:
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            cursor.execute("SELECT pg_reload_conf()")
        # A session takes a new configuration up between two statements, once the server's first process told it.
        Waiter(_RELOAD).until({"gone": lambda: True if landing.lacking(connection) is None else None})
    result.timeline = _timeline(connection)
    result.proof = landing.look(connection, result.timeline, write=True)
    return _landed(result, "It was promoted and is a primary, and cannot be relied on", request.synchronous == LATER)


def living(endpoints: Sequence[Endpoint], receiver: Optional[dict[str, Any]]) -> list[Endpoint]:
    """The primaries that are alive: what its WAL receiver is connected to, whatever any setting says, and who answers."""
    found = []
    if receiver is not None and receiver["status"] in (None, "streaming"):
        if receiver["host"]:
            found.append(Endpoint(receiver["host"], int(receiver["port"] or 5432)))
        else:  # the role may not see to whom
            found += list(endpoints)[:1] or [Endpoint("unknown", 0)]
    for endpoint in endpoints:
        if not any(endpoint.same_as(other) for other in found) and answers(endpoint):
            found.append(endpoint)
    return found


def _refuse_second(
    alive: Sequence[Endpoint], cascade: Cascade, receiver: Optional[dict[str, Any]], request: PromotionRequest
) -> None:
    everybody = [*alive, *(above.endpoint for above in cascade.above)]
    confirmed = {
        str(endpoint)
        for endpoint in everybody
        if str(endpoint) in request.confirm
        or any(str(other) in request.confirm and other.same_as(endpoint) for other in request.primary.endpoints)
    }
    left = [str(endpoint) for endpoint in everybody if str(endpoint) not in confirmed or not request.force]
    if not left:
        return
    how = "still answers"
    if receiver is not None and receiver["status"] in (None, "streaming"):
        silent = receiver.get("silent_seconds")
        how = "is alive: this standby's WAL receiver is connected to it" + (
            f" and heard of it {silent:.0f} seconds ago" if silent is not None else ""
        )
    below = [str(endpoint) for endpoint in cascade.standbys]
    primaries = [str(endpoint) for endpoint in alive if str(endpoint) not in below]
    above = [str(found) for found in cascade.above if str(found.endpoint) not in below]
    said = [f"The primary at {' and '.join(primaries)} {how}."] if primaries else []
    if below:
        said.append(
            f"It follows {' and '.join(below)}, which {'is a standby' if len(below) == 1 else 'are standbys'} as well, and lives on."
        )
        said.append(
            f"The primary behind it is alive: {'; '.join(above)}."
            if above
            else "No primary was seen behind it from here."
        )
    raise ServerError(
        f"{' '.join(said)} Two primaries take writes that never come together again (split brain). "
        "Stop it first, and see to it that it does not start again as a primary; the standby then has all that it wrote. If "
        f"both are to go on nevertheless, set force: true and confirm: [{', '.join(left)}]."
    )


def _refuse_lag(seen: dict[str, Any], request: PromotionRequest) -> None:
    limits = request.limits
    if seen["lag_bytes"] is None and seen["replayed_lsn"] is not None:
        seen["lag_bytes"] = request.unreplayed(seen["replayed_lsn"])
        if seen["lag_bytes"] == 0:
            seen["lag_seconds"] = 0.0
    found = lagging(seen, limits.bytes, limits.seconds, limits.accept_unknown)
    if not found:
        return
    unknown = seen["lag_bytes"] is None
    raise ServerError(
        f"The standby is not promoted: {'; '.join(found)}. What it has not received would be lost. "
        + (
            "Nobody can say how much that is: it is not connected to the primary, which was not seen to shut down in order. If that is "
            "to be borne, set accept_unknown_lag: true (holdfast_promote_accept_unknown_lag)."
            if unknown
            else "Wait until it has caught up, or allow more (max_lag_bytes, max_lag_seconds)."
        )
    )


def _synchronous(connection: Connection, request: PromotionRequest, result: PromotionResult) -> Optional[str]:
    """What every write would wait for; None: for nothing. Raises ServerError: that was not agreed to."""
    waits = landing.lacking(connection)
    if waits is None:
        return None
    if request.synchronous == REQUIRED:
        raise ServerError(
            f"The standby is not promoted: {waits}. Each write would wait for ever. Set synchronous_standbys: removed to have that setting "
            "emptied, or later if they will follow this server (holdfast_promote_synchronous_standbys)."
        )
    if request.synchronous == LATER:
        result.warnings.append(f"Each write waits until they follow: {waits}.")
    return waits


def _promote(connection: Connection, timeout: int) -> None:
    import psycopg2

    try:
        done = facts.value(connection, "SELECT pg_promote(true, %s)", [timeout])
    except psycopg2.Error as exc:
        raise ServerError(f"The standby could not be promoted: {str(exc).splitlines()[0]}") from exc
    if not done:
        raise ServerError(
            f"The standby was told to become a primary, and is none after {timeout} seconds: it still replays what it has. Look again "
            "by state: verified, and raise timeout."
        )


def _landed(result: PromotionResult, what: str, later: bool = False) -> PromotionResult:
    """Raises Incomplete: something is missing that a primary must have."""
    proof = result.proof
    if later:  # it was said, and agreed to
        waiting = [line for line in proof.missing if line.startswith("Every write waits")]
        proof.missing = [line for line in proof.missing if line not in waiting]
        proof.unproven += waiting
    if proof.missing:
        raise Incomplete(f"{what} (timeline {result.timeline}): {' '.join(proof.missing)}", result.describe())
    result.warnings += proof.unproven
    return result


def _timeline(connection: Connection) -> int:
    """The timeline that a primary writes."""
    return int(str(facts.value(connection, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"))[:8], 16)
