# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server in a StatefulSet backed up by a Job, beside the guides' `kubectl exec … pg_dump | gzip`, and what a schedule's second run takes. The
cluster is the one that HOLDFAST_KUBECONFIG names, else the lab's own, whose start is measured."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.kubernetes.api import Api, Namespace
from lab.kubernetes.cluster import Cluster, down, missing
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.runs import Runner, claim, rules
from lab.playbooks import run_module

from bench.common import DATA, Row, Size, Times, table

SHARE = 5  # so much less data than elsewhere: it goes through pods, twice


@contextmanager
def cluster() -> Iterator[tuple[Cluster, float | None]]:
    """The lab's cluster, and the seconds that its start took; None: it ran already."""
    named = os.environ.get("HOLDFAST_KUBECONFIG")
    if named:
        found = Cluster.of(Path(named))
        if found is None:
            raise SystemExit("HOLDFAST_KUBECONFIG names a cluster that is not the lab's: its images are not there.")
        yield found, None
        return
    reason = missing()
    if reason:
        raise SystemExit(f"no Kubernetes here: {reason}")
    began = time.monotonic()
    made = Cluster.up(pid=os.getpid())
    try:
        yield made, time.monotonic() - began
    finally:
        down(os.getpid())


def measure(size: Size) -> str:
    """A table."""
    with cluster() as (lab, start), tempfile.TemporaryDirectory(prefix="holdfast-bench-") as place:
        namespace = Api(lab.kubeconfig).create_namespace()
        try:
            return _measure(lab, namespace, size, start, Path(place))
        finally:
            namespace.remove()


def _measure(lab: Cluster, namespace: Namespace, size: Size, start: float | None, place: Path) -> str:
    image = lab.load_holdfast()
    server = Postgres(namespace, settings={"shared_buffers": "256MB", "max_wal_size": "4GB"}, size="8Gi").ready()
    megabytes = max(size.database // SHARE, 20)
    _fill(server, megabytes)
    namespace.apply(claim("backups"))
    runner = Runner(namespace.service_account(rules("job", claims=["backups"]), place), namespace, image, server)
    variables = {"holdfast_repository": {"path": "/backups"}, "holdfast_backup_databases": ["bench"]}
    asked = runner.options(claims={"backups": "/backups"}, variables=variables, force=True)
    guide = f"{lab.kubectl} --kubeconfig {lab.kubeconfig} -n {namespace} exec {server.pod} -- pg_dump -U postgres bench | gzip > {place}/guide.sql.gz"
    times = Times()
    for _round in range(size.rounds):
        times.take("guide", lambda: _shell(guide))
        times.take("job", lambda: _done("k8s_job", asked))
    schedule = {
        "kubernetes": {"kubeconfig": str(lab.kubeconfig), "namespace": namespace.name},
        "name": "bench",
        "image": image,
        "server_name": "shop",
        "variables": variables,
    }
    _done("k8s_cron_job", schedule)
    for _round in range(size.rounds):
        times.take("schedule", lambda: _done("k8s_cron_job", schedule))
    rows = [
        Row("`kubectl exec … pg_dump \\| gzip`, which nobody reads back", times["guide"]),
        Row("k8s_job: the pod's start, the backup, verified, to that", times["job"], times["guide"], 0.6),
        Row("k8s_cron_job, the second run", times["schedule"], None, 5),
        *([Row("the test cluster, its programs built, up (once)", start, None, 30)] if start is not None else []),
    ]
    return f"A database of {megabytes} MB in a StatefulSet, backed up into a claim.\n\n{table(*rows)}"


def _fill(server: Postgres, megabytes: int) -> None:
    server.sql("CREATE DATABASE bench")
    share = megabytes / 1500
    script = DATA.format(many=int(6_000_000 * share), wide=int(45_000 * share), noise=int(5_000 * share))
    for statement in script.replace("VACUUM ANALYZE; CHECKPOINT;", "VACUUM ANALYZE;\nCHECKPOINT;").split(";\n"):
        if statement.strip():
            server.sql(statement, "bench")


def _shell(command: str) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stderr=subprocess.DEVNULL)


def _done(name: str, options: dict[str, Any]) -> None:
    done = run_module(name, options, timeout=3600)
    if done.failed or not done.result:
        raise SystemExit(done.msg or done.stderr)
