# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad days of what receives and ships WAL in a cluster, made to happen on a real one: each is told to who asks how the backups stand, by the
Deployment's name and with the words of what ended; it goes on by itself once that is mended; and no segment is missing afterwards.

pg_receivewal alone is quiet in all of them: it tries the old password for ever, stands at a full disk, and its slot fills the server's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import rights_of
from lab.answers import ok
from lab.kubernetes import storage
from lab.kubernetes.api import Namespace
from lab.kubernetes.postgres import Postgres
from lab.kubernetes.receiving import NAME, archive, bucket, rules, steps, variables
from lab.kubernetes.way import Way
from lab.playbooks import run_module
from lab.stores import S3Server
from lab.waiting import wait_until

pytestmark = pytest.mark.extended
ROOM = 72 << 20  # bytes of the claim: four segments
PATIENCE = 400  # seconds; a container that ended often is begun anew after 300
SMALL = {"min_wal_size": "32MB", "max_wal_size": "48MB"}


@dataclass
class Site:
    """A server, and what receives its WAL into a small claim and ships it by a way that can be closed."""

    server: Postgres
    way: Way
    client: Any
    bucket: dict[str, Any]
    given: dict[str, Any]
    looker: Path
    written: list[str] = field(default_factory=list)  # names of the segments that must be in the store

    @property
    def namespace(self) -> Namespace:
        return self.server.namespace

    def pods(self) -> list[dict[str, Any]]:
        """Of the Deployment; a Job that sets up has its name too."""
        return list(self.namespace.list("v1", "Pod", f"holdfast.postgres/deployment={NAME}"))

    def write(self, segments: int = 1) -> None:
        """So many segments with a row each."""
        for _number in range(segments):
            self.server.sql("create table if not exists t (n int); insert into t values (1)")
            self.written.append(self.server.sql("select pg_walfile_name(pg_current_wal_lsn())")[0][0])
            self.server.sql("select pg_switch_wal()")

    def stored(self) -> dict[str, str]:
        """Keys of the store by the name of the segment, or of the history."""
        listed = self.client.list_objects_v2(Bucket=self.bucket["bucket"], Prefix="shop/_wal/0").get("Contents") or []
        return {one["Key"].rpartition("/")[2].partition(".zst")[0]: one["Key"] for one in listed}

    def nothing_is_lost(self) -> None:
        """Wait until all that was written is in the store."""
        wait_until(lambda: set(self.written) <= set(self.stored()), PATIENCE, 1)

    def slot(self) -> tuple[bool, str]:
        """Whether it is read from, and what the server says of its WAL."""
        ((active, status),) = self.server.sql("select active, wal_status from pg_replication_slots")
        return active, status

    def status(self) -> list[str]:
        """What backup_status says to who has its rights alone."""
        access = {"kubeconfig": str(self.looker), "namespace": self.namespace.name}
        asked = {"repository": self.bucket, "server_name": "shop", "kubernetes": access}
        return list(ok(run_module("backup_status", asked))["lines"])

    def told(self, *parts: str) -> str:
        """Wait for the line that says all of it, of this Deployment."""

        def look() -> str:
            return next((line for line in self.status() if all(part in line for part in (NAME, *parts))), "")

        return str(wait_until(look, PATIENCE, 2))

    def at_work(self) -> None:
        """Wait until it receives and ships, and nobody is told of anything."""
        wait_until(lambda: self.slot()[0], PATIENCE, 1)
        wait_until(lambda: not [line for line in self.status() if NAME in line and "not at work" in line], PATIENCE, 2)


@pytest.fixture(scope="module")
def made(cluster: Any, store: S3Server, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab = cluster.lab_or_skip("a claim that can be full, and a store that can be away")
    directory = tmp_path_factory.mktemp("receiver")
    with ExitStack() as stack:
        namespace = cluster.api.create_namespace()
        way = Way(store.endpoint_url, lab.host_address)
        stack.callback(way.end)
        claims = stack.enter_context(storage.small(lab.directory, namespace.name, "wal", ROOM))
        stack.callback(namespace.delete, "v1", "PersistentVolume", namespace.name)
        stack.callback(namespace.remove)
        namespace.apply(*claims)
        server = Postgres(namespace, settings=SMALL)
        account = namespace.service_account(rules(), directory)
        looker = namespace.service_account([rule.manifest() for rule in rights_of("status").rules], directory)
        server.ready()
        repository = bucket(store, namespace)
        given = variables(server, account, image, {**repository, "endpoint_url": way.url})
        given["holdfast_ship_store_wait"] = "10s"
        steps(archive(given))
        yield Site(server, way, store.client(), repository, given, looker)


@pytest.fixture
def site(made: Site) -> Site:
    """At work, and all that was written before is in the store. A pod in which something ended before is begun anew: the more often it did, the
    longer Kubernetes waits each time, up to five minutes."""
    for pod in made.pods():
        if any(one["restartCount"] for one in pod["status"].get("containerStatuses") or ()):
            made.namespace.delete("v1", "Pod", pod["metadata"]["name"])
            wait_until(lambda name=pod["metadata"]["name"]: made.namespace.find("v1", "Pod", name) is None, 90)
    made.at_work()
    made.nothing_is_lost()
    return made


def test_its_claim_is_full_while_the_store_is_away(site: Site) -> None:
    """The server goes on, its slot keeps what does not fit, and the words of the full disk are told; the store is back, and all of it comes."""
    site.way.close()
    try:
        site.write(segments=8)
        site.told("No space left on device")
        active, status = site.slot()
        assert not active and status in ("reserved", "extended")
        site.write()
    finally:
        site.way.open = True
    site.nothing_is_lost()
    site.at_work()


def test_a_store_that_refuses(site: Site) -> None:
    """A process that waits for it is quiet: the pod runs, and nothing is shipped. Told at once that it is not at work, and once it gave up, why."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{site.bucket['bucket']}/*",
            }
        ],
    }
    site.client.put_bucket_policy(Bucket=site.bucket["bucket"], Policy=json.dumps(policy))
    try:
        site.write()
        site.told("not at work", site.bucket["bucket"])
        assert site.slot()[0], "it is received all the same"
    finally:
        site.client.delete_bucket_policy(Bucket=site.bucket["bucket"])
    site.nothing_is_lost()
    site.at_work()


def test_other_content_under_the_name_of_a_segment(site: Site) -> None:
    """Never overwritten, and nothing that follows goes there; told; who takes it away has all of it shipped."""
    ((name,),) = site.server.sql("select pg_walfile_name(pg_current_wal_lsn())")
    key = site.stored()[site.written[-1] if site.written else max(site.stored())]
    wrong = re.sub(r"/[0-9A-F]{24}", f"/{name}", key)
    place = {"Bucket": site.bucket["bucket"], "Key": wrong}
    site.client.copy_object(**place, CopySource={"Bucket": site.bucket["bucket"], "Key": key})
    before = site.client.head_object(**place)["ETag"]
    site.write(segments=2)
    site.told("one name with two contents")
    assert site.client.head_object(**place)["ETag"] == before and site.written[-1] not in site.stored()
    site.client.delete_object(**place)
    site.nothing_is_lost()
    wait_until(lambda: site.client.head_object(**place)["ETag"] != before, PATIENCE)
    site.at_work()


def test_the_server_is_promoted_and_its_password_rotated(site: Site) -> None:
    """As after a failover: the receiver begins anew on the new timeline, with the password that the Secret has now."""
    namespace, server = site.namespace, site.server
    namespace.execute(server.pod, "sh", "-c", "touch $PGDATA/standby.signal")
    namespace.delete("v1", "Pod", server.pod, grace=5)
    wait_until(
        lambda: (
            (namespace.find("v1", "Pod", server.pod) or {"metadata": {"deletionTimestamp": 1}})["metadata"].get(
                "deletionTimestamp"
            )
            is None
        ),
        90,
    )
    server.ready()
    server.psql("select pg_promote()")
    server.psql("alter role postgres password 'another one'")
    server.password = "another one"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": server.name},
        "stringData": {"password": server.password},
    }
    site.told("password authentication failed")
    namespace.apply(secret)
    wait_until(lambda: site.slot()[0], PATIENCE, 1)
    site.write(segments=2)
    assert site.written[-1].startswith("00000002")
    site.nothing_is_lost()
    assert [name for name in site.stored() if name.startswith("00000002.history")]
    site.at_work()


def test_its_slot_is_lost(site: Site) -> None:
    """Invalidated, while nobody read from it, and then dropped: a new base backup is asked for each time, the way out that is named leads out, and
    what is taken then can be recovered from."""
    server = site.server
    site.write()
    server.sql("alter system set max_slot_wal_keep_size = '32MB'")
    server.sql("select pg_reload_conf()")

    def lost() -> bool:
        server.sql("select pg_terminate_backend(active_pid) from pg_replication_slots where active")
        server.sql("select pg_switch_wal()")
        server.sql("insert into t values (2)")
        server.sql("checkpoint")
        return site.slot()[1] == "lost"

    wait_until(lost, PATIENCE, 0.2)
    site.told("is invalidated", "take a new base backup")
    server.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots")
    said = site.told("There is no replication slot", "take a new base backup")
    found = re.search(r"zstd --rm ([^)]+)\)", said)
    assert found, said
    (pod,) = site.pods()
    packed = site.namespace.execute(pod["metadata"]["name"], "zstd", "-q", "--rm", *found[1].split(), container="ship")
    assert packed.status == 0, packed.stderr
    site.written.clear()
    wait_until(lambda: server.sql("select active from pg_replication_slots") == [(True,)], PATIENCE, 1)
    assert site.slot()[1] == "reserved"
    site.write(segments=2)
    wait_until(lambda: any("take a new base backup now" in line for line in site.status()), PATIENCE, 2)
    steps(archive(site.given, backup_max_age="1s"))
    audit = ok(run_module("wal_audit", {"repository": site.bucket, "server_name": "shop"}))
    assert [one for one in audit["findings"] if one["code"] == "gap"], audit["findings"]
    facts = ok(run_module("backup_facts", {"repository": site.bucket, "server_name": "shop"}))["ansible_facts"]
    assert len(facts["holdfast_backups"]["backups"]) == 2
    site.write()
    site.nothing_is_lost()
