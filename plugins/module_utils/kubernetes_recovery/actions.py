# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery does in the cluster, an action each. Every one does nothing where it was done already."""

from __future__ import annotations

import contextlib
import json
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.applications import (
    REPLICAS,
    Target,
    who_changed,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta, spec_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import Forbidden, KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.follow import Follower
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import RECOVERY, TASK
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.predicates import progress_of
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.run_job import JobRun, carry_out
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.selected_applications import (
    Selection,
    Settings,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.start_applications import Start
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.stop_applications import Stop
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.wait import (
    WaitFailed,
    wait_for,
    wait_until_gone,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import scripts
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.journal import (
    ANNOTATION,
    Entry,
    forget,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.manifests import (
    private_job,
    script_job,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.request import Request

CLAIM, VOLUME, JOB = "PersistentVolumeClaim", "PersistentVolume", "Job"
_KEEP = 7 * 86400  # seconds that a Job of ours stays after its end
_GONE = 180.0
_SCRIPT = 1800  # seconds for a script: renames, and the removal of a data directory
_PROVE = "/holdfast/volume"

Tell = Callable[[str], None]


class Actions:
    """On the server of one StatefulSet."""

    look_script = scripts.LOOK
    #: by which the StatefulSet says what is under way
    annotation = ANNOTATION
    #: whether there may be no data that is to be kept
    anew = False

    def __init__(self, cluster: Cluster, place: Place, request: Request, tell: Tell, warnings: list[str]) -> None:
        self.cluster, self.place, self._request = cluster, place, request
        self._tell, self._warnings = tell, warnings

    # before anything is stopped

    def look(self, run: str) -> dict[str, list[str]]:
        """What is there: ``user``, ``group``, ``free`` and ``size`` (bytes), ``beside``, ``wal``, ``tablespace``. As the owner, where the pod does
        not say who that is. Raises KubernetesError."""
        node = self._node()
        found = self._script("look", run, self.look_script, {}, self.place.user, self.place.group, node)
        if found.get("there") != ["yes"]:
            return found
        owner = int(found["user"][0])
        if "inside" not in found and owner not in (0, self.place.user):
            found = self._script("look", run, self.look_script, {}, owner, int(found["group"][0]), node)
        return found

    def prove(self, entry: Entry) -> str:
        """Have the playbook plan it beside the running server: backup, WAL, signature, target and room. Returns its line. Raises HoldfastError."""
        request = self._request.run_request(
            self.place,
            {"holdfast_data_directory": f"{_PROVE}/.holdfast-{entry.id}"},
            entry.user,
            claims={**self._request.pod["claims"], self.place.claim: _PROVE},
            sub_paths={self.place.claim: self.place.sub_path},
            node=self._node(),
            check=True,
        )
        return self._run(f"holdfast-prove-{self.place.stateful_set}", request)

    def is_exclusive(self) -> bool:
        """Whether no other pod may mount the volume while the server runs."""
        claim = self.cluster.get(CLAIM, self.place.claim) or {}
        return "ReadWriteOncePod" in (spec_of(claim).get("accessModes") or ()) and self._server_pod() is not None

    # the steps

    def volume(self) -> tuple[str, str]:
        """The volume's name, and the policy that it has now. Empty: it may not be read here."""
        claim = self.cluster.get(CLAIM, self.place.claim) or {}
        name = str(spec_of(claim).get("volumeName") or "")
        try:
            return name, str(spec_of(self.cluster.get(VOLUME, name) or {}).get("persistentVolumeReclaimPolicy") or "")
        except Forbidden as exc:
            self._not_retained(name, exc)
            return name, ""

    def retain(self, name: str, policy: str) -> None:
        """Have the volume stay whatever becomes of its claim."""
        if policy in ("", "Retain"):
            return
        try:
            self.cluster.patch(VOLUME, name, {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
        except Forbidden as exc:
            self._not_retained(name, exc)

    def _not_retained(self, name: str, exc: Forbidden) -> None:
        self._warnings.append(
            f"The volume {name} could not be set to Retain meanwhile: {exc} It is safe as long as nobody deletes its claim {self.place.claim}."
        )

    def stop(self) -> list[str]:
        """Scale it to 0, and wait until its pod has ended. What would scale it up again is refused, or paused."""
        self._is_to_serve()
        return Stop(self.cluster, *self._scaled()).run().plan

    def _is_to_serve(self) -> None:
        """Also where somebody stopped it: what is recovered is to serve."""
        found = self._stateful_set()
        notes = meta(found).get("annotations") or {}
        if not spec_of(found).get("replicas", 1) and REPLICAS not in notes:
            body = {"metadata": {"resourceVersion": meta(found)["resourceVersion"], "annotations": {REPLICAS: "1"}}}
            self.cluster.patch("StatefulSet", self.place.stateful_set, body)

    def would_stop(self) -> None:
        """What would keep it from being stopped, or start it in the middle, said before anything is done. Raises KubernetesError."""
        selection, settings, book, tell = self._scaled()
        Stop(self.cluster, selection, replace(settings, dry_run=True), book, tell).run()

    def make(self, entry: Entry) -> None:
        """The hidden directory, and in it the room for what is laid out; in a new volume the part of it that the server mounts, too."""
        if self._request.beside is not None and self.place.sub_path:
            top = replace(self.place, sub_path="")
            told = {"PART": self.place.sub_path}
            self._script("part", entry.id, scripts.PART, told, entry.user, entry.group, place=top)
        self._script("make", entry.id, scripts.MAKE, self._told(entry), entry.user, entry.group)

    def lay_out(self, entry: Entry) -> str:
        """Have the playbook lay the backup out in the hidden directory, which it sees as the one that PGDATA lies in. Returns its line."""
        new = posixpath.join(entry.hidden, "new")
        request = self._request.run_request(
            self.place,
            {"holdfast_data_directory": self.place.data},
            entry.user,
            claims={**self._request.pod["claims"], self.place.claim: self.place.folder},
            sub_paths={self.place.claim: self.place.in_volume(new)},
        )
        return self._run(self._task, request, lambda: self.make(entry))

    def recover(self, entry: Entry) -> dict[str, Any]:
        """Have the server's own image recover it, and look: what it said of where it landed. Raises KubernetesError: it failed."""
        name = self._job_name("private", entry.id)
        there = self.cluster.get(JOB, name)
        if there is not None and progress_of(there).failed:  # of a run that ended so: this one tries it again
            self._delete(name, str(meta(there)["uid"]))
            there = None
        if there is None:
            self.cluster.create(self._private(name, entry))
        try:
            wait_for(self.cluster, JOB, name, float(self._request.deadline), tell=self._tell)
        except WaitFailed as exc:
            said = _object(self._said(name, "holdfast"))
            raise KubernetesError(str(said.get("error") or f"{exc} {self._said(name, 'server')}".strip())) from exc
        found = _object(self._said(name, "holdfast"))
        if not found.get("lsn") and not found.get("timeline"):
            raise KubernetesError(
                f"The Job {name} ended well, and its pod left no result, so that what it recovered is not known. Is pod.image one of this collection?"
            )
        return found

    def require_stopped(self) -> None:
        """Raises KubernetesError: somebody has started the server again meanwhile, on the data that is to be exchanged."""
        found = self._stateful_set()
        pod = self._server_pod()
        if spec_of(found).get("replicas", 1) or pod is not None:
            who = who_changed(found, "replicas") or "somebody"
            raise KubernetesError(
                f"The StatefulSet {self.place.stateful_set} was stopped, and has been started again meanwhile by {who}: what manages it has to be paused "
                "first (on_managed: pause), or does not let itself be recognised."
            )

    def require_volume(self, entry: Entry) -> None:
        """Raises KubernetesError: the claim is not on the volume that it was on, which has the old data. Nothing is to be said of that from here."""
        claim = self.cluster.get(CLAIM, self.place.claim) or {}
        now = str(spec_of(claim).get("volumeName") or "")
        if entry.volume and now != entry.volume:
            raise KubernetesError(
                f"The claim {self.place.claim} is on {f'the volume {now}' if now else 'no volume'}, and was on {entry.volume} when this recovery was begun "
                f"at {entry.began}: what was there before is in {entry.volume} alone. Nothing was done. Give the claim that volume again; or, to leave "
                f"this recovery as it is: {forget(self.place.stateful_set, self.annotation)}."
            )

    def swap(self, entry: Entry) -> None:
        """The new data takes the old one's place."""
        self.require_volume(entry)
        told = {**self._told(entry), **({"ANEW": "yes"} if self.anew or self._request.beside is not None else {})}
        self._script("swap", entry.id, scripts.SWAP, told, entry.user, entry.group)

    def start(self) -> list[str]:
        """Scale it to what it had, and wait until it is ready. Who was paused goes on."""
        self._is_to_serve()
        plan = Start(self.cluster, *self._scaled()).run().plan
        # Also where a run that was killed has scaled it, which is nothing to start any more.
        wait_for(self.cluster, "StatefulSet", self.place.stateful_set, self._request.timeout, tell=self._tell)
        found = self._stateful_set()
        if not spec_of(found).get("replicas", 1):  # of which none is all that is wanted
            who = who_changed(found, "replicas") or "somebody"
            raise KubernetesError(
                f"The StatefulSet {self.place.stateful_set} was scaled to 0 meanwhile by {who}: no pod of it serves."
            )
        return plan

    # the way back, and the end

    def move_back(self, entry: Entry) -> None:
        """The old data takes its place again."""
        if entry.hidden:
            self.require_volume(entry)
            self._script("back", entry.id, scripts.BACK, self._told(entry), entry.user, entry.group)

    def remove(self, entry: Entry) -> None:
        """What was made, or was kept, in the hidden directory."""
        if entry.hidden:
            self._script("remove", entry.id, scripts.REMOVE, self._told(entry), entry.user, entry.group, self._node())

    def release(self, entry: Entry) -> None:
        """The volume has the policy again that it had."""
        if entry.policy and entry.policy != "Retain" and entry.volume:
            self.require_volume(entry)  # one without a claim would be deleted by that
            self.cluster.patch(VOLUME, entry.volume, {"spec": {"persistentVolumeReclaimPolicy": entry.policy}})

    def clear_jobs(self) -> None:
        """End whatever pods of ours are still at work on the volume."""
        found = self.cluster.list(JOB, f"{RECOVERY}={self.place.stateful_set}")
        for task in (self._task, f"holdfast-prove-{self.place.stateful_set}"):
            found += self.cluster.list(JOB, f"{TASK}={task}")
        for one in found:
            self._delete(str(meta(one)["name"]), str(meta(one)["uid"]))

    # how

    @property
    def _task(self) -> str:
        return f"holdfast-recover-{self.place.stateful_set}"

    def _job_name(self, what: str, run: str) -> str:
        return f"holdfast-{what}-{self.place.stateful_set}-{run}"

    def _told(self, entry: Entry) -> dict[str, str]:
        return {"HIDDEN": entry.hidden, "NEW": posixpath.join(entry.hidden, "new", self.place.name)}

    def _stateful_set(self) -> Manifest:
        found = self.cluster.get("StatefulSet", self.place.stateful_set)
        if found is None:
            raise KubernetesError(f"The StatefulSet {self.place.stateful_set} was deleted meanwhile.")
        return found

    def _server_pod(self) -> Optional[Manifest]:
        for pod in self.cluster.list("Pod"):
            used = {
                (one.get("persistentVolumeClaim") or {}).get("claimName") for one in spec_of(pod).get("volumes") or ()
            }
            ours = RECOVERY in (meta(pod).get("labels") or {}) or TASK in (meta(pod).get("labels") or {})
            ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            if self.place.claim in used and not ours and not ended:
                return pod
        return None

    def _node(self) -> Optional[str]:
        """Where the volume is in use: a pod of another node may not mount it."""
        pod = self._server_pod()
        return str(spec_of(pod).get("nodeName") or "") or None if pod else None

    def _scaled(self) -> tuple[Selection, Settings, None, Tell]:
        target = Target("StatefulSet", self.place.namespace, self.place.stateful_set)
        asked = self._request
        settings = Settings(asked.on_managed, asked.argocd_namespace, True, asked.timeout, False)
        return Selection((target,)), settings, None, self._tell

    def _run(self, task: str, request: Any, before: Callable[[], None] = lambda: None) -> str:
        """A run of our playbook, made or found, followed to its end. ``before``: where it has to be made."""
        run = JobRun(self.cluster, task, request, _KEEP)
        if run.status in ("absent", "Failed"):
            before()
        carry_out(run.present(), False)
        return Follower(self.cluster, run.name, self._tell).to_the_end(self._request.deadline + _GONE).line

    def _script(
        self,
        what: str,
        run: str,
        script: str,
        told: Mapping[str, str],
        user: Optional[int],
        group: Optional[int],
        node: Optional[str] = None,
        place: Optional[Place] = None,
    ) -> dict[str, list[str]]:
        """Run one beside the data; what it said, by key. One of its name that is there is another run's, and is ended first."""
        name, pod = self._job_name(what, run), self._request.pod
        before = self.cluster.get(JOB, name)
        if before is not None:
            self._delete(name, str(meta(before)["uid"]))
        variables = {"PGDATA": self.place.data, "MOUNT": self.place.mount, **told}
        made = script_job(
            name, place or self.place, script, variables, pod["image"], user, group, _SCRIPT, node,
            tuple(pod["image_pull_secrets"]), pod["image_pull_policy"],
        )  # fmt: skip
        self.cluster.create(made)
        try:
            wait_for(self.cluster, JOB, name, float(_SCRIPT), tell=self._tell)
            said = self._said(name, "script")
        except WaitFailed as exc:
            raise KubernetesError(f"{exc} {self._said(name, 'script')}".strip()) from exc
        finally:
            with contextlib.suppress(KubernetesError):
                # It is there as long as its pod is, so that whoever comes next sees that.
                self.cluster.delete(JOB, name, propagation="Foreground")
        found: dict[str, list[str]] = {}
        for line in said.splitlines():
            key, equals, value = line.partition("=")
            if equals:
                found.setdefault(key, []).append(value)
        if not found:
            raise KubernetesError(f"The Job {name} ended well, and said nothing, so that what it did is not known.")
        return found

    def _private(self, name: str, entry: Entry) -> Manifest:
        pod = self._request.pod
        told = {
            "TARGET": json.dumps(dict(self._request.option)),
            "AMCHECK": self._request.amcheck,
            "CHECK_TIME": str(self._request.check_time),
        }
        if self._request.beside is not None:
            told["BESIDE"] = json.dumps(dict(self._request.beside))
        directory = posixpath.join(entry.hidden, "new", self.place.name) if entry.hidden else self.place.data
        return private_job(
            name, self.place, directory, entry.user, entry.group, pod["image"], told,
            self._request.deadline, tuple(pod["image_pull_secrets"]), pod["image_pull_policy"],
        )  # fmt: skip

    def _said(self, name: str, container: str) -> str:
        """The last words of a container of a Job's pod."""
        said = ""
        for pod in self.cluster.list("Pod", f"batch.kubernetes.io/job-name={name}"):
            for one in (pod.get("status") or {}).get("containerStatuses") or ():
                if one.get("name") == container:
                    said = str(((one.get("state") or {}).get("terminated") or {}).get("message") or said)
        return said.strip()

    def _delete(self, name: str, uid: str) -> None:
        self.cluster.delete(JOB, name, uid=uid, propagation="Foreground")
        wait_until_gone(self.cluster, JOB, name, _GONE, uid=uid)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
