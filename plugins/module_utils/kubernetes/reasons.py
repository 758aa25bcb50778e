# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a pod, a claim or a Job does not get on, in words, from its status and its events (pure).

``certain``: it cannot mend itself, so that who waits need not wait any longer. The others may pass: a node can be added, a registry can
come back. They are told when they are seen, and end the wait when they stay.
Sources: pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime, pkg/kubelet/events, and what Kubernetes 1.36 wrote in tests/kubernetes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest, Manifests, name_of


@dataclass(frozen=True)
class Trouble:
    """``code``: image, unschedulable, mount, configuration, oom, evicted, crash, quota, denied, claim, deadline, preempted, start;
    ``message``: a sentence, with what to do; ``certain``: it does not pass by itself."""

    code: str
    message: str
    certain: bool = False


_SAID = 500  # characters of what a container said
# What a registry says of an image that it will not have by waiting.
_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|does not exist|no such|name unknown|denied|unauthorized|invalid reference|no match for platform|403|401",
    re.I,
)
_WHY_UNSCHEDULABLE = (
    (re.compile(r'persistentvolumeclaim "([^"]+)" not found'), "the claim {0} does not exist", True),
    (re.compile(r'persistentvolumeclaim "([^"]+)" is being deleted'), "the claim {0} is being deleted", False),
    (
        re.compile(r"unbound immediate PersistentVolumeClaims"),
        "a claim of it is not bound: its storage class does not provide the volume",
        False,
    ),
    (
        re.compile(r"ReadWriteOncePod access mode"),
        "a claim of it is ReadWriteOncePod, and another pod has it",
        False,
    ),
    (
        re.compile(r"volume node affinity conflict|didn't match PersistentVolume's node affinity"),
        "its volume is in another zone, or on another node, than the pod may be",
        True,
    ),
    (re.compile(r"Insufficient ([\w./-]+)"), "no node has enough {0} free: ask for less, or add a node", False),
    (re.compile(r"Too many pods"), "the nodes have as many pods as they may", False),
    (
        re.compile(r"untolerated taint(?:\(s\))?(?: \{([^}]*)\})?"),
        "the nodes are tainted ({0}), and the pod does not tolerate it",
        False,
    ),
    (
        re.compile(r"didn't match Pod's node affinity/selector"),
        "no node has the labels, or the name, that it asks for",
        False,
    ),
    (re.compile(r"no nodes available|0/0 nodes"), "there is no node", False),
)
_MOUNT = (
    (re.compile(r'secret "([^"]+)" not found'), "the Secret {0}, which it mounts, does not exist", True),
    (re.compile(r'configmap "([^"]+)" not found'), "the ConfigMap {0}, which it mounts, does not exist", True),
    (
        re.compile(r"references non-existent (?:secret|config) key: (\S+)"),
        "the key {0}, which it mounts, is not in its Secret or ConfigMap",
        True,
    ),
    (
        re.compile(r"Multi-Attach error"),
        "its volume is attached to another node: a claim of ReadWriteOnce can be used on one node alone; end who has it, or pin the pod there",
        False,
    ),
    (
        re.compile(r"-t nfs\d? (\S+).*(?:bad option|unknown filesystem type|helper program)"),
        "its node has no program that mounts NFS ({0}): install nfs-common (Debian) or nfs-utils there",
        False,
    ),
    (re.compile(r"-t nfs\d? (\S+)"), "the NFS server's {0} cannot be mounted from its node", False),
    (
        re.compile(r"mount\.nfs|NFS|Connection timed out|No route to host"),
        "the NFS server cannot be mounted from the node",
        False,
    ),
)


def troubles(objects: Iterable[Manifest], events: Iterable[Manifest] = ()) -> list[Trouble]:
    """What is wrong with these pods, claims and Jobs, the certain ones first. ``events`` of them; what the status says already is told once."""
    found: list[Trouble] = []
    by_object: dict[str, Manifests] = {}
    for event in events:
        by_object.setdefault(str((event.get("involvedObject") or {}).get("uid") or ""), []).append(event)
    for one in objects:
        mine = _newest(by_object.get(str((one.get("metadata") or {}).get("uid") or ""), ()))
        kind = one.get("kind")
        if kind == "Pod":
            found += _of_pod(one, mine)
        elif kind == "PersistentVolumeClaim":
            found += _of_claim(one, mine)
        else:
            found += _of_controller(one, mine)
    unique = list({trouble.message: trouble for trouble in found}.values())
    # A claim's own words say more than those of the pod that waits for it.
    return sorted(unique, key=lambda trouble: (not trouble.certain, trouble.code != "claim"))


def _newest(events: Iterable[Manifest]) -> Manifests:
    return sorted(
        events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), reverse=True
    )


def _text(value: Any) -> str:
    return " ".join(str(value or "").split())


def _of_pod(pod: Manifest, events: Sequence[Manifest]) -> list[Trouble]:
    status, name = pod.get("status") or {}, name_of(pod)
    found: list[Trouble] = []
    if status.get("reason") == "Evicted":
        found.append(Trouble("evicted", f"{name} was evicted from its node: {_text(status.get('message'))}", True))
    elif status.get("reason") == "DeadlineExceeded":
        found.append(Trouble("deadline", f"{name} was ended: its time (activeDeadlineSeconds) was over.", True))
    for one in status.get("conditions") or ():
        if one.get("type") == "DisruptionTarget" and one.get("status") == "True":
            found.append(
                Trouble(
                    "preempted",
                    f"{name} was taken from its node ({one.get('reason')}): {_text(one.get('message'))}",
                    False,
                )
            )
        if one.get("type") == "PodScheduled" and one.get("status") == "False" and one.get("reason") == "Unschedulable":
            found.append(_unschedulable(name, _text(one.get("message"))))
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in containers:
        trouble = _of_container(name, container, events)
        if trouble:
            found.append(trouble)
    running = any((container.get("state") or {}).get("running") for container in containers)
    if not running and status.get("phase") in (None, "Pending"):
        found += _of_events(name, events)
    return found


def _unschedulable(name: str, message: str) -> Trouble:
    for pattern, words, certain in _WHY_UNSCHEDULABLE:
        found = pattern.search(message)
        if found:
            # Where the nodes differ, each has a reason of its own: what is certain of one is not of all.
            alone = len(re.findall(r"\d+ (?:node\(s\)|Insufficient)", message)) <= 1
            why = words.format(*(group or "?" for group in found.groups()))
            return Trouble("unschedulable", f"{name} cannot be placed on a node: {why} ({message}).", certain and alone)
    return Trouble("unschedulable", f"{name} cannot be placed on a node: {message}.")


def _of_container(pod: str, container: Manifest, events: Sequence[Manifest]) -> Optional[Trouble]:
    name = f"{pod} (container {container.get('name')})"
    state = container.get("state") or {}
    wait, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    reason, message = str(wait.get("reason") or ""), _text(wait.get("message"))
    image = container.get("image")
    if reason in ("InvalidImageName", "ErrImageNeverPull"):
        why = (
            "its name is none"
            if reason == "InvalidImageName"
            else "it is not on the node, and imagePullPolicy is Never"
        )
        return Trouble("image", f"{name}: the image {image} cannot be used: {why}.", True)
    if reason in (
        "ErrImagePull",
        "ImagePullBackOff",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    ):
        if reason == "ImagePullBackOff":  # after some attempts that is all it says; an event says why
            message = next(
                (said for event in events if "ailed to pull" in (said := _text(event.get("message")))), message
            )
        never = bool(_NO_SUCH_IMAGE.search(message)) or reason == "SignatureValidationFailed"
        return Trouble(
            "image",
            f"{name}: the image {image} cannot be pulled: {message or reason}. Look at its name and tag, and at imagePullSecrets.",
            never,
        )
    if reason == "CreateContainerConfigError":
        return Trouble(
            "configuration",
            f"{name} cannot be made: {message}. Look at the Secret or ConfigMap that it names, and at its keys.",
            "cache" not in message,  # the kubelet has not read them yet
        )
    if reason in ("CreateContainerError", "RunContainerError", "PostStartHookError"):
        return Trouble(
            "start",
            f"{name} cannot be started: {message or reason}.",
            reason != "PostStartHookError" and "already in use" not in message,
        )
    for one in (ended, last):
        if one.get("reason") == "OOMKilled":
            why = "as it used more memory than its limit (OOMKilled). Give it more: resources.limits.memory"
            return Trouble("oom", f"{name} was killed, {why}.", not state.get("running"))
    if reason == "CrashLoopBackOff":
        return Trouble(
            "crash", f"{name} ends again and again ({_ended(last)}); its log says why: kubectl logs --previous."
        )
    if state.get("running") and not container.get("ready", True) and last.get("exitCode"):
        return Trouble("crash", f"{name} was begun anew, and is not yet at work; before it {_ended(last)}.")
    if ended and ended.get("exitCode"):
        return Trouble("crash", f"{name} {_ended(ended)}.", True)
    return None


def said_by(terminated: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a run of ours said as its container ended (``terminated``, of a status); empty where it said nothing, or is none of ours."""
    try:
        found = json.loads(str(terminated.get("message", "")))
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("holdfast") == 1 else {}


def _ended(state: Manifest) -> str:
    code, reason = state.get("exitCode"), state.get("reason") or "Error"
    # A sentence of ours has its cause in front, and a log at its end.
    said = str(said_by(state).get("line") or "")[:_SAID] or _text(state.get("message"))[-_SAID:]
    code_said = {137: " (killed)", 143: " (told to end)", 126: " (not executable)", 127: " (no such program)"}.get(
        code or 0, ""
    )
    return (
        f"ended with exit code {code}{code_said}"
        + (f", {reason}" if reason != "Error" else "")
        + (f": {said}" if said else "")
    )


def _of_events(name: str, events: Sequence[Manifest]) -> list[Trouble]:
    """Of a pod that has not started: what keeps its volumes and its network from being there."""
    for event in events:
        reason, message = event.get("reason"), _text(event.get("message"))
        if reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
            for pattern, words, certain in _MOUNT:
                found = pattern.search(message)
                if found:
                    return [
                        Trouble("mount", f"{name} cannot start: {words.format(*found.groups())}. ({message})", certain)
                    ]
            return [Trouble("mount", f"{name} cannot start, as a volume of it cannot be mounted: {message}")]
        if reason == "FailedCreatePodSandBox":
            return [Trouble("start", f"{name} cannot start on its node: {message}")]
        if reason in ("Scheduled", "Pulling", "Pulled", "Created", "Started"):
            return []
    return []


def _of_claim(claim: Manifest, events: Sequence[Manifest]) -> list[Trouble]:
    name, status = name_of(claim), claim.get("status") or {}
    if status.get("phase") == "Lost":
        return [Trouble("claim", f"{name} has lost its volume.", True)]
    if status.get("phase") == "Bound":
        return []
    for event in events:
        reason, message = event.get("reason"), _text(event.get("message"))
        if reason == "ProvisioningFailed":
            never = "not found" in message or "is less than the size" in message
            return [Trouble("claim", f"{name} stays Pending: {message}.", never)]
        if reason == "FailedBinding":
            return [
                Trouble(
                    "claim",
                    f"{name} stays Pending: {message}. It names no storage class, and the cluster has no default one: name one.",
                    not (claim.get("spec") or {}).get("storageClassName") and "no storage class" in message,
                )
            ]
        # Each further attempt is announced ("Provisioning"), which takes nothing back of how the last one ended.
        if reason in ("ProvisioningSucceeded", "WaitForFirstConsumer"):
            return []
    return []


def _of_controller(one: Manifest, events: Sequence[Manifest]) -> list[Trouble]:
    """A Job, StatefulSet, ReplicaSet or Deployment whose pods are not even made."""
    for condition in (one.get("status") or {}).get("conditions") or ():
        # Events of a Deployment's pods are its ReplicaSet's; this is what that said last.
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return [_not_made(name_of(one), _text(condition.get("message")))]
    for event in events:
        reason, message = event.get("reason"), _text(event.get("message"))
        if reason in ("SuccessfulCreate", "Completed"):
            return []
        if reason == "FailedCreate":
            return [_not_made(name_of(one), message)]
        if reason == "BackoffLimitExceeded":
            return []
    return []


def _not_made(name: str, message: str) -> Trouble:
    if "exceeded quota" in message or "failed quota" in message:
        return Trouble("quota", f"{name} cannot make its pod, for the namespace's quota: {message}", True)
    if re.search(r"admission webhook|PodSecurity|ValidatingAdmissionPolicy|is forbidden", message):
        return Trouble("denied", f"{name} cannot make its pod: {message}", "failed calling webhook" not in message)
    if "serviceaccount" in message.lower() and "not found" in message:
        return Trouble("denied", f"{name} cannot make its pod: {message}", True)
    return Trouble("start", f"{name} cannot make its pod: {message}")
