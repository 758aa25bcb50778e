# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From objects to what a server is made of: by references, whatever they are called, and null where nobody says."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import discover, images
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.describe import (
    Asked,
    describe,
    snapshot_class,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import Mount, Objects
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.findings import (
    findings,
    where_rules_are,
)


@pytest.mark.parametrize(
    ("image", "major", "libc"),
    [
        ("postgres:16.4", 16, "glibc"),
        ("postgres:16-alpine", 16, "musl"),
        ("docker.io/library/postgres:18", 18, "glibc"),
        ("postgres", None, "glibc"),
        ("postgres:latest", None, "glibc"),
        ("registry.example.com:5000/team/postgres:15.2", 15, None),
        ("registry.example.com:5000/team/postgres", None, None),
        ("bitnami/postgresql:16.4.0-debian-12-r1", 16, "glibc"),
        ("ghcr.io/zalando/spilo-17:4.0-p2", 17, "glibc"),
        ("ghcr.io/cloudnative-pg/postgresql:17.2-bookworm@sha256:00", 17, "glibc"),
        ("timescale/timescaledb:2.17.2-pg16", 16, None),
        ("timescale/timescaledb:2.17.2", None, None),
        ("pgvector/pgvector:pg17", 17, None),
        ("postgis/postgis:16-3.4-alpine", 16, "musl"),
        ("mirror/ours:2026.11", None, None),
        ("postgres@sha256:0123", None, "glibc"),
    ],
)
def test_what_the_name_of_an_image_tells(image: str, major: Optional[int], libc: Optional[str]) -> None:
    assert (images.major(image), images.libc(image)) == (major, libc)


def container(**more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "mirror/db:1", **more}


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (container(env=[{"name": "PGDATA", "value": "/data/pgdata/"}]), ("/data/pgdata", "environment")),
        (
            container(env=[{"name": "D", "value": "/data"}, {"name": "PGDATA", "value": "$(D)/pg"}]),
            ("/data/pg", "environment"),
        ),
        (
            container(env=[{"name": "PGDATA", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "dir"}}}]),
            ("/of/map", "environment"),
        ),
        (container(envFrom=[{"configMapRef": {"name": "e"}}]), ("/of/all", "environment")),
        (
            container(envFrom=[{"configMapRef": {"name": "e"}}], env=[{"name": "PGDATA", "value": "/mine"}]),
            ("/mine", "environment"),
        ),
        (container(command=["postgres", "-D", "/pg"]), ("/pg", "arguments")),
        (container(args=["-c", "x=y", "-D/pg"]), ("/pg", "arguments")),
        (container(args=["--pgdata=/pg"]), ("/pg", "arguments")),
        (container(image="postgres:16"), ("/var/lib/postgresql/data", "image")),
        (container(image="postgres:18.1"), ("/var/lib/postgresql/18/docker", "image")),
        (container(image="postgres"), (None, None)),
        (container(image="bitnami/postgresql:16"), ("/bitnami/postgresql/data", "image")),
        (container(), (None, None)),
        # a value that is in a Secret is not read, and nothing else is guessed instead
        (container(env=[{"name": "PGDATA", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]), (None, None)),
    ],
    ids=str,
)
def test_where_pgdata_is(one: dict[str, Any], wanted: tuple[Optional[str], Optional[str]]) -> None:
    maps = {"c": {"data": {"dir": "/of/map"}}, "e": {"data": {"PGDATA": "/of/all"}}}
    assert discover.data_directory(one, discover.environment(one, maps)) == wanted


def test_the_longest_mount_counts_and_paths_are_whole_words() -> None:
    mounts = [
        Mount("a", "/var/lib", "", "emptyDir", None),
        Mount("b", "/var/lib/postgresql", "x", "persistentVolumeClaim", "c"),
        Mount("d", "/var/lib/postgresql2", "", "emptyDir", None),
    ]
    found = discover.mount_of("/var/lib/postgresql/18/docker", mounts)
    assert (
        found is not None
        and found.volume == "b"
        and discover.path_in_volume("/var/lib/postgresql/18/docker", found) == "x/18/docker"
    )
    assert discover.path_in_volume("/var/lib", mounts[0]) == ""
    top = discover.mount_of("/", [Mount("r", "/", "", "emptyDir", None)])
    assert top is not None and discover.mount_of("/elsewhere", mounts) is None


@pytest.mark.parametrize(
    ("several", "wanted", "named"),
    [
        ([container(name="a")], "a", ""),
        ([container(name="metrics", image="postgres-exporter:1"), container(name="db", image="postgres:16")], "db", ""),
        ([container(name="web"), container(name="db", env=[{"name": "PGDATA", "value": "/d"}])], "db", ""),
        (
            [
                container(name="pgbouncer", ports=[{"containerPort": 6432}]),
                container(name="db", ports=[{"containerPort": 5432}]),
            ],
            "db",
            "",
        ),
        ([container(name="a"), container(name="b")], None, ""),
        ([container(name="a"), container(name="b")], "b", "b"),
        ([container(name="a")], None, "other"),
    ],
    ids=str,
)
def test_which_container_is_the_servers(several: list[dict[str, Any]], wanted: Optional[str], named: str) -> None:
    found = discover.server_container({"containers": several}, named)
    assert (found or {}).get("name") == wanted


def test_what_a_pod_uses_and_which_key_is_the_password() -> None:
    spec = {
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "kube-api-access-x", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "all", "projected": {"sources": [{"secret": {"name": "tls"}}, {"configMap": {"name": "ca"}}]}},
            {"name": "pw", "secret": {"secretName": "db", "items": [{"key": "admin", "path": "password"}]}},
            {"name": "files", "azureFile": {"secretName": "azure", "shareName": "s"}},
            {"name": "blob", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "blob"}}},
        ],
        "initContainers": [{"name": "i", "image": "x", "envFrom": [{"secretRef": {"name": "init"}}]}],
        "containers": [],
    }
    by_file = container(
        env=[{"name": "POSTGRES_PASSWORD_FILE", "value": "/run/pw/password"}],
        volumeMounts=[{"name": "pw", "mountPath": "/run/pw"}],
    )
    spec["containers"] = [by_file]
    found = discover.references(spec, by_file)
    assert (
        found.config_maps == ("conf", "ca")
        and found.secrets == ("tls", "db", "azure", "blob", "init")
        and found.pull_secrets == ("pull",)
    )
    assert found.password == {"secret": "db", "key": "admin", "variable": "POSTGRES_PASSWORD_FILE", "user": "postgres"}
    by_key = container(
        env=[{"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "postgres-password"}}}]
    )
    assert discover.references({"containers": [by_key]}, by_key).password == {
        "secret": "db", "key": "postgres-password", "variable": "POSTGRES_PASSWORD", "user": "postgres"
    }  # fmt: skip
    plain = container(env=[{"name": "POSTGRES_PASSWORD", "value": "hush"}])
    assert discover.references({"containers": [plain]}, plain).password is None


@pytest.mark.parametrize(
    ("env", "variable", "user"),
    [
        # docker-library's, with another role than postgres; that role out of a Secret
        ({"POSTGRES_PASSWORD": "s", "POSTGRES_USER": "=owner"}, "POSTGRES_PASSWORD", "owner"),
        ({"POSTGRES_PASSWORD": "s", "POSTGRES_USER": "s"}, "POSTGRES_PASSWORD", None),
        # Bitnami's: the application's and the superuser's
        ({"POSTGRES_PASSWORD": "s", "POSTGRES_USER": "=app", "POSTGRES_POSTGRES_PASSWORD": "s"}, "POSTGRES_POSTGRES_PASSWORD", "postgres"),
        ({"POSTGRESQL_PASSWORD": "s", "POSTGRESQL_USERNAME": "=app"}, "POSTGRESQL_PASSWORD", "app"),
        # sclorg's
        ({"POSTGRESQL_USER": "=app", "POSTGRESQL_PASSWORD": "s", "POSTGRESQL_ADMIN_PASSWORD": "s"}, "POSTGRESQL_ADMIN_PASSWORD", "postgres"),
        ({"PGPASSWORD_SUPERUSER": "s", "PGUSER_SUPERUSER": "=postgres"}, "PGPASSWORD_SUPERUSER", "postgres"),
    ],
)  # fmt: skip
def test_whose_password_it_is(env: dict[str, str], variable: str, user: Optional[str]) -> None:
    """The kind: the password of one role is sent for another. ``=x`` is a value, ``s`` a key of a Secret."""
    secret = {"secretKeyRef": {"name": "db", "key": "k"}}
    one = container(
        env=[{"name": key, **({"value": value[1:]} if value[0] == "=" else {"valueFrom": secret})} for key, value in env.items()]
    )  # fmt: skip
    found = discover.references({"containers": [one]}, one).password
    assert found == {"secret": "db", "key": "k", "variable": variable, "user": user}


@pytest.mark.parametrize(
    ("args", "said", "path", "words"),
    [
        ([], None, "/data/pgdata/pg_hba.conf", "on the claim data-db-0 (pgdata/pg_hba.conf in the volume)"),
        (["-c", "hba_file=/etc/pg/pg_hba.conf"], None, "/etc/pg/pg_hba.conf", "out of the ConfigMap rules (pg_hba.conf)"),
        (["--hba-file=/etc/one.conf"], None, "/etc/one.conf", "out of the Secret hidden (rules)"),
        (["-c", "config_file=/etc/pg/postgresql.conf"], None, None, ""),  # which may say anything
        (["-c", "config_file=/etc/pg/postgresql.conf"], "/opt/pg_hba.conf", "/opt/pg_hba.conf", "on no persistent volume"),
    ],
)  # fmt: skip
def test_where_pg_hba_conf_is(args: list[str], said: Optional[str], path: Optional[str], words: str) -> None:
    """So that who is refused knows which object to change."""
    one = container(
        args=args,
        env=[{"name": "PGDATA", "value": "/data/pgdata"}],
        volumeMounts=[
            {"name": "data", "mountPath": "/data"},
            {"name": "rules", "mountPath": "/etc/pg"},
            {"name": "hidden", "mountPath": "/etc/one.conf", "subPath": "rules"},
        ],
    )
    spec = {
        "containers": [one],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
            {"name": "rules", "configMap": {"name": "rules"}},
            {"name": "hidden", "secret": {"secretName": "hidden"}},
        ],
    }
    info = describe(Objects([], spec), "", Asked(hba_file=said))
    assert info["hba_file"]["path"] == path
    told = where_rules_are(info["hba_file"])
    assert words in told and bool(told) == bool(words), told
    assert told in str(findings(info, "pg_hba.conf has no line")["warnings"])
    assert not told or told not in str(findings(info, "every WAL sender is in use")["warnings"])


def test_selectors() -> None:
    labels = {"app": "db", "tier": "1"}
    assert discover.selects({"matchLabels": {"app": "db"}}, labels) and discover.selects({}, labels)
    assert not discover.selects({"matchLabels": {"app": "web"}}, labels)
    for operator, values, holds in (
        ("In", ["1", "2"], True),
        ("NotIn", ["1"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ):
        assert (
            discover.selects({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]}, labels)
            is holds
        )


def service(name: str, selector: Optional[dict[str, str]], port: int = 5432, headless: bool = False) -> dict[str, Any]:
    spec = {"selector": selector, "ports": [{"port": port}], "clusterIP": "None" if headless else "10.0.0.1"}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def test_the_service_to_connect_to_comes_first() -> None:
    several = [
        service("headless", {"app": "db"}, headless=True),
        service("any", {"app": "db"}),
        service("primary", {"app": "db", "role": "primary"}),
        service("metrics", {"app": "db"}, 9187),
        service("other", {"app": "web"}),
        service("external", None),
    ]
    found = discover.services(several, {"app": "db", "role": "primary"}, "headless")
    assert [one["name"] for one in found] == ["primary", "any", "metrics", "headless"]
    assert found[0]["host"] == "primary.shop.svc" and found[-1]["governing"]
    # a standby's labels do not lead to the primary's Service
    assert "primary" not in [one["name"] for one in discover.services(several, {"app": "db", "role": "replica"})]


def pod(name: str, address: str = "", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"podIP": address}}


def test_the_primary_is_known_or_it_is_not() -> None:
    pods = [pod("db-0", "10.0.0.1"), pod("db-1", "10.0.0.2")]
    assert discover.primary(pods) == (None, None)
    assert discover.primary(pods, "10.0.0.2") == ("db-1", "server")
    assert discover.primary(pods[:1]) == ("db-0", "only")
    labelled = [pod("a", **{"spilo-role": "replica"}), pod("b", **{"spilo-role": "master"})]
    assert discover.primary(labelled) == ("b", "labels")
    assert discover.primary([pod("a", role="primary"), pod("b", role="primary")]) == (None, None)


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/StatefulSet:shop/db"}},
            {"tool": "argocd", "name": "shop", "namespace": None},
        ),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "team_shop:apps/StatefulSet:shop/db"}},
            {"tool": "argocd", "name": "shop", "namespace": "team"},
        ),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, {"tool": "argocd", "name": "shop", "namespace": None}),
        (
            {
                "labels": {
                    "kustomize.toolkit.fluxcd.io/name": "apps",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                }
            },
            {"tool": "flux-kustomize", "name": "apps", "namespace": "flux-system"},
        ),
        (
            {"labels": {"helm.toolkit.fluxcd.io/name": "db", "helm.toolkit.fluxcd.io/namespace": "f"}},
            {"tool": "flux-helm", "name": "db", "namespace": "f"},
        ),
        # Argo CD's default label is everybody's
        ({"labels": {"app.kubernetes.io/instance": "shop"}}, None),
        ({}, None),
    ],
    ids=str,
)
def test_who_takes_changes_back(metadata: dict[str, Any], wanted: Optional[dict[str, Any]]) -> None:
    assert discover.owners({"metadata": metadata})["gitops"] == wanted


def test_an_operator_that_has_its_pods_is_named() -> None:
    owner = {"kind": "Cluster", "name": "shop", "apiVersion": "postgresql.cnpg.io/v1", "controller": True}
    one = {**pod("shop-1", "10.0.0.1", **{"cnpg.io/instanceRole": "primary"}), "kind": "Pod"}
    one["metadata"]["ownerReferences"] = [owner]
    info = describe(Objects([one], {"containers": [container()]}))
    assert info["operator"] == {"kind": "Cluster", "name": "shop", "api_version": "postgresql.cnpg.io/v1"}
    assert info["stateful_set"] is None and info["primary"] == "shop-1"
    assert "Cluster shop keeps it" in " ".join(findings(info)["warnings"])


def test_a_deployments_autoscaler_is_its_own_or_not_known() -> None:
    """ "None" is said of what was looked at alone."""
    one = {**pod("db-6d4-x"), "kind": "Pod"}
    one["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "db-6d4", "controller": True}]
    scaler = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "db"}}}
    spec = {"containers": [container()]}
    hidden = describe(Objects([one], spec, autoscalers=[scaler], scaled_objects=[]))
    assert hidden["autoscalers"] is None and hidden["keda"] is None and hidden["deployment"] is None
    deployment = {"kind": "Deployment", "metadata": {"name": "db"}, "spec": {"replicas": 1}}
    seen = describe(Objects([one], spec, deployment=deployment, autoscalers=[scaler], scaled_objects=[]))
    assert seen["autoscalers"] == ["h"] and seen["deployment"] == "db" and seen["replicas"] == 1
    assert seen["claim_retention"] is None


def stateful_set(**more: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {
            "containers": [
                container(
                    image="postgres:16-alpine",
                    env=[{"name": "PGDATA", "value": "/data/pg"}],
                    volumeMounts=[{"name": "data", "mountPath": "/data"}],
                )
            ]
        },
    }
    claims = [{"metadata": {"name": "data"}, "spec": {}}]
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"template": template, "volumeClaimTemplates": claims, "replicas": 0, **more},
    }


def objects(**more: Any) -> Objects:
    top = more.pop("stateful_set", None) or stateful_set()
    return Objects(
        [],
        top["spec"]["template"]["spec"],
        top,
        claims={"data-db-0": {"spec": {"storageClassName": "fast", "volumeName": "pv"}, "status": {"phase": "Bound"}}},
        **more,
    )


def test_a_server_that_is_scaled_to_0_is_known_by_its_template() -> None:
    info = describe(objects())
    assert info["data"] == {
        "directory": "/data/pg", "directory_by": "environment", "volume": "data", "source": "persistentVolumeClaim", "claim": "data-db-0",
        "mount_path": "/data", "sub_path": None, "path_in_volume": "pg", "at_volume_root": False, "persistent": True, "wal_claim": None,
    }  # fmt: skip
    assert (info["primary"], info["pods"], info["replicas"], info["major_version"], info["libc"]) == (
        None,
        [],
        0,
        16,
        "musl",
    )
    assert info["services"] is None and info["autoscalers"] is None and info["keda"] is None  # not read is not none
    assert describe(objects(stateful_set=stateful_set(ordinals={"start": 5})))["data"]["claim"] == "data-db-5"


def test_what_the_server_says_takes_precedence() -> None:
    info = describe(objects(), "", Asked(version_num=180001, data_directory="/elsewhere", tablespaces=("/data/space",)))
    assert info["major_version"] == 18 and info["data"]["directory_by"] == "server"
    assert info["data"]["persistent"] is False and info["data"]["source"] == "container"
    assert info["claims"][0]["tablespaces"] == ["/data/space"]


def _classes(*several: tuple[str, str, bool]) -> list[dict[str, Any]]:
    mark = "snapshot.storage.kubernetes.io/is-default-class"
    return [
        {"metadata": {"name": name, "annotations": {mark: "true"} if default else {}}, "driver": driver}
        for name, driver, default in several
    ]


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [
        (None, None),
        ([], None),
        (_classes(("a", "csi", False)), "a"),
        (_classes(("a", "other", True)), None),
        (_classes(("a", "csi", False), ("b", "csi", True)), "b"),
        (_classes(("a", "csi", False), ("b", "csi", False)), None),
        (_classes(("a", "csi", True), ("b", "csi", True)), None),
    ],
)
def test_the_snapshot_class_of_a_driver(classes: Any, wanted: Optional[str]) -> None:
    assert snapshot_class("csi", classes) == wanted


def levels(found: Objects, **more: Any) -> dict[str, list[str]]:
    return findings(describe(found), **more)


def test_findings() -> None:
    policy = {"whenScaled": "Delete", "whenDeleted": "Delete"}
    hpa = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "db"}}}
    keda = {"metadata": {"name": "k"}, "spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "db"}}}
    others = {"metadata": {"name": "o"}, "spec": {"scaleTargetRef": {"name": "db"}}}  # a Deployment's, by default
    top = stateful_set(persistentVolumeClaimRetentionPolicy=policy)
    top["metadata"]["labels"] = {"argocd.argoproj.io/instance": "shop"}
    volume = {"spec": {"csi": {"driver": "csi"}}}
    found = levels(
        objects(
            stateful_set=top,
            volumes={"pv": volume},
            snapshot_classes=[],
            autoscalers=[hpa, others],
            scaled_objects=[keda, others],
        ),
        replication="no line",
    )
    assert len(found["errors"]) == 1 and "whenScaled is Delete" in found["errors"][0]
    said = " ".join(found["warnings"])
    for part in (
        "whenDeleted",
        "no snapshot class",
        "no line",
        "musl",
        "argocd",
        "HorizontalPodAutoscaler h",
        "ScaledObject k",
    ):
        assert part in said
    assert "ScaledObject o" not in said and "HorizontalPodAutoscaler o" not in said
    assert "PGDATA (/data/pg) lies on the claim data-db-0" in " ".join(found["fine"])


def test_what_was_not_looked_at_is_neither_fine_nor_wrong() -> None:
    volume = {"spec": {"csi": {"driver": "csi"}}}
    found = levels(objects(volumes={"pv": volume}), snapshots_known=False)
    assert not any("snapshot" in message or "replication" in message for some in found.values() for message in some)


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ({"emptyDir": {}}, "emptyDir"),
        ({"hostPath": {"path": "/x"}}, "on another node"),
        ({"ephemeral": {}}, "deleted with the pod"),
        (None, "own file system"),
    ],
)
def test_data_that_go_with_the_pod_are_an_error(volume: Optional[dict[str, Any]], said: str) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}] if volume is not None else []
    one = container(env=[{"name": "PGDATA", "value": "/data/pg"}], volumeMounts=mounts)
    spec = {"containers": [one], "volumes": [{"name": "data", **volume}] if volume is not None else []}
    found = levels(Objects([{"metadata": {"name": "x-0"}, "spec": spec, "status": {}}], spec))
    (error,) = found["errors"]
    assert said in error


@pytest.mark.parametrize(
    ("image", "pgdata", "mounted_at", "level", "persistent"),
    [
        ("postgres:16", None, "/var/lib/postgresql/data", "fine", True),
        ("postgres:16", "/var/lib/postgresql/data/pgdata", "/var/lib/postgresql/data", "fine", True),
        ("postgres:16", "/var/lib/postgresql/data/pgdata", "/var/lib/postgresql/data/pgdata", "fine", True),
        ("postgres:16", None, "/var/lib/postgresql", "errors", False),
        ("postgres:16", "/var/lib/postgresql/data/pgdata", "/var/lib/postgresql", "errors", False),
        ("postgres:16", "/var/lib/postgresql/pgdata", "/var/lib/postgresql", "fine", True),
        ("postgres:18", None, "/var/lib/postgresql", "fine", True),
        ("postgres:18-alpine", None, "/var/lib/postgresql/data", "errors", False),  # what was right until 17
        ("postgres:18", "/var/lib/postgresql/18/docker", "/var/lib", "errors", False),
        ("postgres:16", None, "/var/data", "errors", False),
        ("bitnami/postgresql:16.4.0", None, "/bitnami", "errors", False),
        ("bitnami/postgresql:16.4.0", None, "/bitnami/postgresql", "fine", True),
        ("mirror/ours:1", "/var/lib/postgresql/data", "/var/lib/postgresql", "warnings", None),
        ("mirror/ours:1", "/data/pg", "/data", "fine", True),
    ],
)
def test_a_claim_that_the_image_hides_is_no_persistent_volume(
    image: str, pgdata: Optional[str], mounted_at: str, level: str, persistent: Optional[bool]
) -> None:
    """The claim is bound and mounted, all looks well, and the data lie beside it: in a volume that the image declares."""
    variables = [{"name": "PGDATA", "value": pgdata}] if pgdata else []
    one = container(image=image, env=variables, volumeMounts=[{"name": "data", "mountPath": mounted_at}])
    spec = {"containers": [one], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]}
    info = describe(Objects([], spec))
    assert info["data"]["persistent"] is persistent
    assert any("PGDATA" in message for message in findings(info)[level])


def test_an_unknown_container_or_directory_is_a_warning() -> None:
    unknown = levels(Objects([], {"containers": [container()]}))
    assert not unknown["errors"] and "where PGDATA is cannot be told" in unknown["warnings"][0]
    several = levels(Objects([], {"containers": [container(name="a"), container(name="b")]}))
    assert not several["errors"] and "name it by container" in several["warnings"][0]
