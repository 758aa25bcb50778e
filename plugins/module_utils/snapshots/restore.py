# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of snapshots, restored into new claims: made, and made ready for a first start. Nothing of the server is touched."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import newest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import Reading
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import (
    WaitFailed,
    wait_for,
    wait_until_gone,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import accepted, check_signature
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import restore_objects as objects
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.cluster import lacking
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.engine import ENGINE, LABEL, MAP, SNAPSHOTS
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.layout import BACKUP_MODE
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow

CLAIM, JOB = "PersistentVolumeClaim", "Job"


@dataclass(frozen=True)
class RestoreRequest:
    """``backup_id``: or ``latest``; ``names``: of the new claims, by the former ones; ``settings``: for postgresql.auto.conf;
    ``awaits_recovery``: PostgreSQL is not to start there before ``pg_recover`` has seen to the WAL; ``timeout``: seconds."""

    backup_id: str
    names: Mapping[str, str]
    size: Optional[str]
    storage_class: Optional[str]
    image: Optional[str]
    settings: Mapping[str, Any]
    awaits_recovery: bool
    accept_unsigned: bool
    timeout: float


class Restore:
    """One restore: ``plan`` looks and refuses, ``carry_out`` makes. A run that died is gone on with by the next."""

    def __init__(
        self, cluster: Cluster, shelf: Shelf, request: RestoreRequest, secrets: Secrets, warnings: list[str]
    ) -> None:
        self._secrets = secrets
        self._cluster, self._shelf, self._request, self._warnings = cluster, shelf, request, warnings
        self.record = self._choose()
        self._content = self._read()
        self.names = self._named()
        self._claims: dict[str, Manifest] = {}
        self.proof = Proof()

    @property
    def namespace(self) -> str:
        """A claim of a snapshot is in the snapshot's namespace."""
        return str(self._content["namespace"])

    @property
    def pod(self) -> dict[str, Any]:
        """What a pod needs to have the restored claims where the server had its own."""
        return objects.described(self._content, self.names)

    def plan(self) -> list[str]:
        """The steps; empty: it was done. Each object has been tried by the API server's dry run.

        Raises:
            HoldfastError: something forbids it.
        """
        wrong = lacking(self._cluster, self.record)
        if wrong:
            raise CatalogError(f"The backup {self.record.id} cannot be restored: {wrong}. Nothing was made.")
        steps = []
        for one in self._content["snapshots"]:
            made = self._claim_of(one)
            self._claims[meta(made)["name"]] = made
            there = self._cluster.get(CLAIM, meta(made)["name"], self.namespace)
            if there is None:
                self._cluster.create(made, dry_run=True)
                size = spec_of(made)["resources"]["requests"]["storage"]
                steps.append(
                    f"make the claim {self.namespace}/{meta(made)['name']} ({size}) of the snapshot {one['name']} of {one['claim']}"
                )
            else:
                self._check_ours(there, made)
        prepare = self._job()
        if prepare is None:
            self.proof.unproven.append(
                "That there is a data directory: where it lies was not known when the snapshots were made, so that nothing was looked at, or made ready."
            )
        elif steps or not self._is_prepared():
            how = (
                "with backup_label laid in"
                if self._is_of_backup_mode
                else "without what a server that ended by itself leaves"
            )
            steps.append(
                f"make the data directory {self._content['data']['directory']} ready for its first start, {how}"
            )
        return steps

    def carry_out(self) -> None:
        """Make it. Raises HoldfastError: what was made stays, and the next run goes on with it."""
        # While it is read, no retention deletes it.
        with Reading(self._shelf, [self.record.id], "a restore", self._warnings):
            self._make()

    def _make(self) -> None:
        for name, made in self._claims.items():
            if self._cluster.get(CLAIM, name, self.namespace) is None:
                self._cluster.create(made)
        prepare = self._job()
        if prepare is not None and not self._is_prepared():
            self._prepare(prepare)
            for name in self._claims:
                self._cluster.patch(
                    CLAIM, name, {"metadata": {"annotations": {objects.PREPARED: self.record.id}}}, self.namespace
                )
        names = ", ".join(f"{new} of {old}" for old, new in self.names.items())
        self.proof.proven.append(f"The claims are there: {names}.")
        if self._request.awaits_recovery:
            self.proof.unproven.append(
                f"That WAL leads on from them: recover there by pg_recover (snapshots: laid_out, prepare: true, backup_id: {self.record.id}). Until then "
                "PostgreSQL does not start there."
            )
        else:
            self.proof.unproven.append("That PostgreSQL starts from them, and what it has then: start it, and look.")

    @property
    def _is_of_backup_mode(self) -> bool:
        return bool(self.record.consistency.get("mode") == BACKUP_MODE)

    def _choose(self) -> Record:
        if self._request.backup_id == "latest":
            found = [one for one in self._shelf.records(self._warnings) if one.engine == ENGINE and one.verified_at]
            record = newest(found, utcnow())
            if record is None:
                raise CatalogError(
                    f"There is no backup of volume snapshots of {self._shelf.name} in {self._shelf.repository.description}."
                )
            return record
        record = self._shelf.get(self._request.backup_id)
        if record.engine != ENGINE:
            raise BadOption(
                "backup_id", record.id, f"was made by {record.engine}, and has no volume snapshots",
                "Restore it by pg_restore (dumps) or pg_recover (whole servers).",
            )  # fmt: skip
        return record

    def _read(self) -> dict[str, Any]:
        self._shelf.verify(self.record)
        refusal = check_signature(self.record, self._secrets.of(self.record), self._secrets.asked)
        if refusal and not self._request.accept_unsigned:
            raise refusal
        if refusal:
            self._warnings.append(accepted(self.record.id))
        found = bounded.loads(self._artifact(SNAPSHOTS), 24)
        if not isinstance(found, dict) or not found.get("snapshots") or not isinstance(found.get("claims"), list):
            raise CatalogError(f"{SNAPSHOTS} of {self.record.id} does not say what is to be restored.")
        return found

    def _artifact(self, name: str) -> bytes:
        found = next((one.key for one in self.record.artifacts if one.key.split(".gpg")[0] == name), None)
        if found is None:
            return b""
        key = self._shelf.key(self.record.id, found)
        stream = stream_of(lambda: self._shelf.repository.open(key), key, self._secrets.of(self.record))
        return stream.read(bounded.LARGEST_MANIFEST)

    def _named(self) -> dict[str, str]:
        """The new claims by the former ones. Raises BadOption."""
        former = [str(one["claim"]) for one in self._content["snapshots"]]
        strange = sorted(set(self._request.names) - set(former))
        if strange:
            raise BadOption("new_claims", strange, "has no snapshot in this backup", f"It has: {', '.join(former)}.")
        names = {one: str(self._request.names.get(one) or f"{one}-restored") for one in former}
        if len(set(names.values())) < len(names) or set(names.values()) & set(former):
            raise BadOption(
                "new_claims",
                names,
                "names one twice, or the server's own claims",
                "Give each a name that is not there yet.",
            )
        return names

    def _claim_of(self, snapshot: Mapping[str, Any]) -> Manifest:
        source = next(one for one in self._content["claims"] if one["name"] == snapshot["claim"])
        size = objects.size_of(source, snapshot, self._request.size)
        storage_class = self._request.storage_class or source.get("storage_class")
        self._check_class(storage_class, str(snapshot["driver"]))
        name = self.names[str(snapshot["claim"])]
        return objects.claim(name, self.namespace, source, snapshot, size, storage_class, self.record.id)

    def _check_class(self, name: Optional[str], driver: str) -> None:
        """Raise BadOption where a claim of this class can never be made of the snapshot."""
        if name is None:
            return
        found = self._cluster.get("StorageClass", name)
        if found is None:
            raise BadOption("storage_class", name, "is not there", f"Name one of the driver {driver}.")
        if found.get("provisioner") != driver:
            raise BadOption(
                "storage_class", name, f"is of {found.get('provisioner')}, and the snapshot is of {driver}",
                "A snapshot is restored by the driver that made it.",
            )  # fmt: skip

    def _check_ours(self, there: Manifest, made: Manifest) -> None:
        name = meta(there)["name"]
        if (meta(there).get("annotations") or {}).get(objects.RESTORED_FROM) != meta(made)["annotations"][
            objects.RESTORED_FROM
        ]:
            raise BadOption(
                "new_claims",
                name,
                f"is there in {self.namespace}, and is not of this backup",
                "Nothing was made over it: give another name.",
            )

        if objects.SERVED in (meta(there).get("annotations") or {}):
            raise BadOption(
                "new_claims", name, f"is there in {self.namespace}, and a server has run on it since it was restored: it is not what the snapshot has",
                "Nothing was touched. Give another name, or delete that claim first.",
            )  # fmt: skip

    def _is_prepared(self) -> bool:
        for name in self._claims:
            there = self._cluster.get(CLAIM, name, self.namespace)
            if there is None or (meta(there).get("annotations") or {}).get(objects.PREPARED) != self.record.id:
                return False
        return True

    def _job(self) -> Optional[Manifest]:
        data = self._content.get("data") or {}
        if not data.get("directory") or data.get("claim") not in self.names:
            if self._is_of_backup_mode:
                raise CatalogError(f"{SNAPSHOTS} of {self.record.id} does not say where the data directory lies.")
            return None
        image = self._request.image or self._content["pod"].get("image")
        if not image:
            raise BadOption("image", None, "is not given, and the server's is not known", "Name one that has a shell.")
        settings = {"archive_mode": "off", **self._request.settings}
        awaits = self._request.awaits_recovery
        if awaits and not self._is_of_backup_mode:
            raise BadOption(
                "awaits_recovery", True, f"is for backups in backup mode, and {self.record.id} was made with consistency: "
                f"{self.record.consistency.get('mode')}", "WAL leads nowhere from it: it starts as it is. Leave the option out.",
            )  # fmt: skip
        if awaits and settings.get("restore_command"):
            raise BadOption(
                "settings", dict(self._request.settings), "has a restore_command, and awaits_recovery leaves that to pg_recover",
                "Drop one of them.",
            )  # fmt: skip
        # recovery.signal without a restore_command: PostgreSQL says so, and does not start.
        recovery = bool(settings.get("restore_command")) or awaits
        if self._is_of_backup_mode and not recovery:
            raise BadOption(
                "settings", dict(self._request.settings), "has no restore_command, and this backup was made in backup mode",
                "It starts only with the WAL up to the end of the backup: say how it is read, as restore_command: cp /archive/%f %p; or "
                "leave that to pg_recover (awaits_recovery: true).",
            )  # fmt: skip
        mark = hashlib.sha256("\n".join([self.record.id, *sorted(self.names.values())]).encode()).hexdigest()[:10]
        return objects.job(
            f"holdfast-prepare-{mark}",
            self.namespace,
            str(image),
            self._content,
            self.names,
            self._artifact(LABEL).decode(),
            self._artifact(MAP).decode(),
            objects.settings_text(settings),
            recovery,
            int(self._request.timeout),
            self._content["pod"].get("pull_secrets") or (),
        )

    def _prepare(self, prepare: Manifest) -> None:
        """Run the Job: it is the claims' first consumer, which some classes wait for, and it shows that there is a data directory."""
        name, cluster = meta(prepare)["name"], self._cluster
        before = cluster.get(JOB, name, self.namespace)
        if before is not None:  # of a run that died
            cluster.delete(JOB, name, self.namespace, uid=str(meta(before)["uid"]), propagation="Foreground")
            wait_until_gone(cluster, JOB, name, 60, self.namespace, str(meta(before)["uid"]))
        cluster.create(prepare)
        try:
            wait_for(cluster, JOB, name, self._request.timeout, namespace=self.namespace)
            self._compare(self._said(name))
        except WaitFailed as exc:
            raise KubernetesError(
                f"The claims {', '.join(self._claims)} could not be made ready: {exc} {self._said(name)}".rstrip()
                + " They stay, and the next run "
                "goes on with them; start nothing on them before."
            ) from exc
        finally:
            with contextlib.suppress(KubernetesError):
                cluster.delete(JOB, name, self.namespace)

    def _said(self, name: str) -> str:
        """The last words of the Job's pod."""
        said = ""
        for pod in self._cluster.list("Pod", f"batch.kubernetes.io/job-name={name}", namespace=self.namespace):
            for one in (pod.get("status") or {}).get("containerStatuses") or ():
                said = str(((one.get("state") or {}).get("terminated") or {}).get("message") or said)
        return said.strip()

    def _compare(self, said: str) -> None:
        found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        system_id, wanted = found.get("system_id"), self.record.server.get("system_id")
        if system_id and wanted and system_id != wanted:
            raise CatalogError(
                f"The volume has another server than the record says: system identifier {system_id}, and {self.record.id} is of {wanted}. Start "
                "nothing on these claims."
            )
        if system_id and wanted:
            self.proof.proven.append(f"The data directory there has the system identifier {system_id} of the record.")
        else:
            self.proof.unproven.append(
                "Whose data directory it is: its system identifier could not be read, or compared."
            )
