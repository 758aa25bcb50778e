# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults by chance: runs × stores × (signals at any moment, answers of a store at any request).

Three backups lie in a repository; a backup, a restore, a prune, a copy or a deletion runs, and something happens to it. Afterwards the
world is looked at past the collection: every backup with a manifest is whole, byte by byte; nothing is gone but what the run was to
delete; no database is other than it was, or else what the run said that it would make is there with all its rows. What a run reports must
be so: "ok" over anything else is a false report, and so are a stop that takes long, or an error without words (`Broken`).

As a program: ``python -m generators.faults`` runs for ``HOLDFAST_FAULTS`` seconds (60), or the seeds ``FIRST COUNT`` that are given, and
prints the matrix in numbers, and what broke.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.http_fault import CORRUPT, FALSIFY, HOLD, RESET, SWALLOW, Answer, Fault, HttpProxy, Raw, Request
from lab.playbooks import ModuleResult, RunningModule, run_module, start_module
from lab.servers import Server
from lab.stores import S3Server

ROWS = 300
RUNS = ("backup", "restore", "prune", "copy", "delete")
OUTCOMES = ("survived", "clear error", "stopped", "killed", "not reached")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
#: seconds from a signal to the end: what is promised, and what a busy machine takes more
SOON = 15
ANSWERS: dict[str, Fault] = {
    "500": Answer(status=500, code="InternalError", message="We encountered an internal error."),
    "503": Answer(),
    "403": Answer(status=403, code="AccessDenied", message="Access Denied"),
    "404": Answer(status=404, code="NoSuchKey", message="The specified key does not exist."),
    "html": Raw(body=b"<html><body>Please log in</body></html>", kind="text/html"),
    "nothing": Raw(body=b""),
    "reset": RESET,
    "swallowed": SWALLOW,
    "corrupted": CORRUPT,
    "falsified": FALSIFY,
}


class Broken(AssertionError):
    """A promise was broken."""


@dataclass
class Case:
    """What was tried, and what came: ``not reached``, ``survived``, ``clear error``, ``stopped`` or ``killed``."""

    seed: int
    said: list[str] = field(default_factory=list)
    outcome: str = ""

    def __str__(self) -> str:
        return f"seed {self.seed}: {', '.join(self.said)}: {self.outcome}"


class Store:
    """A place for backups that is looked at past the collection: its objects by key."""

    options: dict[str, Any]

    def objects(self) -> dict[str, bytes]:
        raise NotImplementedError


class Folder(Store):
    def __init__(self, path: Path, template: Path | None) -> None:
        self._path = path
        if template is None:
            path.mkdir()
        else:
            shutil.copytree(template, path)
        self.options = {"type": "file", "path": str(path)}

    def objects(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self._path)): path.read_bytes() for path in self._path.rglob("*") if path.is_file()
        }


class Bucket(Store):
    def __init__(self, server: S3Server, url: str, template: Path | None) -> None:
        self._client = server.client()
        self._bucket = server.make_bucket(f"faults-{secrets.token_hex(6)}")
        for path in template.rglob("*") if template else ():
            if path.is_file():
                key = str(path.relative_to(template))  # type: ignore[arg-type]
                self._client.put_object(Bucket=self._bucket, Key=key, Body=path.read_bytes())
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        self.options = {"type": "s3", "bucket": self._bucket, "endpoint_url": url, **keys}

    def objects(self) -> dict[str, bytes]:
        while True:
            # What was held for one that is gone goes on when nobody holds it any more, and may delete what was just listed.
            with suppress(self._client.exceptions.NoSuchKey):
                return self._look()

    def _look(self) -> dict[str, bytes]:
        listed = self._client.list_objects_v2(Bucket=self._bucket).get("Contents", [])
        return {
            entry["Key"]: self._client.get_object(Bucket=self._bucket, Key=entry["Key"])["Body"].read()
            for entry in listed
        }


def backups(objects: dict[str, bytes]) -> set[str]:
    """Ids of backups that exist: with a manifest, and whole. Raises Broken when one is not."""
    found = set()
    for key, data in objects.items():
        if not key.endswith("/manifest.json"):
            continue
        folder = key.rpartition("/")[0]
        record = json.loads(data)
        for artifact in record["artifacts"]:
            content = objects.get(f"{folder}/{artifact['key']}")
            if content is None or hashlib.sha256(content).hexdigest() != artifact["sha256"]:
                raise Broken(f"{folder} has a manifest, and its {artifact['key']} is missing or another")
        found.add(record["id"])
    return found


class World:
    """A server with a database, three backups of it, and stores to be spoiled. Use as a context manager."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._base = Path(tempfile.mkdtemp(prefix="faults-"))
        self._base.chmod(0o755)
        self._s3 = S3Server(tls=False) if S3Server.missing() is None else None
        self.template = self._base / "template"
        self.ids: list[str] = []

    def __enter__(self) -> World:
        self.server.psql("CREATE DATABASE shop;")
        self.server.psql(f"CREATE TABLE items AS SELECT n AS id FROM generate_series(1, {ROWS}) AS n;", "shop")
        self.template.mkdir()
        for _number in range(3):
            done = run_module("pg_backup", self.backup({"path": str(self.template)}))
            if done.failed:
                raise Broken(done.msg)
            self.ids.append(done.result["backup"]["id"])
        if self._s3 is not None:
            self._s3.__enter__()
            self.proxy = HttpProxy(int(self._s3.endpoint_url.rpartition(":")[2]))
            self.proxy.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._s3 is not None:
            self.proxy.__exit__(None, None, None)
            self._s3.__exit__(None, None, None)
        shutil.rmtree(self._base, ignore_errors=True)
        self.server.psql("DROP DATABASE shop WITH (FORCE);")

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("file", "s3") if self._s3 is not None else ("file",)

    def store(self, kind: str, empty: bool = False) -> Store:
        template = None if empty else self.template
        if kind == "file" or self._s3 is None:
            return Folder(self._base / secrets.token_hex(6), template)
        return Bucket(self._s3, self.proxy.url, template)

    def login(self) -> dict[str, Any]:
        return {**self.server.login(), "bin_dir": str(self.server.bindir)}

    def backup(self, repository: dict[str, Any]) -> dict[str, Any]:
        return {**self.login(), "repository": repository, "databases": ["shop"], "compression": "gzip"}

    def rows(self, database: str) -> int | None:
        """None: there is no such database."""
        if database not in self.server.databases():
            return None
        return int(self.server.query("SELECT count(*) FROM items", database)[0][0])


def run(seed: int, world: World) -> Case:
    """One case. Raises Broken."""
    chance = random.Random(seed)
    case = Case(seed)
    what, kind = chance.choice(RUNS), chance.choice(world.kinds)
    store = world.store(kind)
    target = world.store(kind, empty=True) if what == "copy" else None
    module, arguments = _run(what, world, store, target)
    case.said += [what, kind]
    began = backups(store.objects())
    if kind == "s3" and chance.random() < 0.6:
        done, struck = _answer(chance, world, case, module, arguments)
        if not struck:
            case.outcome = "not reached"
    else:
        done = _signal(chance, world, case, module, arguments, kind)
    _judge(case, world, what, store, target, done, began)
    return case


def _run(what: str, world: World, store: Store, target: Store | None) -> tuple[str, dict[str, Any]]:
    where = {"repository": store.options}
    if what == "backup":
        return "pg_backup", {**world.backup(store.options), "retention": {"keep_last": 2, "min_keep": 1}}
    if what == "restore":
        return "pg_restore", {**world.login(), **where, "databases": ["shop"], "target_db": "back"}
    if what == "prune":
        return "backup_prune", {**where, "retention": {"keep_last": 1, "min_keep": 1}}
    if what == "copy":
        assert target is not None
        return "backup_copy", {"source": store.options, "target": target.options, "what": "backups"}
    return "pg_backup", {**where, "state": "absent", "backup_id": world.ids[0]}


def _answer(
    chance: random.Random, world: World, case: Case, module: str, arguments: dict[str, Any]
) -> tuple[ModuleResult, bool]:
    """The store answers otherwise, from a certain request on, once or a few times."""
    name, number, times = chance.choice(sorted(ANSWERS)), chance.randrange(30), chance.choice([1, 1, 3, 100])
    case.said.append(f"{name} at request {number}, {times} times")
    come = 0

    def rule(request: Request) -> Fault | None:
        nonlocal come
        come += 1
        return ANSWERS[name] if number < come <= number + times else None

    with world.proxy.rule(rule):
        done = start_module(module, arguments).result(120)
        return done, world.proxy.struck > 0


def _signal(
    chance: random.Random, world: World, case: Case, module: str, arguments: dict[str, Any], kind: str
) -> ModuleResult:
    """A signal while a request is held, or after some time."""
    number = chance.choice(SIGNALS)
    if kind == "s3" and chance.random() < 0.7:
        held = chance.randrange(30)
        case.said.append(f"{number.name} while request {held} is held")
        come = 0

        def rule(request: Request) -> Fault | None:
            nonlocal come
            come += 1
            return HOLD if come > held else None

        with world.proxy.rule(rule):
            running = start_module(module, arguments)
            while not world.proxy.struck and running.process.poll() is None:
                time.sleep(0.01)
            return _stop(case, running, number)
    delay = chance.uniform(0.3, 1.2)
    case.said.append(f"{number.name} after {delay:.2f} s")
    running = start_module(module, arguments)
    end = time.monotonic() + delay
    while time.monotonic() < end and running.process.poll() is None:
        time.sleep(0.01)
    return _stop(case, running, number)


def _stop(case: Case, running: RunningModule, number: signal.Signals) -> ModuleResult:
    ended = running.process.poll() is not None
    began = time.monotonic()
    running.process.send_signal(number)
    done = running.result(60)
    if ended:
        case.outcome = "not reached"
    elif time.monotonic() - began > SOON:
        raise Broken(f"{case}: it ended {time.monotonic() - began:.0f} s after the signal")
    return done


def _judge(
    case: Case, world: World, what: str, store: Store, target: Store | None, done: ModuleResult, began: set[str]
) -> None:
    try:
        now = backups(store.objects())
        there = backups(target.objects()) if target else set()
    except Broken as exc:
        raise Broken(f"{case}: {done.msg or 'ok'}: {exc}") from exc
    doomed = {"backup": set(world.ids[:2]), "prune": set(world.ids[:2]), "delete": {world.ids[0]}}.get(what, set())
    if lost := began - now - doomed:
        raise Broken(f"{case}: {', '.join(lost)} is gone: {done.msg}")
    back = world.rows("back")
    world.server.psql("DROP DATABASE IF EXISTS back WITH (FORCE);")
    others = [name for name in world.server.databases() if name not in ("postgres", "shop")]
    for name in others:
        world.server.psql(f'DROP DATABASE "{name}" WITH (FORCE);')
    if world.rows("shop") != ROWS:
        raise Broken(f"{case}: the server's own database is another one")
    if back not in (None, ROWS):
        raise Broken(f"{case}: a database with {back} rows has the name of the restored one: {done.msg or 'ok'}")
    if done.returncode == -signal.SIGKILL or not done.stdout:
        case.outcome = case.outcome or "killed"  # what the kernel does too: nothing is said, and nothing is lost
        return
    if not done.result:
        raise Broken(f"{case}: no answer: {done.stdout[-500:]} {done.stderr[-500:]}")
    if done.failed:
        words = done.msg
        if "Unsupported parameters" in words:
            raise Broken(f"{case}: {words}")
        if not words or "Traceback" in done.stdout + done.stderr or "not foreseen" in words:
            raise Broken(f"{case}: an error without words: {words} {done.stderr[-800:]}")
        if others and not any(name in words for name in others):
            raise Broken(f"{case}: {', '.join(others)} stay, and that is not said: {words}")
        if words.startswith("The run was stopped by"):
            # What came and what went is named, each by its id; a deletion may have gone further than its manifest.
            silent = [name for name in sorted((began ^ now) | (there if target else set())) if name not in words]
            if silent:
                raise Broken(f"{case}: {', '.join(silent)} came or went, and that is not said: {words}")
        case.outcome = case.outcome or ("stopped" if words.startswith("The run was stopped by") else "clear error")
        case.said.append(words[:160])
        return
    wanted = {
        "backup": done.result.get("backup", {}).get("id") in now and len(now) == 2,
        "restore": back == ROWS,
        "prune": now == {world.ids[2]},
        "copy": there >= began,
        "delete": now == set(world.ids[1:]),
    }
    warned = json.dumps(done.result.get("warnings", []))
    if not wanted[what] and not (what in ("prune", "backup") and "stays" in warned):
        raise Broken(f"{case}: ok, and it is not so: {sorted(now)}, {sorted(there)}, {back} rows")
    case.outcome = case.outcome or "survived"


def matrix(runs: Sequence[str], cases: list[Case], broken: list[str]) -> str:
    """The numbers, for people."""
    counted = Counter((case.said[0], case.outcome) for case in cases)
    lines = [f"| run | {' | '.join(OUTCOMES)} |", f"| --- |{' --- |' * len(OUTCOMES)}"]
    lines += [f"| {what} | {' | '.join(str(counted[what, outcome]) for outcome in OUTCOMES)} |" for what in runs]
    injected = sum(number for (_what, outcome), number in counted.items() if outcome != "not reached") + len(broken)
    return "\n".join([*lines, f"injected {injected}, falsely reported or broken {len(broken)}"])


def many(runs: Sequence[str], one: Callable[[int], Case]) -> None:
    """Cases by the seeds that the command line names (the first, and how many), else by chance for HOLDFAST_FAULTS seconds; then the numbers.
    Ends the program, with 1 where something broke."""
    seeds = range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2])) if len(sys.argv) > 2 else None
    end = time.monotonic() + float(os.environ.get("HOLDFAST_FAULTS", "60"))
    cases: list[Case] = []
    broken: list[str] = []
    for seed in seeds or iter(lambda: random.randrange(10**6), None):
        if seeds is None and time.monotonic() > end:
            break
        try:
            cases.append(one(seed))
            print(cases[-1], flush=True)
        except Exception as exc:
            broken.append(str(exc))
            print(f"BROKEN {seed}: {type(exc).__name__}: {str(exc)[:1500]}", flush=True)
    print(matrix(runs, cases, broken))
    sys.exit(bool(broken))


def main() -> None:
    with Server(16) as server, World(server) as world:
        many(RUNS, lambda seed: run(seed, world))


if __name__ == "__main__":
    main()
