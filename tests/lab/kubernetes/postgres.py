# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL in a StatefulSet, as the guides make it: a claim, two Services, a Secret with the password."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any

import psycopg2

from .api import Namespace, Object
from .images import POSTGRES

MOUNT = "/var/lib/postgresql/data"
USER = 26  # postgres, in the image
_START = """
set -eu
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\\n' "$POSTGRES_PASSWORD") --auth-local=trust --auth-host=scram-sha-256 \\
        --encoding=UTF8 --locale=C --data-checksums --no-sync --pgdata="$PGDATA"
    printf '%s\\n' "$LAB_HBA" >> "$PGDATA/pg_hba.conf"
fi
chmod 0700 "$PGDATA"  # kubelet's fsGroup adds rights of the group at each mount
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off "$@"
"""


def manifests(
    name: str,
    password: str,
    *,
    image: str = POSTGRES,
    pgdata: str = "below",
    replication: bool = True,
    settings: Mapping[str, str] | None = None,
    size: str = "1Gi",
    replicas: int = 1,
) -> list[Object]:
    """Secret, headless Service, Service, StatefulSet.

    pgdata       "below": a folder of the volume; "root": the volume's root itself, as seed 001's chart has it
    replication  whether pg_hba.conf has a line for replication from elsewhere
    settings     of PostgreSQL, such as {"archive_mode": "on"}
    """
    labels = {"app.kubernetes.io/name": "postgresql", "app.kubernetes.io/instance": name}
    hba = ["host all all all scram-sha-256", *(["host replication all all scram-sha-256"] if replication else [])]
    directory = {"below": f"{MOUNT}/pgdata", "root": MOUNT}[pgdata]
    password_of = {"secretKeyRef": {"name": name, "key": "password"}}
    container = {
        "name": "postgres",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", _START, "postgres"],
        "args": [part for key, value in (settings or {}).items() for part in ("-c", f"{key}={value}")],
        "env": [
            {"name": "PGDATA", "value": directory},
            {"name": "PGHOST", "value": "/tmp"},
            {"name": "POSTGRES_USER", "value": "postgres"},
            {"name": "POSTGRES_PASSWORD", "valueFrom": password_of},
            {"name": "LAB_HBA", "value": "\n".join(hba)},
        ],
        "ports": [{"name": "postgresql", "containerPort": 5432}],
        "readinessProbe": {"exec": {"command": ["pg_isready", "-h", "/tmp"]}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": MOUNT}],
    }
    # PostgreSQL wants to own its data directory, which the volume's root is not by itself: the official image's start does the same.
    own = {
        **container,
        "name": "own",
        "command": ["sh", "-c", f"chown {USER}:{USER} {MOUNT}"],
        "securityContext": {"runAsUser": 0},
    }
    for key in ("args", "ports", "readinessProbe", "env"):
        own.pop(key)
    pod = {
        "terminationGracePeriodSeconds": 20,
        "securityContext": {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
        "initContainers": [own] if pgdata == "root" else [],
        "containers": [container],
    }
    ports = [{"name": "postgresql", "port": 5432}]
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": password}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"{name}-headless"},
            "spec": {"clusterIP": "None", "selector": labels, "ports": ports},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": ports},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "serviceName": f"{name}-headless",
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
                "volumeClaimTemplates": [claim],
            },
        },
    ]


class Postgres:
    """A server that stands in a namespace. Made by the fixture `postgres`."""

    port = 5432
    user = "postgres"

    def __init__(
        self,
        namespace: Namespace,
        name: str = "pg",
        change: Callable[[list[Object]], None] | None = None,
        **options: Any,
    ) -> None:
        self.namespace, self.name = namespace, name
        self.password = secrets.token_urlsafe(12)
        objects = manifests(name, self.password, **options)
        if change:
            change(objects)
        namespace.apply(*objects)

    @classmethod
    def there(cls, namespace: Namespace, name: str, password: str) -> Postgres:
        """One that somebody else made."""
        made = object.__new__(cls)
        made.namespace, made.name, made.password = namespace, name, password
        return made

    @property
    def pod(self) -> str:
        return f"{self.name}-0"

    @property
    def claim(self) -> str:
        return f"data-{self.name}-0"

    @property
    def service(self) -> str:
        """The name by which pods reach it."""
        return f"{self.name}.{self.namespace}.svc"

    @property
    def host(self) -> str:
        """The Service's address, which this machine reaches in the lab's cluster."""
        address: str = self.namespace.get("v1", "Service", self.name)["spec"]["clusterIP"]
        return address

    @property
    def login(self) -> dict[str, Any]:
        """How modules on this machine log in, by the Service."""
        return {"login_host": self.host, "login_user": "postgres", "login_password": self.password}

    def ready(self, timeout: float = 180) -> Postgres:
        """Wait until it answers."""
        self.namespace.wait(
            "apps/v1", "StatefulSet", self.name,
            lambda it: it["status"].get("readyReplicas", 0) == it["spec"]["replicas"]
            and it["status"].get("observedGeneration") == it["metadata"]["generation"],
            timeout,
        )  # fmt: skip
        return self

    def reachable(self) -> bool:
        """Whether this machine reaches the Service's address."""
        with suppress(OSError), closing(socket.create_connection((self.host, self.port), timeout=5)):
            return True
        return False

    def connect(self, database: str = "postgres") -> Any:
        """A connection over the Service, that commits by itself."""
        connection = psycopg2.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=database, connect_timeout=10
        )
        connection.autocommit = True
        return connection

    def sql(self, text: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a statement, over the Service."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def psql(self, text: str, database: str = "postgres") -> str:
        """The same in the pod, over its socket."""
        done = self.namespace.execute(
            self.pod, "psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-U", self.user, "-d", database, "-c", text
        )
        assert done.status == 0, done.stderr
        return done.stdout.strip()
