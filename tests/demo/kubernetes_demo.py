# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Act three of the demo, on a real Kubernetes: a StatefulSet's server is backed up by a CronJob, its WAL is received and shipped, and a table that was
dropped comes back beside it. By the playbooks, as people run them. `make demo-kubernetes` runs it, in the lab's cluster of HOLDFAST_KUBECONFIG, or in
one that it starts and ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from lab.kubernetes.api import Api, Namespace  # noqa: E402
from lab.kubernetes.cluster import Cluster, Taken, down, missing  # noqa: E402
from lab.kubernetes.parts import NEEDED  # noqa: E402
from lab.kubernetes.postgres import MOUNT, USER, Postgres  # noqa: E402
from lab.kubernetes.receiving import archive, bucket, variables  # noqa: E402
from lab.kubernetes.runs import claim  # noqa: E402
from lab.playbooks import PlaybookResult, run_adhoc, run_playbook  # noqa: E402
from lab.stores import S3Server  # noqa: E402
from lab.waiting import wait_until  # noqa: E402

FINGERPRINT = "SELECT count(*), md5(string_agg(id || what, ',' ORDER BY id)) FROM orders"
BESIDE = "again"


def say(step: str, words: str = "") -> None:
    print(f"  {step:<26} {words}", flush=True)


def good(run: PlaybookResult, what: str) -> PlaybookResult:
    if run.returncode:
        raise SystemExit(f"{what} failed:\n{run.stdout}\n{run.stderr}")
    return run


@contextmanager
def a_cluster() -> Iterator[Cluster]:
    """The one that is named, or one for this run alone."""
    named = os.environ.get("HOLDFAST_KUBECONFIG")
    if named:
        found = Cluster.of(Path(named).expanduser())
        if found is None:
            raise SystemExit(
                "The demo needs a store and an image of PostgreSQL that the cluster reaches, which the lab's own cluster alone has: "
                "HOLDFAST_KUBECONFIG names another. Leave it out, or follow docs/kubernetes.md there."
            )
        yield found
        return
    reason = missing()
    if reason:
        raise SystemExit(f"There can be no Kubernetes here: {reason}")
    try:
        made = Cluster.up(pid=os.getpid(), say=lambda step: say("the cluster", step))
    except Taken as error:
        raise SystemExit(str(error)) from None
    try:
        yield made
    finally:
        down(os.getpid())


def scheduled(given: Mapping[str, Any], **more: Any) -> PlaybookResult:
    """The playbook schedule: a dump of all databases into the bucket, each night."""
    pod = {**given["holdfast_archive_pod"], "claims": {}}
    names = ("holdfast_login_host", "holdfast_login_user", "holdfast_repository")
    asked = {
        "holdfast_kubernetes": given["holdfast_kubernetes"],
        "holdfast_schedule_manager": "kubernetes",
        "holdfast_schedule_pod": pod,
        "holdfast_schedule_variables": {name: given[name] for name in names},
        **more,
    }
    return good(run_playbook(CHECKOUT / "playbooks/schedule.yml", asked, inventory="shop,"), "playbooks/schedule.yml")


def job(given: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The module k8s_job, by itself."""
    asked = {"kubernetes": given["holdfast_kubernetes"], **options}
    (result,) = good(run_adhoc("holdfast.postgres.k8s_job", asked), "k8s_job").of("holdfast.postgres.k8s_job")
    return result


def laid_out(given: Mapping[str, Any], moment: str) -> None:
    """The Job that lays the server out, as it was at a moment, into the claim of a StatefulSet that is yet to be made."""
    job(
        given,
        name=f"recover-{BESIDE}",
        image=given["holdfast_archive_pod"]["image"],
        image_pull_policy="IfNotPresent",
        playbook="holdfast.postgres.recover",
        server_name="shop",
        claims={f"data-{BESIDE}-0": MOUNT},
        run_as_user=USER,
        fs_group=USER,
        variables={
            "holdfast_repository": given["holdfast_repository"],
            "holdfast_data_directory": f"{MOUNT}/pgdata",
            "holdfast_config_dir": "/home/holdfast/servers",
            "holdfast_recovery_target": {"time": moment},
            "holdfast_recover_prepare": True,
        },
    )


def act(namespace: Namespace, image: str, store: S3Server) -> None:
    began = time.monotonic()
    server = Postgres(namespace, "pg").ready()
    ((version,),) = server.sql("SHOW server_version")
    say("a StatefulSet", f"PostgreSQL {version} on a claim of its own, {time.monotonic() - began:.0f} s")
    server.sql("CREATE TABLE orders AS SELECT g AS id, md5(g::text) AS what FROM generate_series(1, 20000) g")
    namespace.apply(claim("wal"))
    given = variables(server, namespace.api.kubeconfig, image, bucket(store, namespace))

    scheduled(given)
    say("playbooks/schedule.yml", "a CronJob, a Secret, a ServiceAccount without a token")
    if scheduled(given).changed:
        raise SystemExit("A second run of schedule changed something.")
    began = time.monotonic()
    ran = job(given, from_cron_job="holdfast-backup-shop")["run"]
    say("the CronJob, run by hand", f"{ran['line']} ({time.monotonic() - began:.0f} s)")

    began = time.monotonic()
    good(archive(given), "playbooks/archive.yml")
    say(
        "playbooks/archive.yml",
        f"WAL is received and shipped, and a base backup is in S3 ({time.monotonic() - began:.0f} s)",
    )
    if archive(given).changed:
        raise SystemExit("A second run of archive changed something.")
    say("archive.yml again", "nothing to do, and proven anew")

    server.sql("INSERT INTO orders SELECT g, 'the last minute' FROM generate_series(20001, 20500) g")
    before = server.sql(FINGERPRINT)
    time.sleep(1.1)
    ((moment,),) = server.sql(
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    )
    time.sleep(1.1)
    server.sql("DROP TABLE orders")
    ((segment,),) = server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    server.sql("SELECT pg_switch_wal()")
    say("the accident", f"DROP TABLE orders, {before[0][0]} rows; all was well at {moment[11:19]}")
    client, where = store.client(), given["holdfast_repository"]["bucket"]
    wait_until(lambda: client.list_objects_v2(Bucket=where, Prefix=f"shop/_wal/{segment}").get("Contents"), 120)

    began = time.monotonic()
    namespace.apply(claim(f"data-{BESIDE}-0"))
    laid_out(given, moment)
    say("playbooks/recover.yml", "in a Job: the backup and its WAL, into a new claim")
    beside = Postgres(namespace, BESIDE)
    beside.password = server.password  # roles are as they were
    beside.ready()
    wait_until(lambda: beside.sql("SELECT NOT pg_is_in_recovery()") == [(True,)], 60)
    say("a StatefulSet beside", f"recovered by the server's own image, {time.monotonic() - began:.0f} s in all")
    if beside.sql(FINGERPRINT) != before:
        raise SystemExit("The table is not as it was.")
    say("proof", f"the table is back, all {before[0][0]} rows with the same sum; the old server was not touched")

    good(archive(given, state="absent"), "playbooks/archive.yml")
    scheduled(given, holdfast_schedule_state="absent")
    if server.sql("SELECT 1 FROM pg_replication_slots"):
        raise SystemExit("A replication slot is left.")
    say("taken down again", "no slot is left on the server, and what is in the bucket stays")


def main() -> None:
    print("\n  Act three: in Kubernetes\n")
    lacking = [part.name for part in NEEDED["image"] if not part.built]
    with a_cluster() as lab:
        named = os.environ.get("HOLDFAST_KUBERNETES_IMAGE")
        if lacking and not named:
            raise SystemExit(f"There is no image of the collection: {', '.join(lacking)} could not be built here.")
        reason = S3Server.missing()
        if reason:
            raise SystemExit(f"There is no store that pods reach: {reason}")
        image = named or lab.load_holdfast()
        with S3Server(tls=False, address=lab.host_address) as store:
            api = Api(lab.kubeconfig)
            namespace = api.create_namespace()
            try:
                act(namespace, image, store)
            finally:
                namespace.remove()
                api.wait_for_removed()
    print("\nThe table was brought back, nothing is left running.\n")


if __name__ == "__main__":
    main()
