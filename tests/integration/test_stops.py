# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop means stop: within seconds, at any step, with every store, and what is said of what remains is true.

The kind: a stop was a failure like any other, so whoever handles failures went on: a store's client tried again, a prune deleted the rest
and said ok, a second repository got a whole new backup. And who cancels a job kills the controller, not the module. Members: each
signal, while a request to the store is held (the first, a deletion), while the server works or waits for a lock, while ansible-playbook is
killed (alone, or with its group, by three versions); hundreds more by `generators.faults`, some of which run here.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from generators import faults
from lab import fault, playbooks
from lab.http_fault import HOLD, HttpProxy
from lab.playbooks import RunningModule, run_module, start_module
from lab.servers import Server
from lab.stores import S3Server
from lab.waiting import pids

SOON = 20  # five for clearing up, and what a busy machine adds; far less than what a store is given to answer
OWN = next(iter(playbooks.controllers()))  # the version that the tests themselves have


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    made = server_factory(16)
    made.psql("CREATE DATABASE noise;")
    made.psql(
        "CREATE TABLE noise AS SELECT n, (SELECT string_agg(sha256((n * 1000 + m)::text::bytea), '')"
        " FROM generate_series(1, 300) AS m) AS bytes FROM generate_series(1, 300) AS n;",
        "noise",
    )
    return made


# The controller goes


def working(scratch: str, port: int) -> list[int]:
    """Processes of a module that ansible-playbook has started below this directory, and its pg_dump at this port: others run some, too."""
    return [*pids("AnsiballZ_pg_backup", scratch), *pids("holdfast pg_dump", f"port={port}")]


@pytest.mark.parametrize("version", sorted(playbooks.controllers()))
@pytest.mark.parametrize(
    ("number", "whom"), [(signal.SIGTERM, "one"), (signal.SIGKILL, "one"), (signal.SIGKILL, "group")]
)
def test_a_job_is_cancelled(server: Server, tmp_path: Path, number: signal.Signals, whom: str, version: str) -> None:
    """AWX kills the group of ansible-playbook; from 2.19 on who works on a task has a group of its own."""
    bindir = playbooks.controllers()[version]
    with fault.Proxy(server.port, 100_000) as slow, tempfile.TemporaryDirectory() as scratch:
        repository = tmp_path / "repository"
        repository.mkdir()
        arguments = {**server.login(), "login_port": slow.port, "bin_dir": str(server.bindir), "databases": ["noise"]}
        tasks = [{"holdfast.postgres.pg_backup": {**arguments, "repository": {"path": str(repository)}}}]
        play = Path(scratch, "play.yml")
        play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        how = [
            "-e",
            "ansible_connection=local",
            "-e",
            f"ansible_remote_tmp={scratch}/tmp",
            "-e",
            f"ansible_python_interpreter={bindir}/python",
        ]
        process = subprocess.Popen(
            [str(bindir / "ansible-playbook"), str(play), "-i", "localhost,", *how],
            env=playbooks.environment(Path(scratch), bindir),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=scratch,
        )
        slow.wait_for(300_000)
        assert len(working(scratch, slow.port)) > 1
        began = time.monotonic()
        (os.kill if whom == "one" else os.killpg)(process.pid, number)
        process.wait(SOON)
        while (left := working(scratch, slow.port)) and time.monotonic() - began < SOON:
            time.sleep(0.05)
        assert not left
    assert not list(repository.rglob("manifest.json"))


# A store holds a request


@pytest.fixture(scope="module")
def s3(s3_plain: S3Server) -> S3Server:
    """Without TLS, as a proxy looks into what is said."""
    return s3_plain


@pytest.fixture(scope="module")
def proxy(s3: S3Server) -> Iterator[HttpProxy]:
    with HttpProxy(int(s3.endpoint_url.rpartition(":")[2])) as made:
        yield made


def bucket(s3: S3Server, proxy: HttpProxy) -> dict[str, Any]:
    name = s3.make_bucket(f"test-{secrets.token_hex(6)}")
    return {
        "type": "s3",
        "bucket": name,
        "endpoint_url": proxy.url,
        "access_key": s3.access_key,
        "secret_key": s3.secret_key,
    }


def stopped(module: RunningModule, number: signal.Signals) -> playbooks.ModuleResult:
    began = time.monotonic()
    module.process.send_signal(number)
    done = module.result(30)
    assert time.monotonic() - began < SOON
    assert done.failed and done.msg.startswith(f"The run was stopped by {number.name}."), done.msg
    assert done.result["stopped_by"] == number.name
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.extended),
        pytest.param(signal.SIGHUP, marks=pytest.mark.extended),
    ],
    ids=lambda number: str(number.name),
)
def test_a_prune_deletes_no_more(
    server: Server, s3: S3Server, proxy: HttpProxy, running: list[RunningModule], number: signal.Signals
) -> None:
    where = {"repository": bucket(s3, proxy)}
    given = {**server.client_options(), **where, "databases": ["postgres"], "globals": False}
    ids = []
    for _number in range(4):
        done = run_module("pg_backup", given)
        assert not done.failed, done.msg
        ids.append(done.result["backup"]["id"])
    gone = 0

    def hold_the_second(request: Any) -> Any:
        nonlocal gone
        gone += request.method == "DELETE" and request.path.endswith("manifest.json")
        return HOLD if gone > 1 else None

    with proxy.rule(hold_the_second):
        module = start_module("backup_prune", {**where, "retention": {"keep_last": 1, "min_keep": 1}})
        running.append(module)
        proxy.wait_for()
        done = stopped(module, number)
    client = s3.client()
    listed = client.list_objects_v2(Bucket=where["repository"]["bucket"])["Contents"]
    there = {entry["Key"].split("/")[1] for entry in listed if entry["Key"].endswith("manifest.json")}
    deleted = set(ids) - there
    assert 1 <= len(deleted) <= 2 and ids[3] in there
    assert done.changed
    still = done.msg.partition("Still there: ")[2]
    assert all(name in done.msg for name in deleted), done.msg
    assert not any(name in still for name in deleted) and any(name in still for name in there), done.msg


def test_a_backup_while_the_first_request_is_held(
    server: Server, s3: S3Server, proxy: HttpProxy, running: list[RunningModule]
) -> None:
    given = {
        **server.client_options(),
        "repository": bucket(s3, proxy),
        "databases": ["postgres"],
    }
    for held in (0, 6):
        come = 0

        def hold(request: Any, held: int = held) -> Any:
            nonlocal come
            come += 1
            return HOLD if come > held else None

        with proxy.rule(hold):
            module = start_module("pg_backup", given)
            running.append(module)
            proxy.wait_for()
            done = stopped(module, signal.SIGTERM)
        assert "exception" not in done.result


# The server works, or waits


def test_while_the_server_works_or_waits(server: Server, tmp_path: Path, running: list[RunningModule]) -> None:
    """libpq hears no signals: the statement is cancelled, and nothing of ours stays on the server."""
    given = {**server.client_options(), "repository": {"path": str(tmp_path)}, "globals": False}
    with closing(server.connect("noise")) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE noise IN ACCESS EXCLUSIVE MODE")
        module = start_module("pg_backup", {**given, "databases": ["noise"]})
        running.append(module)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not server.query(waiting)[0][0]:
            time.sleep(0.02)
        done = stopped(module, signal.SIGTERM)
        assert "removed" in done.msg and not done.changed
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'holdfast%'"
        while server.query(ours)[0][0]:
            time.sleep(0.02)


# By chance


@pytest.mark.extended  # a chance that is not repeated by chance belongs to the night
def test_faults_by_chance(server: Server) -> None:
    """A few seconds of ``generators.faults``; `make faults` runs it for longer. Seeds that broke something once come first."""
    end = time.monotonic() + float(os.environ.get("HOLDFAST_FAULTS", "8"))
    with faults.World(server) as world:
        while time.monotonic() < end:
            print(faults.run(random.randrange(10**6), world))
