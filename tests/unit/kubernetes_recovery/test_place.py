# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a server's data is looked for where some other chart has it, or exchanged with what was never its data.

Members: the volume mounted at PGDATA itself, below a folder, by a subPath, and above it as postgres:18 has it; uids by pod and container; what
cannot be done in the volume: several pods, whenScaled: Delete, no claim, something mounted inside, PGDATA at the top of all.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.manifests import (
    private_job,
    script_job,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import Place, place_of


def stateful_set(data: str, mount: dict[str, Any], more: Any = None, **spec: Any) -> dict[str, Any]:
    env = [{"name": "PGDATA", "value": data}, {"name": "POSTGRES_USER", "value": "boss"}] if data else []
    container = {
        "name": "pg",
        "image": "postgres:18",
        "env": env,
        "volumeMounts": [{"name": "data", **mount}, *(more or {}).get("mounts", [])],
    }
    container.update((more or {}).get("container", {}))
    pod = {"containers": [container], **(more or {}).get("pod", {})}
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "pg", "namespace": "shop"},
        "spec": {
            "replicas": 1,
            "template": {"spec": pod},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            **spec,
        },
    }


def place(*arguments: Any, **spec: Any) -> Place:
    return place_of(stateful_set(*arguments, **spec), {}, "", None)


@pytest.mark.parametrize(
    "data, mount, beside, hidden, in_volume",
    [
        ("/var/lib/postgresql/data", {"mountPath": "/var/lib/postgresql/data"}, True, "/var/lib/postgresql/data/.holdfast", ".holdfast/x"),
        ("/var/lib/postgresql/data/pgdata", {"mountPath": "/var/lib/postgresql/data"}, True, "/var/lib/postgresql/data/.holdfast", ".holdfast/x"),
        (
            "/var/lib/postgresql/data/pgdata", {"mountPath": "/var/lib/postgresql/data"}, False, "/var/lib/postgresql/data/pgdata/.holdfast",
            "pgdata/.holdfast/x",
        ),
        ("", {"mountPath": "/var/lib/postgresql"}, True, "/var/lib/postgresql/.holdfast", ".holdfast/x"),
        ("/bitnami/pg/data", {"mountPath": "/bitnami/pg", "subPath": "one"}, True, "/bitnami/pg/.holdfast", "one/.holdfast/x"),
    ],
    ids=["the mount itself", "below", "below, root's mount", "postgres:18", "subPath"],
)  # fmt: skip
def test_where_it_is(data: str, mount: dict[str, Any], beside: bool, hidden: str, in_volume: str) -> None:
    found = place(data, mount)
    assert (
        found.data == (data or "/var/lib/postgresql/18/docker") and found.claim == "data-pg-0" and found.pod == "pg-0"
    )
    assert found.hidden(beside) == hidden and found.in_volume(f"{hidden}/x") == in_volume


def test_as_whom_it_runs() -> None:
    mount = {"mountPath": "/data"}
    found = place("/data/pg", mount, {"pod": {"securityContext": {"runAsUser": 26, "runAsGroup": 27, "fsGroup": 28}}})
    assert (found.user, found.group, found.fs_group, found.superusers) == (26, 27, 28, ("boss", "postgres"))
    found = place(
        "/data/pg",
        mount,
        {"container": {"securityContext": {"runAsUser": 0}}, "pod": {"securityContext": {"runAsUser": 26}}},
    )
    assert found.user is None, "it starts as root, and who owns the data is looked at"


@pytest.mark.parametrize(
    "arguments, spec, said",
    [
        (("/data/pg", {"mountPath": "/data"}), {"replicas": 3}, "has 3 pods"),
        (("/data/pg", {"mountPath": "/data"}), {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}, "whenScaled: Delete"),
        (("/pgdata", {"mountPath": "/data"}), {}, "which is on no volume of its own"),
        (("/data/pg", {"mountPath": "/data"}), {"volumeClaimTemplates": []}, "which is no claim"),
        (("/data", {"mountPath": "/data"}), {}, "mounts the directory above"),
        (("/data/pg", {"mountPath": "/data"}, {"mounts": [{"name": "wal", "mountPath": "/data/pg/pg_wal"}]}), {}, "mounted inside"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_there_is_refused(arguments: Any, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(HoldfastError, match=said):
        place(*arguments, **spec)


def test_the_pods_are_restricted_and_see_the_data_where_it_will_be() -> None:
    more = {
        "mounts": [{"name": "conf", "mountPath": "/etc/postgresql"}, {"name": "scratch", "mountPath": "/scratch"}],
        "pod": {
            "volumes": [{"name": "conf", "configMap": {"name": "conf"}}, {"name": "scratch", "emptyDir": {}}, {"name": "other", "secret": {}}],
            "securityContext": {"fsGroup": 28}, "tolerations": [{"key": "db"}],
        },
    }  # fmt: skip
    found = place("/data/pg", {"mountPath": "/data", "subPath": "one"}, more)
    scripted = script_job("look", found, "true", {"A": "b"}, "holdfast:1", None, None, 60, "node1")
    private = private_job("private", found, "/data/.holdfast/x/new/pg", 26, 27, "holdfast:1", {}, 60)
    for job in (scripted, private):
        spec = job["spec"]["template"]["spec"]
        assert (
            job["spec"]["backoffLimit"] == 0
            and spec["restartPolicy"] == "Never"
            and not spec["automountServiceAccountToken"]
        )
        assert (
            spec["securityContext"]["runAsNonRoot"]
            and spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
        )
        assert spec["tolerations"] == [{"key": "db"}]
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                **({"readOnlyRootFilesystem": True} if container["name"] == "script" else {}),
            }  # fmt: skip
    assert scripted["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["subPath"] == "one"
    watch, server = private["spec"]["template"]["spec"]["containers"]
    for container in (watch, server):
        assert container["volumeMounts"][0] == {
            "name": "data",
            "mountPath": "/data/pg",
            "subPath": "one/.holdfast/x/new/pg",
        }
    assert server["image"] == "postgres:18" and watch["image"] == "holdfast:1"
    assert [one["name"] for one in server["volumeMounts"]] == ["data", "shared", "own-conf"]
    assert [one["name"] for one in private["spec"]["template"]["spec"]["volumes"]] == [
        "data",
        "shared",
        "tmp",
        "own-conf",
    ]
    assert "listen_addresses=" in server["command"] and "hot_standby=off" in server["command"]
