# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifests of a run: what the Pod Security Standard "restricted" wants, no secret outside the Secret, and nothing that starts twice."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import cron_job, job, names, pod
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.cron_job import ScheduleRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.pod import FromSecret, Nfs, RunRequest

SECRET = "s3cret{{x}}"
RUN = RunRequest(
    namespace="shop",
    image="registry/holdfast:1",
    playbook="holdfast.postgres.backup",
    server_name="db1.example",
    variables={"holdfast_login_password": SECRET, "holdfast_login_host": "pg"},
    variables_from=[FromSecret("holdfast_login_user", "pg", "user"), FromSecret("holdfast_login_db", "pg", "db")],
    claims={"backups": "/backups"},
    nfs=[Nfs("nas", "/export", "/nas")],
    secrets={"azure": "/run/azure"},
    again=True,
)
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "namespace": "shop", "uid": "u-1"}}
SCHEDULE = ScheduleRequest("nightly", RUN, "30 2 * * *", "Europe/Berlin")


def _template(request: RunRequest) -> dict[str, Any]:
    spec: dict[str, Any] = pod.template(request, "vars", {})["spec"]
    return spec


def test_as_restricted_wants_it() -> None:
    """Kubernetes' own standard, field by field, for every combination of what may be asked for."""
    for request in (RUN, replace(RUN, user=70, group=None), replace(RUN, token=True, service_account="sa")):
        spec = _template(request)
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False and security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
        assert spec["automountServiceAccountToken"] is request.token
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all(not {"hostPath"} & set(volume) for volume in spec["volumes"])
        assert spec["restartPolicy"] == "Never"
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert "command" not in container  # an image's entrypoint stays


def test_what_is_only_read() -> None:
    """What others left is mounted read-only where that is said; a path at which nothing is mounted is a slip. In check mode it is another Job."""
    request = replace(RUN, read_only=["/backups", "/nas"], check=True)
    spec = _template(request)
    (container,) = spec["containers"]
    assert {one["mountPath"] for one in container["volumeMounts"] if one.get("readOnly")} >= {"/backups", "/nas"}
    assert [one["nfs"] for one in spec["volumes"] if "nfs" in one] == [
        {"server": "nas", "path": "/export", "readOnly": True}
    ]
    assert container["args"][-2:] == ["--check", "--diff"]
    assert len({job.identity(one, "t") for one in (RUN, replace(RUN, check=True), request)}) == 3
    with pytest.raises(BadOption, match="/elsewhere"):
        pod.check(replace(RUN, read_only=["/elsewhere"]))


def test_secrets_stand_in_the_secret_alone() -> None:
    """Whoever may read pods, Jobs and CronJobs reads no password there."""
    for manifest in (job.job(RUN, "backup", "abc", "vars", 60), cron_job.cron_job(SCHEDULE)):
        assert "s3cret" not in json.dumps(manifest)
    secret = pod.secret(RUN, "x", {}, OWNER)
    assert secret["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "u-1"}
    ]
    content = json.loads(base64.b64decode(secret["data"][pod.VARIABLES]))
    # A password with braces is a password, and no template.
    assert content["holdfast_login_password"] == {"__ansible_unsafe": SECRET}
    assert content["holdfast_login_user"] == "{{ lookup('ansible.builtin.file', '/etc/holdfast/secrets/pg/user') }}"
    assert content["holdfast_server_name"] == "db1.example"


def test_what_is_mounted() -> None:
    spec = _template(RUN)
    mounted = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert set(mounted) == {
        "/tmp", "/var/tmp", pod.HOME, pod.VARIABLES_DIR, "/backups", "/nas", "/run/azure", f"{pod.SECRETS_DIR}/pg",
    }  # fmt: skip
    assert len(volumes) == len(spec["volumes"])
    assert volumes[mounted["/backups"]]["persistentVolumeClaim"] == {"claimName": "backups"}
    assert volumes[mounted["/nas"]]["nfs"] == {"server": "nas", "path": "/export"}
    # Only the keys that are asked for: the rest of that Secret is none of the run's.
    assert volumes[mounted[f"{pod.SECRETS_DIR}/pg"]]["secret"]["items"] == [
        {"key": "user", "path": "user"}, {"key": "db", "path": "db"},
    ]  # fmt: skip
    assert all(volume["secret"]["defaultMode"] == 0o440 for volume in volumes.values() if "secret" in volume)


def test_a_job_starts_nothing_twice() -> None:
    made = job.job(RUN, "backup", "0123456789", "vars", 60)
    spec = made["spec"]
    assert spec["backoffLimit"] == 0 and spec["podReplacementPolicy"] == "Failed" and spec["suspend"] is True
    first, second = spec["podFailurePolicy"]["rules"]
    assert first == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert second["action"] == "FailJob" and second["onExitCodes"]["values"] == [2]
    # What changes a server is not begun again by itself.
    (only,) = job.spec(replace(RUN, again=False))["podFailurePolicy"]["rules"]
    assert only["action"] == "FailJob"
    assert made["metadata"]["name"] == "backup-0123456789"


def test_an_identity_is_of_all_that_was_asked_for() -> None:
    same = job.identity(RUN, "backup")
    assert same == job.identity(replace(RUN), "backup")
    others = [
        job.identity(replace(RUN, image="registry/holdfast:2"), "backup"),
        job.identity(replace(RUN, variables={**RUN.variables, "holdfast_login_password": "other"}), "backup"),
        job.identity(replace(RUN, claims={"backups": "/other"}), "backup"),
        job.identity(replace(RUN, deadline=1), "backup"),
        job.identity(replace(RUN, namespace="other"), "backup"),
        job.identity(RUN, "other"),
    ]
    assert len({same, *others}) == 7


def test_pinned_to_a_node() -> None:
    """The scheduler decides with it: nodeName bypasses it, and a pod then fails by OutOfcpu instead of waiting."""
    spec = _template(replace(RUN, node="n1"))
    assert "nodeName" not in spec
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}


def test_a_schedule() -> None:
    made = cron_job.cron_job(SCHEDULE)
    spec = made["spec"]
    assert spec["timeZone"] == "Europe/Berlin" and spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] == 3600 and spec["suspend"] is False
    assert spec["jobTemplate"]["spec"]["template"]["metadata"]["labels"][names.SCHEDULE] == "nightly"
    # A run that needs no right of the API has no Role.
    assert cron_job.role(SCHEDULE, None) == []
    account = cron_job.service_account(SCHEDULE, None)
    assert account["automountServiceAccountToken"] is False
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["azure"]}]
    role, binding = cron_job.role(replace(SCHEDULE, rules=rules), made | {"metadata": {**made["metadata"], "uid": "u"}})
    assert role["rules"] == rules and binding["subjects"][0]["name"] == "nightly"
    assert role["metadata"]["ownerReferences"][0]["kind"] == "CronJob"


def test_a_former_name_is_known() -> None:
    """What is the same but for its name, and what is named after it."""

    def mark(name: str, **run: Any) -> str:
        made = replace(RUN, service_account=name, **run)
        return cron_job.identity(replace(SCHEDULE, name=name, run=made))

    assert mark("nightly") == mark("daily") != mark("nightly", image="registry/holdfast:2")
    assert mark("nightly") != cron_job.identity(replace(SCHEDULE, cron="0 3 * * *"))


def test_by_hand() -> None:
    made = cron_job.cron_job(SCHEDULE)
    made["metadata"]["uid"] = "u-2"
    run = job.by_hand(made, "hand-1")
    assert run["spec"] == made["spec"]["jobTemplate"]["spec"]
    assert run["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    assert run["metadata"]["ownerReferences"][0]["uid"] == "u-2"


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"claims": {"a": "/tmp"}}, "claims"),
        ({"claims": {"a": "/b", "c": "/b"}}, "claims"),
        ({"claims": {"a": "b"}}, "claims"),
        ({"claims": {"a": "/b/../etc"}}, "claims"),
        ({"secrets": {"a": "/backups"}}, "secrets"),
        ({"variables": {"x": "y" * 2**20}}, "variables"),
    ],
)
def test_what_the_cluster_would_only_say_later(change: dict[str, Any], option: str) -> None:
    with pytest.raises(BadOption) as raised:
        pod.check(replace(RUN, **change))
    assert raised.value.option == option


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"name": "Nightly"}, "name"),
        ({"name": "n" * 53}, "name"),
        ({"name": "-n"}, "name"),
        ({"cron": "30 2 * *"}, "schedule"),
        ({"cron": "0 3 30 2 *"}, "schedule"),
        ({"cron": "0 3 31 4,6 *"}, "schedule"),
        ({"time_zone": "Mars/"}, None),
        ({"time_zone": "Local"}, "time_zone"),
        ({"late": 5}, "starting_deadline"),
    ],
)
def test_what_the_controller_would_not_run(change: dict[str, Any], option: str | None) -> None:
    if option is None:  # of the right form: only the API server knows its zones
        cron_job.check(replace(SCHEDULE, **change))
        return
    with pytest.raises(BadOption) as raised:
        cron_job.check(replace(SCHEDULE, **change))
    assert raised.value.option == option


@pytest.mark.parametrize("name", ["db1", "Db_1.example", "a" * 63, "a" * 64, "_", "ü", "a-", "x" * 128])
def test_labels_are_within_limits_and_tell_names_apart(name: str) -> None:
    value = names.label(name)
    assert 0 < len(value) <= 63 and value[0].isalnum() and value[-1].isalnum()
    assert value != names.label(name + "x")
