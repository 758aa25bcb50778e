# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's states: a backup of snapshots made, deleted, or pruned."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.identity import Identity
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.open import (
    policy_of,
    present as where_it_is,
    request_of,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import delete_one
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupResult
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.run import BackupRun
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf, check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.receiver import slot_name
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import wal_in
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import in_place, instructions
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.engine import ENGINE, Means, SnapshotEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.layout import STOPPED
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.restore import Restore, RestoreRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.source import Wanted
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.subject import settle
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.swap import Swap
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.tier import SnapshotMaker, SnapshotTier
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """How the module is run: whether nothing is to be changed, whether a diff is wanted, and by what the records say they were made."""

    check: bool
    diff: bool
    created_by: str


def connects(params: Params) -> bool:
    """Whether the server is spoken with."""
    # One that is stopped cannot be, though options for it may come from module_defaults.
    asked = params["state"] == "present" and params["consistency"] != STOPPED
    return asked and any(params[name] for name in ("login_host", "login_unix_socket", "connect_params"))


def present(params: Params, cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """Make one, unless there is enough. Raises HoldfastError."""
    wanted = _wanted(params)
    timeout, wal_timeout = (float(parse_duration(params[name], name)) for name in ("timeout", "wal_timeout"))
    identity, tier = _tier(params, cluster, warnings)
    result = BackupResult(warnings=warnings)
    progress = Progress(None if context.check else params["progress_file"])
    with contextlib.ExitStack() as stack:
        stack.callback(progress.finish)
        space = stack.enter_context(workspace())
        encryption = Encryption(params["encryption"], space)
        stack.callback(encryption.close)
        encryption.check(encrypting=True)
        tier.open_by(encryption)
        connection = stack.enter_context(_connection(params, space))
        wal = wal_in(tier.repository, tier.shelf.name, _names_alone) if connection else None
        archiving = Archiving(connection, wal, slot_name(tier.shelf.name), wal_timeout) if connection and wal else None
        subject = settle(
            cluster,
            wanted,
            connection,
            archiving,
            params["consistency"],
            params["atomic"],
            params["snapshot_class"],
        )
        request = request_of(
            params, ENGINE, subject.scope(cluster.namespace), ("full",), encryption.describe(), context.created_by
        )

        def engine(_listings: Any) -> SnapshotEngine:
            means = Means(
                cluster, connection, archiving, identity.mark, tier.shelf.name, maker.backup_id, timeout, wal_timeout
            )
            return SnapshotEngine(subject, means, result.proof, progress)

        maker = SnapshotMaker(
            engine,
            lambda: where_it_is(connection) if connection else Present(),
            request,
            Compression("none"),
            encryption,
            instructions.write,
            progress,
            result,
        )
        run = BackupRun([tier], maker, request, progress, result)
        done = run.run(context.check)
    answer: dict[str, Any] = {
        "changed": done.changed,
        "plan": done.plan,
        "pruned": tier.pruned,
        "proof": done.proof.describe(),
    }
    if done.record:
        answer["backup"] = done.record.to_dict()
    if tier.decisions:
        answer["retention"] = [asdict(decision) for decision in tier.decisions]
    return _with_diff(answer, context)


def absent(params: Params, cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """Delete one, with its snapshots. Raises HoldfastError."""
    backup_id = check_name("backup_id", params["backup_id"])
    _identity, tier = _tier(params, cluster, warnings)
    tier.repository.check(write=True)
    with _locked(tier, "a deletion", params, context):
        _look(tier)
        record = next((one for one in tier.known if one.id == backup_id), None)
        if record is not None and record.engine != ENGINE:
            raise CatalogError(
                f"The backup {backup_id} was made by {record.engine}, and has no snapshots. Nothing was deleted: the module pg_backup deletes it."
            )
        strays = {backup_id: tier.strays[backup_id]} if backup_id in tier.strays else {}
        there = delete_one(tier.shelf, backup_id, context.check, warnings, elsewhere=True)
        if not context.check:
            if record is not None and there:
                tier.remove_snapshots(record)
            tier.remove_strays(strays)
    gone = [backup_id] if there or strays else []
    answer = {
        "changed": bool(gone),
        "plan": [f"delete {name}, with its snapshots" for name in gone],
        "pruned": [{"id": name, "reasons": ["asked for"]} for name in gone],
    }
    return _with_diff(answer, context)


def restored(params: Params, cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """Into new claims. Raises HoldfastError."""
    shelf = Shelf(open_repository(params["repository"], "repository"), params["server_name"])
    shelf.repository.check(write=not context.check)
    timeout = float(parse_duration(params["timeout"], "timeout"))
    request = RestoreRequest(
        params["backup_id"],
        params["new_claims"],
        params["size"],
        params["storage_class"],
        params["image"],
        params["settings"],
        params["awaits_recovery"],
        params["accept_unsigned"],
        timeout,
    )
    with contextlib.ExitStack() as stack:
        secrets = Secrets(params["encryption"] or {}, stack.enter_context(workspace()))
        stack.callback(secrets.close)
        run = Restore(cluster, shelf, request, secrets, warnings)
        if params["in_place"]:
            swap = stack.enter_context(_swapping(params, cluster, context, warnings, "a restore"))
            return _with_diff(in_place.restore(run, swap, cluster.namespace, context.check, warnings), context)
        plan = run.plan()
        if plan and not context.check:
            run.carry_out()
    answer = {
        "changed": bool(plan),
        "plan": plan,
        "pruned": [],
        "backup": run.record.to_dict(),
        "claims": dict(run.names),
        "pod": run.pod,
        "proof": run.proof.describe(),
    }
    return _with_diff(answer, context)


def rolled_back(params: Params, cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """The volumes that a restore in place replaced. Raises HoldfastError."""
    with _swapping(params, cluster, context, warnings, "a restore that is taken back") as swap:
        return _with_diff(in_place.take_back(swap, context.check, warnings), context)


def confirmed(params: Params, cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """They go. Raises HoldfastError."""
    with _swapping(params, cluster, context, warnings, "a restore that is confirmed") as swap:
        return _with_diff(in_place.confirm(swap, params, context.check), context)


def pruned(params: Params, cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """Delete what retention lets go of the snapshots, and what runs that died left. Raises HoldfastError."""
    _identity, tier = _tier(params, cluster, warnings)
    tier.repository.check(write=not context.check)
    with _locked(tier, "a prune", params, context) as beat:
        _look(tier)
        tier.plan_prune_of(ENGINE)
        gone = [asdict(decision) for decision in tier.decisions if not decision.keep]
        leftovers = list(tier.leftovers)
        if not context.check:
            tier.prune(beat)
            gone = tier.pruned
            tier.clean()
    plan = [f"remove what the interrupted run {leftover} left" for leftover in leftovers]
    plan += [f"delete {entry['id']}: {'; '.join(entry['reasons'])}" for entry in gone]
    answer = {
        "changed": bool(plan),
        "plan": plan,
        "pruned": gone,
        "retention": [asdict(decision) for decision in tier.decisions],
    }
    return _with_diff(answer, context)


@contextlib.contextmanager
def _swapping(params: Params, cluster: Cluster, context: Context, warnings: list[str], purpose: str) -> Iterator[Swap]:
    """One run at a time gives a server's claims other volumes, and no backup is made of them meanwhile."""
    swap = in_place.swap_of(params, cluster, warnings)
    _identity, tier = _tier(params, cluster, warnings)
    with _locked(tier, purpose, params, context):
        yield swap


def _wanted(params: Params) -> Wanted:
    if not any(params[name] for name in ("stateful_set", "pod", "selector", "claims")):
        raise BadOption(
            "stateful_set", None, "is not given, and neither is pod, selector or claims", "Say which server is meant."
        )
    if params["claims"] and any(params[name] for name in ("stateful_set", "pod", "selector")):
        raise BadOption(
            "claims", params["claims"], "does not go with stateful_set, pod or selector, whose claims are found by themselves",
            "Drop one of them; claims that hold nothing of the server are named in exclude_claims.",
        )  # fmt: skip
    return Wanted(params["stateful_set"], params["pod"], params["selector"], params["claims"], params["exclude_claims"])


def _tier(params: Params, cluster: Cluster, warnings: list[str]) -> tuple[Identity, SnapshotTier]:
    shelf = Shelf(open_repository(params["repository"], "repository"), params["server_name"])
    identity = Identity(shelf, params["state_dir"])
    policy = policy_of({}, params)
    return identity, SnapshotTier(
        "repository", shelf, policy, warnings, identity, bool(params["accept_new_repository"]), cluster
    )


def _look(tier: SnapshotTier) -> None:
    tier.listing = look(tier.shelf)
    tier.known = tier.listing.records
    tier.find_strays()


@contextlib.contextmanager
def _locked(tier: SnapshotTier, purpose: str, params: Params, context: Context) -> Iterator[Any]:
    """The lock, where something is to be changed."""
    with tier.lock(purpose) as lock:
        if not context.check:
            lock.acquire(params["lock_wait"])
        yield lock.beat


@contextlib.contextmanager
def _connection(params: Params, space: str) -> Iterator[Optional[Any]]:
    if not connects(params):
        yield None
        return
    with contextlib.closing(Address(params, space).connect()) as connection:
        yield connection


def _names_alone(marker: Mapping[str, Any]) -> Encryption:
    raise BadOption(
        "encryption", None, "is not used for this", "Names are looked at, and nothing else is read of the archive."
    )


def _with_diff(answer: dict[str, Any], context: Context) -> dict[str, Any]:
    if context.diff:
        sign = "- " if "pruned" in answer and not answer.get("proof") else "+ "
        answer["diff"] = {"prepared": "".join(f"{sign}{step}\n" for step in answer["plan"])}
    return answer
