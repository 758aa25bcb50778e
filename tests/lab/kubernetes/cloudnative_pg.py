# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudNativePG's operator in a cluster that runs, out of the manifest of its release, and a Cluster of it as tests ask for one: plain, or with
an archive in S3 (in-tree barmanObjectStore)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..waiting import wait_until
from . import images, oci
from .api import Namespace
from .images import POSTGRES
from .parts import CLOUDNATIVE_PG, POSTGRES_LAYER, PYTHON_LAYER
from .settings import POSTGRESQL, VERSIONS

if TYPE_CHECKING:
    from .images import Containerd
    from .running import Starter

IMAGE = f"localhost/cnpg:{VERSIONS['CNPG_VERSION']}"
API = "postgresql.cnpg.io/v1"
#: PostgreSQL with barman-cloud, which the operator runs in it for barmanObjectStore
BARMAN = f"localhost/postgres-barman:{POSTGRESQL}"
_NAMESPACE, _DEPLOYMENT = "cnpg-system", "cnpg-controller-manager"


def start(starter: Starter, containerd: Containerd) -> None:
    """Image, definitions, operator; until it answers. What is there already stays as it is. Raises DidNotStart."""
    containerd.load([image()])
    starter.apply(manifest((CLOUDNATIVE_PG.path / "manifest.yaml").read_text()))
    wanted = ("wait", "--for=condition=Available", f"deployment/{_DEPLOYMENT}", "-n", _NAMESPACE, "--timeout=1s")
    starter.wait("CloudNativePG's operator", 120, lambda: starter.kubectl(*wanted))
    # Its webhook is asked about each Cluster, by a Service whose address takes a moment more.
    trial = json.dumps(cluster("trial"))
    starter.wait("its webhook", 60, lambda: starter.kubectl("create", "--dry-run=server", "-f", "-", text=trial))


def image() -> oci.Image:
    """The operator's own: one static program."""
    return oci.Image(IMAGE, (CLOUDNATIVE_PG.path / "layer.tar",), user="10001", entrypoint=("/manager",))


def barman() -> oci.Image:
    """The lab's PostgreSQL, and what the collection's image has for Debian's Python on top: barman-cloud and boto3 are in it."""
    layers = tuple(part.path / "layer.tar" for part in (POSTGRES_LAYER, PYTHON_LAYER))
    return oci.Image(BARMAN, layers, user="26", environment={"PATH": images.PATH, "LANG": "C.UTF-8"}, command=("bash",))


def manifest(text: str) -> str:
    """The release's, with our image, and small enough for two cores (pure)."""
    import yaml

    documents = text.split("\n---\n")
    for number, document in enumerate(documents):
        if "\nkind: Deployment\n" not in document:
            continue
        whole = yaml.safe_load(document)
        spec = whole["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        container.update(image=IMAGE, imagePullPolicy="IfNotPresent", resources={})
        # One of them, which need not wait for the lease of one that was killed.
        container["args"] = [argument for argument in container["args"] if argument != "--leader-elect"]
        for variable in container["env"]:
            if variable["name"] == "OPERATOR_IMAGE_NAME":
                variable["value"] = IMAGE
        documents[number] = json.dumps(whole)
    return "\n---\n".join(documents)


def cluster(name: str, instances: int = 1, **spec: Any) -> dict[str, Any]:
    """A Cluster of the lab's own image of PostgreSQL."""
    wanted = {
        "instances": instances,
        "imageName": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "storage": {"size": "1Gi"},
        "postgresql": {"parameters": {"jit": "off"}},
        # A stop need not wait for sessions: whole seconds of each test.
        "stopDelay": 10,
        "smartShutdownTimeout": 1,
        **spec,
    }
    return {"apiVersion": API, "kind": "Cluster", "metadata": {"name": name}, "spec": wanted}


def archiving(name: str, bucket: Mapping[str, Any], server_name: str = "", **spec: Any) -> list[dict[str, Any]]:
    """A Cluster that archives into a bucket by the operator's own means, and the Secret that it needs. `bucket`: as a repository's options."""
    store: dict[str, Any] = {
        "destinationPath": f"s3://{bucket['bucket']}/{bucket.get('prefix') or 'cnpg'}",
        "endpointURL": bucket["endpoint_url"],
        "s3Credentials": {
            "accessKeyId": {"name": f"{name}-s3", "key": "id"},
            "secretAccessKey": {"name": f"{name}-s3", "key": "key"},
        },
        "wal": {"compression": "gzip"},
        "data": {"compression": "gzip", "immediateCheckpoint": True},
        **({"serverName": server_name} if server_name else {}),
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{name}-s3", "labels": {"cnpg.io/reload": "true"}},
        "stringData": {"id": bucket["access_key"], "key": bucket["secret_key"]},
    }
    made = cluster(name, **{"imageName": BARMAN, "backup": {"barmanObjectStore": store}, **spec})
    return [secret, made]


def is_ready(item: Mapping[str, Any]) -> bool:
    """Not only healthy: its conditions can be of an earlier moment, so the phase is looked at as well."""
    status = item.get("status") or {}
    said = {one["type"]: one["status"] for one in status.get("conditions") or []}
    return said.get("Ready") == "True" and status.get("phase") == "Cluster in healthy state"


def has_archived(item: Mapping[str, Any]) -> bool:
    """Its condition says that its WAL is in the store."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(one["type"] == "ContinuousArchiving" and one["status"] == "True" for one in conditions)


@dataclass
class Cnpg:
    """A Cluster that runs, reached as applications reach it, and as its owner does."""

    namespace: Namespace
    name: str

    def ready(self, seconds: float = 180) -> None:
        self.namespace.wait(API, "Cluster", self.name, is_ready, seconds)

    @property
    def login(self) -> dict[str, Any]:
        """Of postgres, where `enableSuperuserAccess` is on, else of its application."""
        for kind in ("superuser", "app"):
            found = self.namespace.find("v1", "Secret", f"{self.name}-{kind}")
            if found:
                secret = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
                database = secret.get("dbname", "*")
                return {
                    "login_host": self.namespace.get("v1", "Service", f"{self.name}-rw")["spec"]["clusterIP"],
                    "login_user": secret["username"],
                    "login_password": secret["password"],
                    "login_db": "postgres" if database == "*" else database,
                }
        raise AssertionError(f"{self.name} has no Secret of a user yet")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run as that user, and committed; its rows, where it has any."""
        import psycopg2

        login = self.login
        with closing(
            psycopg2.connect(
                host=login["login_host"], user=login["login_user"], password=login["login_password"], dbname=login["login_db"],
                connect_timeout=10,
            )
        ) as connection:  # fmt: skip
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def delete(self) -> None:
        """Before the namespace: whose pods may take half an hour for their end, and are made anew while the Cluster is there."""
        self.namespace.delete(API, "Cluster", self.name)
        owned = f"cnpg.io/cluster={self.name}"
        wait_until(lambda: not self.namespace.list("v1", "Pod", owned), 60, 0.2)
