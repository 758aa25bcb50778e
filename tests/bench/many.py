# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small things: a catalogue of thousands of backups, and thousands of objects copied by the store itself."""

from __future__ import annotations

import datetime
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.index import INDEX, refresh
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import NAME

from bench.common import Bench, Row, Size, Times, table
from bench.place import BUCKET, Place

THREADS = 16


def populate(bench: Bench, place: Place, prefix: str, count: int) -> int:
    """Backups as a server makes them: one, and copies of it with other ids and times. Returns how many objects each has."""
    bench.server.query("DROP DATABASE IF EXISTS tiny")
    bench.server.query("CREATE DATABASE tiny")
    made = bench.at_server("pg_backup", repository=place.options(prefix), databases=["tiny"])["backup"]
    repository = place.repository(prefix)
    kept = [info.key for info in repository.list(f"main/{made['id']}")]
    manifest = json.loads(repository.read(f"main/{made['id']}/manifest.json"))
    began = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)

    def one(number: int) -> None:
        moment = began + datetime.timedelta(hours=number)
        own = f"{moment:%Y%m%dT%H%M%SZ}-{number:06x}"
        at = moment.isoformat(timespec="seconds")
        content = {**manifest, "id": own, "started_at": at, "stopped_at": at, "verified_at": at}
        for key in kept:
            name = key.replace(made["id"], own)
            repository.write(name, json.dumps(content, indent=1).encode() if name.endswith("/manifest.json") else b"x")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(count - 1)))
    return len(kept)


def listing(bench: Bench, place: Place, size: Size) -> str:
    """A catalogue of many backups."""
    prefix, times = "catalogue", Times()
    given, repository = place.options(prefix), place.repository(prefix)
    objects = populate(bench, place, prefix, size.backups)
    inside: list[float] = []

    def facts(**options: Any) -> None:
        result = bench.module("backup_facts", repository=given, **options)
        found = result["ansible_facts"]["holdfast_backups"]
        if found["count"] != size.backups or found["problems"]:
            raise SystemExit(f"{found['count']} backups were listed, not {size.backups}: {found['problems'][:3]}")
        inside.append(result["elapsed"])

    times.take("without", facts)
    times.take("index", lambda: refresh(repository, "main", NAME))
    inside.clear()
    for _round in range(size.rounds):
        times.take("last", lambda: facts(limit=10))
        times.take("short", lambda: facts(details=False))
        times.take("details", facts)
    info = repository.stat(f"main/{INDEX}")
    rows = table(
        Row("the catalogue read (`elapsed` of backup_facts)", statistics.median(inside), target=3.0),
        Row("backup_facts, `limit: 10`, Python's start included", times["last"], target=3.0),
        Row("backup_facts, all, `details: false`", times["short"]),
        Row("backup_facts, all", times["details"]),
        Row("backup_facts without an index (once)", times["without"]),
        Row("the index written anew, all manifests read (once)", times["index"]),
    )
    about = f"{size.backups} backups of {objects} objects each; the index has {(info.size if info else 0) // 1024} KiB."
    more = "What all of them take beyond `elapsed` is Ansible's: it looks for secrets in some megabytes of result, and writes them."
    return f"{about}\n\n{rows}\n{more}\n"


def copying(bench: Bench, place: Place, size: Size) -> str:
    """Objects of 2 kB to another prefix of the same bucket."""
    client, times = place.client(THREADS), Times()
    keys = [f"small/{number:06}" for number in range(size.objects)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=BUCKET, Key=key, Body=b"x" * 2000), keys))

    def sequential() -> None:
        for key in keys:
            client.copy_object(Bucket=BUCKET, Key=f"one-by-one/{key}", CopySource={"Bucket": BUCKET, "Key": key})

    def ours(number: int) -> dict[str, Any]:
        target = place.options(f"copy-{number}")
        return bench.module("backup_copy", what="prefix", source=place.options("small"), target=target)

    times.take("sequential", sequential)
    for number in range(size.rounds):
        times.take("ours", lambda number=number: ours(number))  # type: ignore[misc]
    ratio = times["sequential"] / times["ours"]
    rows = table(
        Row("boto3 `copy_object`, one after another (once)", times["sequential"]),
        Row("backup_copy, `what: prefix`, to that", times["ours"], times["sequential"], 0.125),
    )
    return f"{size.objects} objects of 2 kB, copied by the store itself: {ratio:.1f} times as fast (to reach: 8).\n\n{rows}"
