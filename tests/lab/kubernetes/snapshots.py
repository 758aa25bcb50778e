# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers whose volumes are snapshotted, load on them, and what comes of a restored claim, looked at by other means."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of

from lab.playbooks import ModuleResult, run_module
from lab.waiting import wait_until

from .api import Namespace
from .images import POSTGRES
from .postgres import MOUNT, USER, Postgres

Object = dict[str, Any]
API = "snapshot.storage.k8s.io/v1"
ARCHIVING = {"archive_mode": "on", "archive_command": "test ! -f /archive/%f && cp %p /archive/%f"}


@dataclass
class Shop:
    """A namespace with two servers: `plain` lies on one claim and archives nothing; `wide` has a tablespace on a claim of its own, and
    archives into a third one."""

    namespace: Namespace
    plain: Postgres
    wide: Postgres
    kubeconfig: Path
    directory: Path
    #: claims that hold nothing of a server, by its name
    exclude: Mapping[str, list[str]]

    def run(self, repository: Path, server: Postgres | None = None, **options: Any) -> ModuleResult:
        login: Object = {}
        if server is not None:
            login = server.login
            options = {"stateful_set": server.name, **options}
            options = {"exclude_claims": self.exclude.get(server.name, []), **options}
        given = {
            "kubernetes": {"kubeconfig": str(self.kubeconfig), "namespace": self.namespace.name},
            "repository": {"path": str(repository)},
            "state_dir": str(self.directory / "state"),
            "server_name": "shop",
            "timeout": "60s",
            "wal_timeout": "60s",
            **login,
            **options,
        }
        check = given.pop("check_mode", False)
        return run_module("pvc_snapshot", given, check=check, diff=True)

    def snapshots(self) -> Sequence[Object]:
        return self.namespace.list(API, "VolumeSnapshot")


def on_claims(*names: str) -> Callable[[list[Object]], None]:
    """More claims for a server, each mounted at its name."""

    def change(objects: list[Object]) -> None:
        _more(objects, names)

    return change


def _more(objects: list[Object], names: Sequence[str]) -> None:
    top = next(one for one in objects if one["kind"] == "StatefulSet")
    template = top["spec"]["volumeClaimTemplates"][0]
    top["spec"]["volumeClaimTemplates"] += [{**template, "metadata": {"name": name}} for name in names]
    (container,) = top["spec"]["template"]["spec"]["containers"]
    container["volumeMounts"] += [{"name": name, "mountPath": f"/{name}"} for name in names]


class Load:
    """Transfers that keep a sum, and a log of what was committed, until it ends."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self.stop = threading.Event()
        self.done: list[int] = []
        tables = "create table account (id int primary key, balance bigint); create table done (n int)"
        server.sql(
            f"drop table if exists account, done; {tables}; insert into account select i, 1000 from generate_series(1, 200) i"
        )
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        with closing(self._server.connect()) as connection, connection.cursor() as cursor:
            number = 0
            while not self.stop.is_set():
                number += 1
                one, other = random.sample(range(1, 201), 2)
                cursor.execute(
                    f"begin; update account set balance = balance - 7 where id = {one};"
                    f" update account set balance = balance + 7 where id = {other}; insert into done values ({number}); commit"
                )
                self.done.append(number)

    def __enter__(self) -> Load:
        self._thread.start()
        wait_until(lambda: len(self.done) > 50, 30)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop.set()
        self._thread.join(30)


def restorer(shop: Shop, *claims: str) -> Path:
    rights = rights_of("snapshot_restore", new_claims=list(claims))
    return shop.namespace.service_account(
        [rule.manifest() for rule in rights.rules],
        shop.directory,
        cluster_rules=[rule.manifest() for rule in rights.cluster],
    )


def restore(shop: Shop, kubeconfig: Path, repository: Path, check: bool = False, **options: Any) -> ModuleResult:
    given: Object = {
        "kubernetes": {"kubeconfig": str(kubeconfig), "namespace": shop.namespace.name},
        "repository": {"path": str(repository)},
        "server_name": "shop",
        "state": "restored",
        "timeout": "90s",
        **options,
    }
    return run_module("pvc_snapshot", given, check=check, diff=True)


def start(shop: Shop, name: str, mounts: dict[str, str], archive: str | None = None) -> Callable[[str], str]:
    """A server of the lab's image on claims, which makes nothing ready itself; what it answers to a statement."""
    volumes = {**mounts, **({"/archive": archive} if archive else {})}
    container = {
        "name": "postgres",
        "image": POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            "bash", "-c",
            f"chmod 0700 {MOUNT}/pgdata; exec postgres -D {MOUNT}/pgdata -c listen_addresses= -c unix_socket_directories=/tmp",
        ],
        "readinessProbe": {"exec": {"command": ["pg_isready", "-h", "/tmp"]}, "periodSeconds": 1},
        "volumeMounts": [{"name": f"v{n}", "mountPath": path} for n, path in enumerate(volumes)],
    }  # fmt: skip
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "containers": [container],
            "volumes": [
                {"name": f"v{n}", "persistentVolumeClaim": {"claimName": claim}}
                for n, claim in enumerate(volumes.values())
            ],
        },
    }
    shop.namespace.apply(pod)

    def serves(found: Object) -> bool:
        return any(one.get("ready") for one in (found.get("status") or {}).get("containerStatuses") or ())

    try:
        shop.namespace.wait("v1", "Pod", name, serves, 60)
    except AssertionError as exc:
        raise AssertionError(f"{exc}\n{shop.namespace.logs(name)}") from None

    def ask(statement: str) -> str:
        done = shop.namespace.execute(name, "psql", "-XAt", "-h", "/tmp", "-U", "postgres", "-c", statement)
        assert done.status == 0, done.stderr
        return done.stdout.strip()

    return ask


def compare(ask: Callable[[str], str], load: Load, least: int) -> None:
    """What was committed before the snapshot is there, what is there was committed in that order without a hole, and each transaction is there
    whole."""
    assert ask("select sum(balance) from account") == "200000"
    there = int(ask("select coalesce(max(n), 0) from done"))
    assert int(ask("select count(*) from done")) == there
    assert least <= there <= len(load.done) + 1
    assert ask("select count(*) from account where (1000 - balance) % 7 <> 0") == "0"
