# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why something does not start: statuses and events as the kubelet, the scheduler and the controllers write them, and what is said of each."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.reasons import troubles


def pod(status: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": "backup-x", "namespace": "shop", "uid": "u"},
        "status": {"phase": "Pending", **status},
    }


def container(state: dict[str, Any], last: Any = None, **more: Any) -> dict[str, Any]:
    status = {"name": "main", "image": "ee:1", "state": state, "lastState": last or {}, **more}
    return pod({"containerStatuses": [status]})


def held(reason: str, message: str = "") -> dict[str, Any]:
    return container({"waiting": {"reason": reason, "message": message}})


def unplaced(message: str) -> dict[str, Any]:
    return pod(
        {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}
    )


def event(reason: str, message: str, when: str = "2026-11-26T05:00:00Z") -> dict[str, Any]:
    return {"involvedObject": {"uid": "u"}, "reason": reason, "message": message, "lastTimestamp": when}


def other(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "x", "namespace": "shop", "uid": "u"}, **more}


NO_HELPER = "Output: mount: /y: bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program."
# the object, its events, the trouble's code, whether it is certain, what is said
TABLE: list[tuple[dict[str, Any], list[dict[str, Any]], str, bool, str]] = [
    (held("ImagePullBackOff", 'Back-off pulling image "ee:1": not found'), [], "image", True, "ee:1 cannot be pulled"),
    (
        held("ImagePullBackOff", 'Back-off pulling image "ee:1"'),
        [
            event("Failed", 'Failed to pull image "ee:1": rpc error: code = NotFound: not found'),
            event("BackOff", "Back-off", "2026-11-26T05:00:09Z"),
        ],
        "image",
        True,
        "code = NotFound",
    ),
    (held("ImagePullBackOff", 'Back-off pulling image "ee:1"'), [], "image", False, "Back-off pulling"),
    (held("ErrImagePull", "failed to do request: dial tcp: i/o timeout"), [], "image", False, "i/o timeout"),
    (held("ErrImageNeverPull", "Container image is not present"), [], "image", True, "imagePullPolicy is Never"),
    (held("InvalidImageName"), [], "image", True, "its name is none"),
    (
        held("CreateContainerConfigError", "couldn't find key passwd in Secret shop/db"),
        [],
        "configuration",
        True,
        "couldn't find key passwd in Secret shop/db",
    ),
    (
        held("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition"),
        [],
        "configuration",
        False,
        "sync",
    ),
    (held("RunContainerError", "exec: no such file"), [], "start", True, "exec: no such file"),
    (container({"terminated": {"reason": "OOMKilled", "exitCode": 137}}), [], "oom", True, "resources.limits.memory"),
    (
        container(
            {"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
        ),
        [],
        "oom",
        True,
        "OOMKilled",
    ),
    (
        container({"running": {"startedAt": "t"}}, {"terminated": {"reason": "OOMKilled", "exitCode": 137}}),
        [],
        "oom",
        False,
        "OOMKilled",
    ),
    (
        container({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1, "message": "bad\nflag"}}),
        [],
        "crash",
        False,
        "exit code 1: bad flag",
    ),
    (container({"terminated": {"exitCode": 127}}), [], "crash", True, "no such program"),
    (
        container({"running": {"startedAt": "t"}}, {"terminated": {"exitCode": 2, "message": "away"}}, ready=False),
        [],
        "crash",
        False,
        "begun anew, and is not yet at work; before it ended with exit code 2: away",
    ),
    (
        pod({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
        [],
        "evicted",
        True,
        "low on resource",
    ),
    (pod({"phase": "Failed", "reason": "DeadlineExceeded"}), [], "deadline", True, "activeDeadlineSeconds"),
    (
        pod({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}),
        [],
        "preempted",
        False,
        "taken from its node",
    ),
    (unplaced("0/3 nodes are available: 3 Insufficient memory."), [], "unschedulable", False, "not enough memory"[4:]),
    (unplaced('persistentvolumeclaim "data" not found'), [], "unschedulable", True, "the claim data does not exist"),
    (
        unplaced("0/1 nodes are available: 1 node(s) had volume node affinity conflict."),
        [],
        "unschedulable",
        True,
        "another zone",
    ),
    (
        unplaced("0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had volume node affinity conflict."),
        [],
        "unschedulable",
        False,
        "node",
    ),
    (
        unplaced(
            "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."
        ),
        [],
        "unschedulable",
        False,
        "another pod has it",
    ),
    (unplaced("0/1 nodes are available: 1 node(s) had untolerated taint(s)."), [], "unschedulable", False, "tainted"),
    (
        pod({}),
        [event("FailedMount", 'MountVolume.SetUp failed for volume "s" : secret "db" not found')],
        "mount",
        True,
        "the Secret db",
    ),
    (
        pod({}),
        [event("FailedMount", 'MountVolume.SetUp failed for volume "s" : references non-existent secret key: ca.crt')],
        "mount",
        True,
        "the key ca.crt",
    ),
    (
        pod({}),
        [event("FailedAttachVolume", 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) db-0')],
        "mount",
        False,
        "another node",
    ),
    (
        pod({}),
        [event("FailedMount", "mount failed: exit status 32 mount.nfs: Connection timed out")],
        "mount",
        False,
        "NFS server",
    ),
    (
        other("PersistentVolumeClaim"),
        [event("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')],
        "claim",
        True,
        "fast",
    ),
    (
        pod({}),
        [
            event(
                "FailedMount",
                f"mount failed: exit status 32 Mounting arguments: -t nfs nas:/x /y {NO_HELPER}",
            )
        ],
        "mount",
        False,
        "install nfs-common",
    ),
    (
        unplaced("0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity. not found"),
        [],
        "unschedulable",
        True,
        "another zone",
    ),
    (
        other("PersistentVolumeClaim"),
        [
            event("Provisioning", "External provisioner is provisioning volume"),
            event("ProvisioningFailed", "the pool is full"),
        ],
        "claim",
        False,
        "the pool is full",
    ),
    (
        other("PersistentVolumeClaim"),
        [event("FailedBinding", "no persistent volumes available for this claim and no storage class is set")],
        "claim",
        True,
        "no default one",
    ),
    (
        other("PersistentVolumeClaim"),
        [event("ProvisioningFailed", "requested volume size 1 is less than the size 2 for the source snapshot x")],
        "claim",
        True,
        "less than the size",
    ),
    (other("PersistentVolumeClaim", status={"phase": "Lost"}), [], "claim", True, "lost its volume"),
    (
        other("Job"),
        [event("FailedCreate", 'Error creating: pods "x" is forbidden: exceeded quota: q, requested: pods=1')],
        "quota",
        True,
        "exceeded quota: q",
    ),
    (
        other("Job"),
        [event("FailedCreate", 'Error creating: admission webhook "g.io" denied the request: no')],
        "denied",
        True,
        "g.io",
    ),
    (
        other("StatefulSet"),
        [event("FailedCreate", 'Error creating: pods "x" is forbidden: violates PodSecurity "restricted"')],
        "denied",
        True,
        "PodSecurity",
    ),
    (
        other("Job"),
        [event("FailedCreate", 'error looking up service account shop/b: serviceaccount "b" not found')],
        "denied",
        True,
        "serviceaccount",
    ),
    (
        other("Job"),
        [event("FailedCreate", 'Internal error occurred: failed calling webhook "g.io": refused')],
        "start",
        False,
        "g.io",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[2]} {row[4]}")
def test_a_reason_is_told(row: tuple[dict[str, Any], list[dict[str, Any]], str, bool, str]) -> None:
    one, events, code, certain, said = row
    (found,) = troubles([one], events)
    assert (found.code, found.certain) == (code, certain) and said in found.message, found
    assert "\n" not in found.message


@pytest.mark.parametrize(
    ("one", "events"),
    [
        (
            pod(
                {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": "t"}}}]}
            ),
            [],
        ),
        (pod({}), []),
        (held("ContainerCreating"), []),
        (held("PodInitializing"), []),
        (container({"terminated": {"reason": "Completed", "exitCode": 0}}), []),
        # a mount that failed once, and then did not
        (pod({}), [event("FailedMount", "x"), event("Pulling", "y", "2026-11-26T05:00:09Z")]),
        (
            other("Job"),
            [event("FailedCreate", "exceeded quota"), event("SuccessfulCreate", "y", "2026-11-26T05:00:09Z")],
        ),
        (other("PersistentVolumeClaim", status={"phase": "Bound"}), [event("ProvisioningFailed", "x")]),
        (other("PersistentVolumeClaim"), [event("WaitForFirstConsumer", "waiting for first consumer")]),
        # another object's events
        (pod({}), [{**event("FailedMount", "x"), "involvedObject": {"uid": "other"}}]),
    ],
    ids=str,
)
def test_what_gets_on_is_no_trouble(one: dict[str, Any], events: list[dict[str, Any]]) -> None:
    assert troubles([one], events) == []


def test_the_certain_ones_come_first_and_each_once() -> None:
    pods = [
        unplaced("0/3 nodes are available: 3 Insufficient memory."),
        held("InvalidImageName"),
        held("InvalidImageName"),
    ]
    assert [(one.code, one.certain) for one in troubles(pods)] == [("image", True), ("unschedulable", False)]
