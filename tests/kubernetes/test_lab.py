# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own abilities, each of which tests build upon: a cluster that answers what a real one does, because it is one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from lab.kubernetes.api import Api, Namespace, Object
from lab.kubernetes.images import POSTGRES
from lab.kubernetes.postgres import MOUNT, Postgres
from lab.stores import S3Server

SNAPSHOTS = "snapshot.storage.k8s.io/v1"


def pod(name: str, script: str, **spec: Any) -> Object:
    container = {"name": "c", "image": POSTGRES, "imagePullPolicy": "IfNotPresent", "command": ["bash", "-c", script]}
    whole = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}


def snapshot(name: str, claim: str) -> Object:
    return {
        "apiVersion": SNAPSHOTS,
        "kind": "VolumeSnapshot",
        "metadata": {"name": name},
        "spec": {"source": {"persistentVolumeClaimName": claim}},
    }


def ready_to_use(item: Object) -> bool:
    return bool((item.get("status") or {}).get("readyToUse"))


def test_pods_run_and_commands_in_them_answer(namespace: Namespace) -> None:
    """exec with its exit status, a killed command, standard input that ends, logs; and a Job that fails says so."""
    job = {"template": {"spec": pod("x", "echo no >&2; exit 7")["spec"]}, "backoffLimit": 0}
    namespace.apply(
        pod("p", "echo begun; sleep infinity"),
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "fails"}, "spec": job},
    )
    namespace.wait("v1", "Pod", "p", lambda it: it["status"]["phase"] == "Running", 60)
    done = namespace.execute("p", "bash", "-c", "echo out; echo err >&2; exit 42")
    assert (done.status, done.stdout, done.stderr) == (42, "out\n", "err\n")
    assert namespace.execute("p", "bash", "-c", "kill -9 $$").status == 137
    assert namespace.execute("p", "head", "-c", "3", stdin="abc").stdout == "abc"
    assert namespace.logs("p") == "begun\n"
    failed = namespace.wait("batch/v1", "Job", "fails", lambda it: (it.get("status") or {}).get("failed"), 60)
    assert failed["status"]["failed"] == 1
    (ended,) = namespace.pods_of("fails")
    assert namespace.logs(ended["metadata"]["name"]) == "no\n"


@pytest.mark.parametrize("pgdata", ["below", "root"])
def test_postgres_stands_on_a_claim_and_is_reached_over_its_service(
    postgres: Callable[..., Postgres], pgdata: str
) -> None:
    """From this machine by the Service's address, from a pod by its name; with PGDATA at the volume's root and below it; settings and
    the line for replication as they were asked for."""
    server = postgres(pgdata=pgdata, replication=pgdata == "root", settings={"work_mem": "7MB"})
    assert server.sql("show work_mem") == [("7MB",)]
    assert server.sql("show data_directory") == [(MOUNT if pgdata == "root" else f"{MOUNT}/pgdata",)]
    lines = server.sql("select count(*) from pg_hba_file_rules where 'replication' = any(database) and address = 'all'")
    assert lines == [(1 if pgdata == "root" else 0,)]
    command = (
        "env",
        f"PGPASSWORD={server.password}",
        "psql",
        "-XAt",
        "-h",
        server.service,
        "-U",
        "postgres",
        "-c",
        "select 6*7",
    )
    assert server.namespace.execute(server.pod, *command).stdout == "42\n"
    claim = server.namespace.get("v1", "PersistentVolumeClaim", server.claim)
    assert claim["status"]["phase"] == "Bound"


def test_a_snapshot_keeps_what_was_there_and_a_fault_heals(
    postgres: Callable[..., Postgres], fault: Callable[[str, str], AbstractContextManager[None]]
) -> None:
    """A claim of a VolumeSnapshot has the rows of its moment. While the driver refuses, the snapshot says why; then it is made after all."""
    server = postgres()
    namespace = server.namespace
    server.sql("create table t as select generate_series(1, 1000) i")
    namespace.apply(snapshot("one", server.claim))
    namespace.wait(SNAPSHOTS, "VolumeSnapshot", "one", ready_to_use, 60)
    server.sql("drop table t")

    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "one"},
    }
    script = (
        'chmod 0700 "$PGDATA"; rm -f "$PGDATA/postmaster.pid"; '
        'exec postgres -D "$PGDATA" -c unix_socket_directories=/tmp -c listen_addresses= -c jit=off'
    )
    beside = pod(
        "beside", script, securityContext={"runAsUser": 26, "runAsGroup": 26, "fsGroup": 26},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "restored"}}],
    )  # fmt: skip
    (container,) = beside["spec"]["containers"]
    container["volumeMounts"] = [{"name": "data", "mountPath": MOUNT}]
    container["readinessProbe"] = {"exec": {"command": ["pg_isready", "-h", "/tmp"]}, "periodSeconds": 1}
    namespace.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "restored"}, "spec": claim}, beside
    )
    namespace.wait(
        "v1", "Pod", "beside", lambda it: any(c["ready"] for c in it["status"].get("containerStatuses") or []), 90
    )
    counted = namespace.execute(
        "beside", "psql", "-XAt", "-h", "/tmp", "-U", "postgres", "-c", "select count(*) from t"
    )
    assert counted.stdout == "1000\n", counted.stderr

    with fault("CreateSnapshot", "fail no space is left in the pool"):
        namespace.apply(snapshot("two", server.claim))
        told = namespace.wait(SNAPSHOTS, "VolumeSnapshot", "two", lambda it: (it.get("status") or {}).get("error"), 60)
        assert "no space is left in the pool" in told["status"]["error"]["message"]
        assert not told["status"].get("readyToUse")
    namespace.wait(SNAPSHOTS, "VolumeSnapshot", "two", ready_to_use, 60)


def test_a_fault_is_one_namespaces_own(
    cluster: Any, namespace: Namespace, fault: Callable[[str, str], AbstractContextManager[None]]
) -> None:
    """Tests that run beside each other do not disturb each other."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec}
    other = cluster.api.create_namespace()
    try:
        with fault("CreateVolume", "fail the pool is offline"):
            namespace.apply(claim)
            other.apply(claim)
            other.wait("v1", "PersistentVolumeClaim", "c", lambda it: it["status"]["phase"] == "Bound", 60)
            namespace.wait("v1", "PersistentVolumeClaim", "c", lambda it: "the pool is offline" in namespace.told(), 60)
            assert namespace.get("v1", "PersistentVolumeClaim", "c")["status"]["phase"] == "Pending"
        namespace.wait("v1", "PersistentVolumeClaim", "c", lambda it: it["status"]["phase"] == "Bound", 60)
    finally:
        other.remove()


def test_rights_are_exactly_those_that_were_given(namespace: Namespace, service_account: Callable[..., Path]) -> None:
    """A Role with one resource name: that is read, another is refused, and so is another namespace."""
    from kubernetes.client.exceptions import ApiException

    for name in ("mine", "other"):
        namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "b"}})
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["mine"]}
    core = Api(service_account([rule])).core
    assert core.read_namespaced_secret("mine", namespace.name).metadata.name == "mine"
    attempts: list[Callable[[], Any]] = [
        lambda: core.read_namespaced_secret("other", namespace.name),
        lambda: core.list_namespaced_secret(namespace.name),
        lambda: core.read_namespaced_secret("mine", "default"),
    ]
    for attempt in attempts:
        with pytest.raises(ApiException) as refused:
            attempt()
        assert refused.value.status == 403


def test_a_cron_job_makes_its_jobs(namespace: Namespace) -> None:
    """The object is taken with its time zone, a wrong one is refused, and a run by hand is a Job made from it."""
    from kubernetes.client.exceptions import ApiException

    template = {"spec": {"backoffLimit": 0, "template": {"spec": pod("x", "echo run")["spec"]}}}
    spec = {
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Berlin",
        "concurrencyPolicy": "Forbid",
        "jobTemplate": template,
    }
    cron_job = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": spec}
    namespace.apply(cron_job)
    with pytest.raises(ApiException) as refused:
        namespace.apply({**cron_job, "metadata": {"name": "wrong"}, "spec": {**spec, "timeZone": "Europe/Nowhere"}})
    assert refused.value.status == 422
    made = namespace.get("batch/v1", "CronJob", "nightly")
    namespace.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "by-hand"},
            "spec": made["spec"]["jobTemplate"]["spec"],
        }
    )
    namespace.wait("batch/v1", "Job", "by-hand", lambda it: (it.get("status") or {}).get("succeeded"), 60)


@pytest.mark.extended  # alone: all of the cluster is without it meanwhile
def test_the_api_server_goes_away_and_is_back(
    namespace: Namespace, without: Callable[[str], AbstractContextManager[None]]
) -> None:
    """Nobody answers meanwhile, pods go on, and nothing of what was there is lost."""
    import urllib3

    namespace.apply(pod("p", "sleep infinity"))
    before = namespace.wait("v1", "Pod", "p", lambda it: it["status"]["phase"] == "Running", 60)
    with without("kube-apiserver"), pytest.raises(urllib3.exceptions.HTTPError):
        namespace.api.core.read_namespaced_pod("p", namespace.name, _request_timeout=2)
    after = namespace.get("v1", "Pod", "p")
    assert (after["metadata"]["uid"], after["status"]["phase"]) == (before["metadata"]["uid"], "Running")
    assert namespace.execute("p", "echo", "alive").stdout == "alive\n"


def test_pods_reach_the_store(namespace: Namespace, store: S3Server) -> None:
    """By the same address as this machine: what a pod puts, signed, is read here."""
    bucket = store.make_bucket(f"b-{namespace.name}")
    script = (
        "curl -sS --fail-with-body -X PUT --data-binary hello -H 'Content-Type: text/plain' -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD'"
        f" --aws-sigv4 aws:amz:{store.region}:s3 --user {store.access_key}:{store.secret_key} {store.endpoint_url}/{bucket}/key"
    )
    namespace.apply(pod("c", script))
    ended = namespace.wait("v1", "Pod", "c", lambda it: it["status"]["phase"] in ("Succeeded", "Failed"), 60)
    assert ended["status"]["phase"] == "Succeeded", namespace.logs("c")
    assert store.client().get_object(Bucket=bucket, Key="key")["Body"].read() == b"hello"


def test_the_collections_image_runs_as_any_user_with_a_read_only_root(namespace: Namespace, image: str) -> None:
    """ansible-playbook, the collection, kubernetes.core, what the stores need and the client programs are found; HOME is an emptyDir."""
    script = """
        set -eu
        ansible-playbook --version | head -1
        ansible-galaxy collection list --format yaml
        ansible localhost -m setup -a 'gather_subset=!all,!min'
        ansible-doc -t module -s holdfast.postgres.pg_backup | head -1
        python3 -c 'import boto3, azure.storage.blob, azure.identity, google.cloud.storage, kubernetes, jsonpatch, psycopg2, barman'
        for program in pg_dump pg_basebackup pg_receivewal psql zstd lz4 gpg barman-cloud-backup; do $program --version; done
        pgbackrest version
        gpg --batch --list-keys  # makes its home, which two at once would both make
        echo secret | gpg --batch --yes --pinentry-mode loopback --passphrase x --symmetric | gpg --batch --pinentry-mode loopback --passphrase x
        ! touch /usr/x
    """
    item = pod(
        "c", script, securityContext={"runAsUser": 987654, "runAsGroup": 0}, volumes=[{"name": "tmp", "emptyDir": {}}]
    )
    (container,) = item["spec"]["containers"]
    container.update(image=image, volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}])
    container["securityContext"] = {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    namespace.apply(item)
    ended = namespace.wait("v1", "Pod", "c", lambda it: it["status"]["phase"] in ("Succeeded", "Failed"), 120)
    log = namespace.logs("c")
    assert ended["status"]["phase"] == "Succeeded", log
    for part in (
        "ansible-playbook [core 2.",
        "holdfast.postgres:",
        "kubernetes.core:",
        "localhost | SUCCESS",
        "secret",
    ):
        assert part in log
