# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task's Job in every state that it can be found in: whoever asks again finds it, nothing is begun twice, and what a killed controller left is
gone on with. And how a run's end is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import errors, job as jobs, names, run_job
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.follow import (
    Follower,
    NotStarted,
    OutOfSight,
    RunFailed,
    ended,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import RunRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rule_for
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.run_job import JobRun

from .fakes import FakeCluster

RUN = RunRequest(
    "shop", "holdfast:dev", "holdfast.postgres.backup", "db1", {"holdfast_login_password": "s3cret"}, again=True
)


def task(cluster: FakeCluster, request: RunRequest = RUN, **more: Any) -> JobRun:
    return JobRun(cluster, "backup", request, 60, **more)  # type: ignore[arg-type]


def made(cluster: FakeCluster) -> str:
    """The Job as it stands once it was made and let go."""
    run = task(cluster)
    run_job.carry_out(run.present(), False)
    return run.name


def secret_of(cluster: FakeCluster, name: str) -> dict[str, Any]:
    """The one that the Job's pod mounts."""
    return cluster.objects["Secret", jobs.secret_of(cluster.objects["Job", name])]


def end(cluster: FakeCluster, name: str, how: str, reason: str = "") -> None:
    job = cluster.objects["Job", name]
    job["status"] = {"conditions": [{"type": how, "status": "True", "reason": reason}]}


def test_it_is_made_suspended_then_its_secret_then_it_goes() -> None:
    """In this order no pod waits for a Secret that never comes, and no Secret is without its Job; the plan is the run."""
    cluster = FakeCluster()
    planned = run_job.carry_out(task(cluster).present(), True)
    assert cluster.writes == []
    run = task(cluster)
    assert run_job.carry_out(run.present(), False) == planned
    assert [write[:2] for write in cluster.writes] == [("create", "Job"), ("create", "Secret"), ("patch", "Job")]
    job, secret = cluster.objects["Job", run.name], secret_of(cluster, run.name)
    assert job["spec"]["suspend"] is False and names.PREPARING not in job["metadata"]["annotations"]
    assert secret["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_controller_that_was_killed_half_way(steps: int) -> None:
    cluster = FakeCluster()
    for _told, do in task(cluster).present()[:steps]:
        do()
    again = task(cluster)
    assert again.status == "preparing"
    run_job.carry_out(again.present(), False)
    assert task(cluster).status == "running" and secret_of(cluster, again.name)
    assert sum(write[:2] == ("create", "Job") for write in cluster.writes) == 1


def test_two_at_once_are_one_job() -> None:
    """Both plan before either acts."""
    cluster = FakeCluster()
    one, two = task(cluster), task(cluster)
    first, second = one.present(), two.present()
    run_job.carry_out(first, False)
    run_job.carry_out(second, False)
    assert [key for key in cluster.objects if key[0] == "Job"] == [("Job", one.name)]


def test_each_state_that_it_is_found_in() -> None:
    cluster = FakeCluster()
    name = made(cluster)
    assert task(cluster).present() == [] and task(cluster).released() == []
    end(cluster, name, "Complete")
    assert task(cluster).present() == []
    assert run_job.carry_out(task(cluster, again=True).present(), True)[0].startswith(
        f"delete the Job {name}, which ended well"
    )
    end(cluster, name, "Failed")
    plan = run_job.carry_out(task(cluster).present(), False)
    assert plan[0].startswith(f"delete the Job {name}, which failed") and task(cluster).status == "running"
    assert len(run_job.carry_out(task(cluster).absent(), False)) == 1
    assert task(cluster).absent() == [] and task(cluster).status == "absent"


def test_suspended_and_released() -> None:
    cluster = FakeCluster()
    with pytest.raises(KubernetesError, match="no Job"):
        task(cluster).released()
    run_job.carry_out(task(cluster).suspended(), False)
    run = task(cluster)
    assert run.status == "suspended" and run.suspended() == [] and run.present() == []
    assert "released" in run.warnings[0]
    run_job.carry_out(run.released(), False)
    assert task(cluster).status == "running"
    run_job.carry_out(task(cluster).suspended(), False)
    assert task(cluster).status == "suspended"


def test_the_same_task_with_other_options_is_not_begun_beside() -> None:
    cluster = FakeCluster()
    name = made(cluster)
    other = replace(RUN, image="holdfast:next")
    with pytest.raises(KubernetesError, match=name):
        task(cluster, other).present()
    end(cluster, name, "Complete")
    assert task(cluster, other).present()
    # Where the claims are in use is no other option.
    assert task(cluster, replace(RUN, node="n2")).name == name


def test_by_hand_begins_one() -> None:
    template = {"metadata": {"labels": {names.SCHEDULE: "nightly"}}, "spec": {"template": {}}}
    cron = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"jobTemplate": template},
    }
    cluster = FakeCluster(cron)
    name, steps = run_job.by_hand(cluster, "nightly")  # type: ignore[arg-type]
    run_job.carry_out(steps, False)
    assert run_job.by_hand(cluster, "nightly") == (name, [])  # type: ignore[arg-type]
    with pytest.raises(KubernetesError, match="There is nightly"):
        run_job.by_hand(cluster, "nigthly")  # type: ignore[arg-type]


def claim(name: str, *modes: str) -> dict[str, Any]:
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {"accessModes": list(modes)}}


def user(name: str, node: str, *claims: str, phase: str = "Running") -> dict[str, Any]:
    volumes = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
    return {
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node, "volumes": volumes},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("objects", "node", "refused"),
    [
        ([claim("a", "ReadWriteOnce")], None, None),
        ([claim("a", "ReadWriteOnce"), user("p", "n1", "a")], "n1", None),
        ([claim("a", "ReadWriteOnce"), user("p", "n1", "a", phase="Succeeded")], None, None),
        ([claim("a", "ReadWriteMany"), user("p", "n1", "a")], None, None),
        ([claim("a", "ReadWriteOncePod"), user("p", "n1", "a")], None, "ReadWriteOncePod"),
        ([], None, "no claim a"),
        ([claim("a", "ReadWriteOnce"), claim("b", "ReadWriteOnce"), user("p", "n1", "a"), user("q", "n2", "b")], None, "different nodes"),
    ],
)  # fmt: skip
def test_a_claim_in_use_pins_the_job_to_its_node(
    objects: list[dict[str, Any]], node: str | None, refused: str | None
) -> None:
    """Years of Multi-Attach errors: k8up#110, #319, #502, #978."""
    cluster = FakeCluster(*objects)
    claims = ["a", "b"] if any(one["metadata"]["name"] == "b" for one in objects) else ["a"]
    if refused:
        with pytest.raises(KubernetesError, match=refused):
            run_job.node_of_claims(cluster, claims)  # type: ignore[arg-type]
    else:
        assert run_job.node_of_claims(cluster, claims) == node  # type: ignore[arg-type]


def pod(message: Any, code: int = 0, **more: Any) -> dict[str, Any]:
    text = message if isinstance(message, str) else json.dumps({"holdfast": 1, **message})
    state = {"terminated": {"exitCode": code, "message": text, **more}}
    phase = "Succeeded" if code == 0 else "Failed"
    return {
        "kind": "Pod",
        "metadata": {"name": "backup-x-1", "labels": {"batch.kubernetes.io/job-name": "x"}},
        "status": {"phase": phase, "containerStatuses": [{"name": "holdfast", "state": state}]},
    }


OK = {"status": "ok", "line": "Backup made.", "changed": True, "key": "db1/_runs/x.json", "sha256": "0" * 64}
COMPLETE = {
    "kind": "Job",
    "metadata": {"name": "x"},
    "spec": {},
    "status": {"conditions": [{"type": "Complete", "status": "True"}]},
}


def failed(reason: str = "PodFailurePolicy", message: str = "") -> dict[str, Any]:
    condition = {"type": "Failed", "status": "True", "reason": reason, "message": message}
    return {**COMPLETE, "status": {"conditions": [{"type": "FailureTarget", "status": "True"}, condition]}}


def test_an_end_that_is_good() -> None:
    found = ended(COMPLETE, [pod(OK)])
    assert (found.status, found.key, found.changed, found.pod) == ("ok", "db1/_runs/x.json", True, "backup-x-1")


@pytest.mark.parametrize("pods", [[], [pod("")], [pod("Done.")], [pod({"status": "failed", "line": "no"})]])
def test_an_end_that_only_kubernetes_calls_good(pods: list[dict[str, Any]]) -> None:
    """Exit code 0 without a result of ours: an image without the callback, another program, a pod that is gone. No ok that is not earned."""
    with pytest.raises(KubernetesError, match="not known"):
        ended(COMPLETE, pods)


@pytest.mark.parametrize(
    ("job", "pods", "told"),
    [
        (failed(), [pod({"status": "failed", "line": "The disk is full."}, 2)], "The disk is full."),
        (failed(), [pod("boom", 1)], "boom"),
        (failed(), [pod("", 137, reason="OOMKilled")], "memory"),
        (failed("DeadlineExceeded"), [], "deadline"),
        (failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"), [], "its pod was deleted"),
    ],
)
def test_an_end_that_is_bad(job: dict[str, Any], pods: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(RunFailed, match=told) as raised:
        ended(job, pods)
    assert raised.value.result()["run"]["job"] == "x"


def test_what_cannot_start_is_told_at_once() -> None:
    waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": "no"}}
    stuck = pod("")
    stuck["status"] = {"phase": "Pending", "containerStatuses": [{"name": "holdfast", "image": "i", "state": waiting}]}
    cluster = FakeCluster({"kind": "Job", "metadata": {"name": "x"}, "spec": {}}, stuck)
    with pytest.raises(NotStarted, match="image"):
        Follower(cluster, "x", lambda line: None).to_the_end(5)  # type: ignore[arg-type]


def test_a_job_that_is_deleted_or_suspended_meanwhile() -> None:
    cluster = FakeCluster({"kind": "Job", "metadata": {"name": "x"}, "spec": {"suspend": True}})
    with pytest.raises(KubernetesError, match="suspended"):
        Follower(cluster, "x", lambda line: None).to_the_end(5)  # type: ignore[arg-type]
    with pytest.raises(KubernetesError, match="deleted"):
        Follower(FakeCluster(), "x", lambda line: None).to_the_end(5)  # type: ignore[arg-type]


def test_each_line_of_the_log_is_told_once() -> None:
    cluster = FakeCluster({"kind": "Job", "metadata": {"name": "x"}, "spec": {}}, pod(OK))
    told: list[str] = []
    follower = Follower(cluster, "x", told.append)  # type: ignore[arg-type]
    cluster.log = ["2026-11-26T05:00:01Z TASK [Back up]", "2026-11-26T05:00:02Z "]
    follower._progress(pod(OK))
    cluster.log = ["2026-11-26T05:00:01Z TASK [Back up]", "2026-11-26T05:00:03Z ok"]
    follower._progress(pod(OK))
    assert told == ["TASK [Back up]", "ok"]


@pytest.mark.parametrize(
    "lost",
    [
        errors.Unreachable("away."),
        errors.NotLoggedIn("expired."),
        errors.Forbidden("no right.", rule_for("get", "jobs", "batch"), "shop"),
    ],
    ids=["away", "expired", "forbidden"],
)
def test_a_run_that_cannot_be_followed_any_more_goes_on(lost: KubernetesError) -> None:
    """Said first, as it is what hurts: whoever reads "expired" alone begins a second one."""
    cluster = FakeCluster()
    name = made(cluster)
    cluster.get = _raising(lost)  # type: ignore[method-assign]
    with pytest.raises(OutOfSight, match=f"{name} was begun.*{lost}.*goes on in the cluster.*run this task again"):
        Follower(cluster, name, lambda line: None).to_the_end(5)  # type: ignore[arg-type]


def _raising(exc: KubernetesError) -> Any:
    def get(*_asked: Any) -> Any:
        raise exc

    return get
