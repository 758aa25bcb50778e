# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far an object is: a predicate for each kind in one table (pure). A status that is of an older generation than the specification
says nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest

WAITING, DONE, FAILED = "waiting", "done", "failed"


@dataclass(frozen=True)
class Progress:
    """``state``: waiting, done or failed; ``message``: for what it waits, or why it failed."""

    state: str
    message: str = ""

    @property
    def done(self) -> bool:
        return self.state == DONE

    @property
    def failed(self) -> bool:
        return self.state == FAILED


_DONE = Progress(DONE)
Predicate = Callable[[Manifest], Progress]


def waiting(message: str) -> Progress:
    return Progress(WAITING, message)


def failed(message: str) -> Progress:
    return Progress(FAILED, message)


def progress_of(manifest: Manifest, predicate: Optional[Predicate] = None) -> Progress:
    """How far an object is on its way to what its kind is for: a Job to its end, a StatefulSet to be served, a claim to be bound.

    Kinds that are not in the table are done when they are there, unless a condition ``Ready`` says otherwise.
    """
    if (manifest.get("metadata") or {}).get("deletionTimestamp"):
        return failed("it is being deleted")
    if not _observed(manifest):
        return waiting("its controller has not seen the last change yet")
    return (predicate or PREDICATES.get(str(manifest.get("kind")), _conditioned))(manifest)


def condition(manifest: Manifest, kind: str) -> Optional[Manifest]:
    """A condition of the status, if it is of the present generation."""
    generation = (manifest.get("metadata") or {}).get("generation")
    for one in (manifest.get("status") or {}).get("conditions") or ():
        if one.get("type") == kind:
            seen = one.get("observedGeneration")
            return one if seen is None or generation is None or seen >= generation else None
    return None


def is_true(manifest: Manifest, kind: str) -> bool:
    found = condition(manifest, kind)
    return found is not None and found.get("status") == "True"


def _observed(manifest: Manifest) -> bool:
    generation = (manifest.get("metadata") or {}).get("generation")
    seen = (manifest.get("status") or {}).get("observedGeneration")
    return seen is None or generation is None or seen >= generation


def _said(found: Optional[Manifest]) -> str:
    found = found or {}
    reason, message = found.get("reason") or "", " ".join(str(found.get("message") or "").split())
    return f"{reason}: {message}" if reason and message else reason or message


# https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
def _job(manifest: Manifest) -> Progress:
    status = manifest.get("status") or {}
    if is_true(manifest, "Complete"):
        return _DONE
    if is_true(manifest, "Failed"):
        return failed(_said(condition(manifest, "Failed")))
    if is_true(manifest, "FailureTarget"):
        return waiting(f"it has failed ({_said(condition(manifest, 'FailureTarget'))}), and its pods are being ended")
    if (manifest.get("spec") or {}).get("suspend"):
        return waiting("it is suspended")
    return waiting(f"{status.get('active') or 0} of its pods are at work, {status.get('failed') or 0} have failed")


def _pod(manifest: Manifest) -> Progress:
    """A pod that serves. One that ended well is done, too."""
    status = manifest.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded":
        return _DONE
    if phase == "Failed":
        return failed(_said(status) or "its containers failed")
    if is_true(manifest, "Ready"):
        return _DONE
    return waiting(f"it is {phase or 'not yet seen'}" + ("" if phase != "Running" else ", and not ready"))


def _stateful_set(manifest: Manifest) -> Progress:
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    wanted = spec.get("replicas", 1)
    there, ready = status.get("replicas") or 0, status.get("readyReplicas") or 0
    if there != wanted or ready < wanted:
        return waiting(f"{ready} of {wanted} pods are ready" + (f", {there} are there" if there > wanted else ""))
    update = spec.get("updateStrategy") or {}
    partition = (update.get("rollingUpdate") or {}).get("partition") or 0
    if (
        update.get("type", "RollingUpdate") == "RollingUpdate"
        and (status.get("updatedReplicas") or 0) < wanted - partition
    ):
        return waiting(f"{status.get('updatedReplicas') or 0} of {wanted - partition} pods are of the last revision")
    return _DONE


def _deployment(manifest: Manifest) -> Progress:
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    progressing = condition(manifest, "Progressing")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return failed(_said(progressing))
    wanted = spec.get("replicas", 1)
    updated, there = status.get("updatedReplicas") or 0, status.get("replicas") or 0
    if updated < wanted:
        return waiting(f"{updated} of {wanted} pods are of the last revision")
    if there > updated:
        return waiting(f"{there - updated} pods of the former revision are still there")
    ready = status.get("availableReplicas") or 0
    return _DONE if ready >= wanted else waiting(f"{ready} of {wanted} pods are available")


def _claim(manifest: Manifest) -> Progress:
    phase = (manifest.get("status") or {}).get("phase")
    if phase == "Bound":
        return _DONE
    if phase == "Lost":
        return failed("its volume is gone: what was on it cannot be reached by this claim any more")
    return waiting(f"it is {phase or 'not yet seen'}")


def _volume(manifest: Manifest) -> Progress:
    status = manifest.get("status") or {}
    if status.get("phase") == "Failed":
        return failed(_said(status) or "it could not be reclaimed")
    return (
        _DONE if status.get("phase") in ("Bound", "Available", "Released") else waiting(f"it is {status.get('phase')}")
    )


# The last error stays while the driver tries again, and may be left over when it succeeded: it never ends the wait.
# https://github.com/kubernetes-csi/external-snapshotter/blob/master/client/apis/volumesnapshot/v1/types.go
def _snapshot(manifest: Manifest) -> Progress:
    status = manifest.get("status") or {}
    if status.get("readyToUse"):
        return _DONE
    error = " ".join(str((status.get("error") or {}).get("message") or "").split())
    if not status:
        return waiting("no snapshot controller has seen it yet")
    cut = "the cut is made, and being copied" if is_cut(manifest) else "the cut is not made yet"
    return waiting(cut + (f"; the driver's last error: {error}" if error else ""))


def is_cut(manifest: Manifest) -> bool:
    """Whether a VolumeSnapshot is of one moment that has passed: backup mode may end, though it cannot be used yet."""
    status = manifest.get("status") or {}
    return bool(status.get("boundVolumeSnapshotContentName") and status.get("creationTime")) and not status.get("error")


def _cron_job(manifest: Manifest) -> Progress:
    return _DONE


def _namespace(manifest: Manifest) -> Progress:
    return _DONE if (manifest.get("status") or {}).get("phase", "Active") == "Active" else failed("it is being deleted")


# Phases of CloudNativePG's Backup: https://github.com/cloudnative-pg/cloudnative-pg/blob/main/api/v1/backup_types.go
def _cnpg_backup(manifest: Manifest) -> Progress:
    status = manifest.get("status") or {}
    phase = status.get("phase") or "not yet seen"
    if phase == "completed":
        return _DONE
    if phase in ("failed", "walArchivingFailing"):
        return (
            failed(status.get("error") or phase)
            if phase == "failed"
            else waiting("the server's WAL is not being archived")
        )
    return waiting(f"it is {phase}")


def _conditioned(manifest: Manifest) -> Progress:
    found = condition(manifest, "Ready")
    if found is None and any(
        one.get("type") == "Ready" for one in (manifest.get("status") or {}).get("conditions") or ()
    ):
        return waiting("its condition Ready is of an older generation")
    return _DONE if found is None or found.get("status") == "True" else waiting(_said(found) or "it is not ready")


PREDICATES: Mapping[str, Predicate] = {
    "Job": _job,
    "Pod": _pod,
    "StatefulSet": _stateful_set,
    "Deployment": _deployment,
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume,
    "VolumeSnapshot": _snapshot,
    "CronJob": _cron_job,
    "Namespace": _namespace,
    "Backup": _cnpg_backup,
}


def ended(manifest: Manifest) -> Progress:
    """Of a pod: its containers have ended, one way or the other."""
    phase = (manifest.get("status") or {}).get("phase")
    return _DONE if phase in ("Succeeded", "Failed") else waiting(f"it is {phase or 'not yet seen'}")


def succeeded(manifest: Manifest) -> Progress:
    """Of a pod: its containers have ended, and well. (One that runs is ready meanwhile.)"""
    status = manifest.get("status") or {}
    if status.get("phase") == "Failed":
        return failed(_said(status) or "its containers failed")
    return ended(manifest)


def started(manifest: Manifest) -> Progress:
    """Of a pod: a container of it runs, or has ended."""
    statuses: list[Any] = (manifest.get("status") or {}).get("containerStatuses") or []
    if any((one.get("state") or {}).get(key) for one in statuses for key in ("running", "terminated")):
        return _DONE
    return waiting(f"it is {(manifest.get('status') or {}).get('phase') or 'not yet seen'}")
