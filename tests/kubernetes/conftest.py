# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes for these tests: the lab's own (tests/lab/kubernetes), or the one that HOLDFAST_KUBECONFIG names.

cluster          the whole run's, started when a test first asks for it, and ended with the run, however that ends
namespace        a test's own; deleted at its end
service_account  service_account(rules): a kubeconfig with exactly these rights in the test's namespace
postgres         postgres(name, …): PostgreSQL 15 in a StatefulSet of the namespace, with claim, Services and Secret
fault            with fault("CreateSnapshot", "fail no space"): the CSI driver answers so, to this test's namespace alone
without          with without("kube-apiserver"): the program is killed, and back at the end; only in a cluster that is this run's own, and only where
                 no other tests run beside (pytest -n)
store            S3 that pods and this machine reach by the same address; a test makes a bucket of its own there
bucket           a bucket of it that is the test's own, as options of a repository
image            the collection's own image, with what this checkout has now; its reference
cloudnative_pg   its operator runs in the cluster
cnpg_here        as long as nobody asks for what takes long, only where its operator runs already
barman_plugin    and its plugin for object stores
cnpg_archiving   the same, and an image with barman-cloud: Clusters can archive into `bucket`

A cluster that is named has images of its own: HOLDFAST_KUBERNETES_POSTGRES (bash and PostgreSQL's programs in PATH, user 26 may run it) and
HOLDFAST_KUBERNETES_IMAGE (the collection's). What the lab alone has (faults, the store, its images) skips there by name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.kubernetes import receiving
from lab.kubernetes.api import Api, Namespace
from lab.kubernetes.cluster import Cluster, Taken, missing
from lab.kubernetes.parts import NEEDED
from lab.kubernetes.postgres import Postgres
from lab.stores import S3Server, or_skip

TESTS = Path(__file__).resolve().parents[1]
NAMED = os.environ.get("HOLDFAST_KUBECONFIG", "")
_RUN = "HOLDFAST_LAB_RUN"  # the process whose end is the run's end
_REAPER = pytest.StashKey["subprocess.Popen[bytes]"]()


def pytest_configure(config: pytest.Config) -> None:
    """The cluster ends with the run, also when the run is killed: by a process that waits for the end of this one."""
    if hasattr(config, "workerinput"):  # its controller has done so
        return
    os.environ[_RUN] = str(os.getpid())
    if NAMED or missing():
        return
    command = 'read -r _; exec "$1" -m lab.kubernetes down --run "$2"'
    reaper = ["/bin/sh", "-c", command, "lab-reaper", sys.executable, str(os.getpid())]
    config.stash[_REAPER] = subprocess.Popen(reaper, stdin=subprocess.PIPE, cwd=TESTS, start_new_session=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    reaper = config.stash.get(_REAPER, None)
    if reaper and reaper.stdin:
        # A line, as what this process forked may hold the pipe open.
        reaper.communicate(b"\n")


@dataclass(frozen=True)
class Kubernetes:
    """The run's cluster. `lab` is None when it is somebody else's."""

    api: Api
    kubeconfig: Path
    lab: Cluster | None
    storage_class: str | None  # the default one, else the only one
    snapshot_class: str | None  # of the same driver

    def lab_or_skip(self, what: str) -> Cluster:
        if self.lab is None:
            pytest.skip(f"{what}: only the lab's own cluster has it, and HOLDFAST_KUBECONFIG names another")
        return self.lab


@pytest.fixture(scope="session")
def cluster() -> Iterator[Kubernetes]:
    if NAMED:
        path = Path(NAMED).expanduser()
        lab = Cluster.of(path)
    else:
        reason = missing()
        if reason:
            pytest.skip(f"no Kubernetes here: {reason}")
        lab = of_this_run()
        path = lab.kubeconfig
    api = Api(path)
    storage, snapshots = classes(api)
    yield Kubernetes(api, path, lab, storage, snapshots)
    if lab is None:  # the lab's own goes with all that is in it
        api.wait_for_removed()


def of_this_run() -> Cluster:
    try:
        return Cluster.up(pid=int(os.environ[_RUN]))
    except Taken as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


def classes(api: Api) -> tuple[str | None, str | None]:
    """The storage class that a claim gets without asking, and a snapshot class of its driver."""
    from kubernetes.dynamic.exceptions import ResourceNotFoundError

    items = api.kind("storage.k8s.io/v1", "StorageClass").get().to_dict()["items"]
    marked = "storageclass.kubernetes.io/is-default-class"
    chosen = [item for item in items if (item["metadata"].get("annotations") or {}).get(marked) == "true"] or items[:1]
    if not chosen:
        return None, None
    try:
        found = api.kind("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass").get().to_dict()["items"]
    except ResourceNotFoundError:
        found = []
    names = [item["metadata"]["name"] for item in found if item["driver"] == chosen[0]["provisioner"]]
    return chosen[0]["metadata"]["name"], names[0] if names else None


@pytest.fixture
def namespace(cluster: Kubernetes) -> Iterator[Namespace]:
    made = cluster.api.create_namespace()
    yield made
    made.remove()


@pytest.fixture
def service_account(namespace: Namespace, tmp_path: Path) -> Callable[..., Path]:
    def make(rules: Sequence[Mapping[str, Any]], **options: Any) -> Path:
        return namespace.service_account(rules, tmp_path, **options)

    return make


@pytest.fixture
def postgres(cluster: Kubernetes, namespace: Namespace) -> Callable[..., Postgres]:
    """postgres("pg", pgdata="root", replication=False, settings={…}, ready=True): options of lab.kubernetes.postgres.manifests."""

    def make(name: str = "pg", ready: bool = True, **options: Any) -> Postgres:
        named = os.environ.get("HOLDFAST_KUBERNETES_POSTGRES")
        if cluster.lab is None and not named:
            pytest.skip(
                "PostgreSQL in pods of a cluster that is not the lab's wants an image: HOLDFAST_KUBERNETES_POSTGRES"
            )
        if named:
            options = {"image": named, **options}
        server = Postgres(namespace, name, **options)
        if ready:
            server.ready()
        if cluster.lab is None and not server.reachable():
            pytest.skip("the Services of the cluster that HOLDFAST_KUBECONFIG names are not reached from this machine")
        return server

    return make


@pytest.fixture
def fault(cluster: Kubernetes, namespace: Namespace) -> Callable[[str, str], AbstractContextManager[None]]:
    lab = cluster.lab_or_skip("faults of the CSI driver")
    return lambda call, what: lab.fault(call, what, namespace.name)


@pytest.fixture
def without(cluster: Kubernetes) -> Callable[[str], AbstractContextManager[None]]:
    lab = cluster.lab_or_skip("programs of the cluster that are away")
    if NAMED:
        pytest.skip("programs of the cluster that are away: others may use the cluster that HOLDFAST_KUBECONFIG names")
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
        pytest.skip("programs of the cluster that are away: other tests run beside this one (pytest -n)")
    return lab.without


@pytest.fixture(scope="session")
def store(cluster: Kubernetes) -> Iterator[S3Server]:
    lab = cluster.lab_or_skip("a store that pods reach on this machine")
    yield from or_skip(S3Server, tls=False, address=lab.host_address)


@pytest.fixture
def bucket(store: S3Server, namespace: Namespace) -> dict[str, Any]:
    """A bucket of the test's own, as pods and this machine both reach it."""
    return receiving.bucket(store, namespace)


@pytest.fixture(scope="session")
def cloudnative_pg(cluster: Kubernetes) -> None:
    """Started when a test first asks for it, on top of what runs; it goes with the cluster."""
    lab = cluster.lab_or_skip("CloudNativePG's operator, and an image of PostgreSQL that it takes")
    lacking = [part.name for part in NEEDED["cnpg"] if not part.built]
    if lacking:
        pytest.skip(f"no CloudNativePG here: {', '.join(lacking)} not built (make test-extended)")
    lab.start_operator()


@pytest.fixture(scope="session")
def cnpg_here(cluster: Kubernetes, request: pytest.FixtureRequest) -> None:
    from kubernetes.dynamic.exceptions import ResourceNotFoundError

    try:
        cluster.api.kind("postgresql.cnpg.io/v1", "Cluster")
    except ResourceNotFoundError:
        if "not extended" in (request.config.getoption("markexpr") or ""):
            pytest.skip("CloudNativePG does not run in this cluster (make test-extended starts it)")


@pytest.fixture(scope="session")
def barman_plugin(cluster: Kubernetes, cloudnative_pg: None) -> None:
    lab = cluster.lab_or_skip("CloudNativePG's plugin for object stores")
    lacking = [part.name for level in ("image", "plugin") for part in NEEDED[level] if not part.built]
    if lacking:
        pytest.skip(f"no plugin-barman-cloud here: {', '.join(lacking)} not built (make test-extended)")
    lab.start_barman_plugin()


@pytest.fixture(scope="session")
def cnpg_archiving(cluster: Kubernetes, cloudnative_pg: None) -> None:
    lab = cluster.lab_or_skip("an image of PostgreSQL with barman-cloud")
    lacking = [part.name for part in NEEDED["image"] if not part.built]
    if lacking:
        pytest.skip(f"no barman-cloud in pods here: {', '.join(lacking)} not built (make test-kubernetes)")
    lab.load_barman()


@pytest.fixture(scope="session")
def image(cluster: Kubernetes) -> str:
    named = os.environ.get("HOLDFAST_KUBERNETES_IMAGE")
    if named:
        return named
    lab = cluster.lab_or_skip("the collection's image (or name it by HOLDFAST_KUBERNETES_IMAGE)")
    lacking = [part.name for part in NEEDED["image"] if not part.built]
    if lacking:
        pytest.skip(f"no image of the collection here: {', '.join(lacking)} not built (make test-kubernetes)")
    return lab.load_holdfast()
