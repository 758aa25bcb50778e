# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's states: objects captured, a capture deleted, captured objects made again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.identity import Identity
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.making import FolderMaker
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.open import policy_of, request_of
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import delete_one
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupResult
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.run import BackupRun
from ansible_collections.holdfast.postgres.plugins.module_utils.capture import instructions, source
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.collect import Wanted, collect
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.content import ENGINE, encode
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.engine import CaptureEngine, CaptureTier
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.restore import Restore, RestoreRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf, check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """How the module is run: whether nothing is to be changed, whether a diff is wanted, and by what the records say they were made."""

    check: bool
    diff: bool
    created_by: str


def present(params: Params, cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """Capture, unless there is enough. Raises HoldfastError."""
    wanted = Wanted(
        params["stateful_set"],
        params["pod"],
        params["selector"],
        params["objects"],
        params["include_secrets"],
        params["exclude"],
    )
    if wanted.workload is None and not wanted.objects:
        raise BadOption(
            "stateful_set", None, "is not given, and neither is pod, selector or objects", "Say what is to be captured."
        )
    shelf = Shelf(open_repository(params["repository"], "repository"), params["server_name"])
    result, progress = BackupResult(warnings=warnings), Progress(None if context.check else params["progress_file"])
    with contextlib.ExitStack() as stack:
        stack.callback(progress.finish)
        encryption = Encryption(params["encryption"], stack.enter_context(workspace()))
        stack.callback(encryption.close)
        found = collect(cluster, wanted)
        _refuse_open_secrets(found.objects, encryption)
        content = encode(found.objects)
        request = request_of(
            params, ENGINE, wanted.scope(cluster.namespace), ("objects",), encryption.describe(), context.created_by
        )
        identity = Identity(shelf, params["state_dir"])
        accept = bool(params["accept_new_repository"])
        tier = CaptureTier("repository", shelf, policy_of({}, params), warnings, identity, accept, encryption)
        tier.content = content
        maker = FolderMaker(
            lambda _listings: CaptureEngine(found, content, request, cluster.namespace, result.proof),
            Present,
            request,
            Compression("none"),
            encryption,
            instructions.write,
            progress,
            result,
        )
        done = BackupRun([tier], maker, request, progress, result).run(context.check)
    answer: dict[str, Any] = {
        "changed": done.changed,
        "plan": done.plan,
        "pruned": tier.pruned,
        "proof": done.proof.describe(),
        "left_out": found.left_out,
        "consent": done.consent,
    }
    if done.record:
        answer["backup"] = done.record.to_dict()
    if tier.decisions:
        answer["retention"] = [asdict(decision) for decision in tier.decisions]
    return _with_plan_as_diff(answer, context, "+ ")


def absent(params: Params, _cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """Delete one. Raises HoldfastError."""
    backup_id = check_name("backup_id", params["backup_id"])
    shelf = Shelf(open_repository(params["repository"], "repository"), params["server_name"])
    shelf.repository.check(write=True)
    with shelf.lock("a deletion", warnings) as lock:
        if not context.check:
            lock.acquire(params["lock_wait"])
        record = shelf.read(backup_id)
        if record is not None and record.engine != ENGINE:
            raise CatalogError(
                f"The backup {backup_id} was made by {record.engine}, and has no objects of Kubernetes. Nothing was deleted: pg_backup deletes it, or "
                "pvc_snapshot where it is one of snapshots."
            )
        there = delete_one(shelf, backup_id, context.check, warnings)
    gone = [backup_id] if there else []
    answer = {
        "changed": there,
        "plan": [f"delete {name}" for name in gone],
        "pruned": [{"id": name, "reasons": ["asked for"]} for name in gone],
    }
    return _with_plan_as_diff(answer, context, "- ")


def restored(params: Params, cluster: Cluster, context: Context, warnings: list[str]) -> dict[str, Any]:
    """Make captured objects again. Raises HoldfastError."""
    shelf = Shelf(open_repository(params["repository"], "repository"), params["server_name"])
    shelf.repository.check(write=False)
    consent = Consent(looking=context.check)
    with contextlib.ExitStack() as stack:
        secrets = Secrets(params["encryption"] or {}, stack.enter_context(workspace()))
        stack.callback(secrets.close)
        record = source.choose(shelf, params["backup_id"] or "latest", warnings)
        if not context.check:
            # While it is read, no retention deletes it.
            stack.enter_context(Reading(shelf, [record.id], "a restore", warnings))
        objects = source.read(shelf, record, secrets, params["accept_unsigned"], consent, warnings)
        former = str(record.consistency.get("namespace"))
        if not cluster.access.namespace:
            # Where it was, not where a context of somebody's happens to point.
            cluster = Cluster(replace(cluster.access, namespace=former))
        run = Restore(cluster, former, objects, _request(params), consent, warnings)
        plan = run.plan()
        if plan and not context.check:
            run.carry_out()
    answer: dict[str, Any] = {
        "changed": bool(plan),
        "plan": plan + consent.steps(),
        "consent": consent.missing,
        "pruned": [],
        "backup": record.to_dict(),
        **run.result(),
    }
    if context.diff:
        answer["diff"] = {"before": run.difference.before, "after": run.difference.after}
    return answer


def _request(params: Params) -> RestoreRequest:
    return RestoreRequest(
        params["names"],
        params["exclude"],
        params["include_secrets"],
        params["hold"],
        params["replace"],
        params["different"] == "keep",
        params["create_namespace"],
    )


def _refuse_open_secrets(objects: Manifests, encryption: Encryption) -> None:
    """Raise BadOption where Secrets would lie in the repository for everybody who reads it."""
    named = [str(one["metadata"]["name"]) for one in objects if one["kind"] == "Secret"]
    if named and encryption.method == "none":
        raise BadOption(
            "encryption", None, f"is not given, and the Secrets {', '.join(named)} would lie in the repository for everybody who may read it",
            "Give encryption (method: aes256 with a passphrase_file, or pgp with recipients), or leave them out (include_secrets: false): then they "
            "have to come from elsewhere in a restore.",
        )  # fmt: skip


def _with_plan_as_diff(answer: dict[str, Any], context: Context, sign: str) -> dict[str, Any]:
    if context.diff:
        answer["diff"] = {"prepared": "".join(f"{sign}{step}\n" for step in answer["plan"])}
    return answer
