# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps by chance: contents × versions × formats × packers × statements × damage.

A database full of texts that look like commands is dumped, the dump is left alone, is given a statement that reaches beyond its
database, or is damaged where that can be known; then it is restored. Either the copy is the same as the original, by
``lab.compare``, or it is refused and the server is as it was. Anything else breaks a promise (`Broken`).

As a program: ``python -m generators.dumps FIRST COUNT`` runs seeds on PostgreSQL 15, ``python -m generators.dumps SECONDS`` some by chance
on 15, 16 and 18 (by the seed's remainder by three), and prints them, and those that broke.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.compare import assert_same
from lab.playbooks import run_module
from lab.servers import Server, find_installations

# A dump of one database holds neither the database's own properties nor roles; one by --create is compared without them, too.
OF_THE_DATABASE = ["properties*", "settings*", "privileges*", "comment*", "owner*", "database*"]

TEXTS = [
    "\\! touch {mark}", "\\.", "\\connect live", "COPY t FROM stdin;", "DROP DATABASE live;", "-- PostgreSQL database dump complete",
    "-- PostgreSQL database dump", "'", "''", '"', "$$", "$a$ ; $b$", "/* x", "*/", "--", "E'\\'", ";", "\\restrict x", "a\nb", "\r\n", "\t",
    "größe", "\\", "\\\\", "CREATE DATABASE live;", "BEGIN", "END;", "ALTER SYSTEM SET work_mem = '1MB';", "{", ":x", ":'x'", "", "x" * 3000,
]  # fmt: skip
NAMES = [
    "orders",
    "Order",
    'q"uote',
    "a b",
    "select",
    "größe",
    "it's",
    "semi;colon",
    "--x",
    "$x$",
    "from",
    "copy",
    "a.b",
    "back\\slash",
]
HARMFUL = [
    "\\! touch {mark}", "\\connect live", "\\c live", "\\i {mark}", "\\o |touch {mark}", "SELECT 1 \\g |touch {mark}", "\\set x `touch {mark}`",
    "CREATE ROLE intruder;", "ALTER ROLE postgres PASSWORD 'x';", "ALTER SYSTEM SET work_mem = '1MB';", "CREATE DATABASE intruder;\nDROP DATABASE live;",
    "COPY (SELECT 1) TO PROGRAM 'touch {mark}';", "COPY (SELECT 1) TO '{mark}';", "GRANT pg_read_all_data TO PUBLIC;", "SELECT pg_reload_conf();",
    "DROP DATABASE a; DROP DATABASE live;", "COPY pg_authid TO '{mark}';", "COPY live FROM PROGRAM 'touch {mark}';", "ROLLBACK;",
    "UPDATE pg_catalog.pg_class SET reltuples = 0;", "SELECT lo_import('{mark}');", "/* x */ ALTER SYSTEM RESET ALL;", "SELECT 1; \\! touch {mark}",
    "alter\n system\tset work_mem = '1MB';", "DROP TABLESPACE x;", "LOAD 'auto_explain';", "GRANT postgres TO pg_monitor;",
]  # fmt: skip
PACKERS: dict[str, list[str]] = {
    "": [], ".gz": ["gzip", "-c"], ".zst": ["zstd", "-q", "-c"], ".lz4": ["lz4", "-q", "-c"], ".xz": ["xz", "-c"], ".bz2": ["bzip2", "-c"],
}  # fmt: skip


class Broken(AssertionError):
    """A promise did not hold."""


@dataclass
class Case:
    """One seed's case, in words for whoever looks into it."""

    seed: int
    said: list[str] = field(default_factory=list)

    def say(self, words: str) -> None:
        self.said.append(words)

    def __str__(self) -> str:
        return f"seed {self.seed}: {', '.join(self.said)}"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r") + "'"


def contents(chance: random.Random, mark: str) -> str:
    """Definitions and rows of a database."""
    lines = ["SET client_min_messages = error;"]

    def text() -> str:
        return "".join(chance.choice(TEXTS).replace("{mark}", mark) for _part in range(chance.randint(1, 3)))

    tables = chance.sample(NAMES, chance.randint(1, 4))
    for number, name in enumerate(tables):
        table = identifier(name)
        column = identifier(chance.choice(NAMES))
        if chance.random() < 0.25:
            lines.append(f"CREATE TABLE {table} (id int, {column} text) PARTITION BY RANGE (id);")
            lines.append(f"CREATE TABLE {identifier(name + ' 1')} PARTITION OF {table} FOR VALUES FROM (0) TO (5);")
            lines.append(f"CREATE TABLE {identifier(name + ' 2')} PARTITION OF {table} DEFAULT;")
        else:
            lines.append(f"CREATE TABLE {table} (id serial PRIMARY KEY, {column} text DEFAULT {literal(text())});")
        for row in range(chance.choice([0, 1, 12, 40])):
            lines.append(f"INSERT INTO {table} VALUES ({row}, {literal(text())});")
        if chance.random() < 0.5:
            lines.append(f"COMMENT ON TABLE {table} IS {literal(text())};")
        if chance.random() < 0.4:
            lines.append(
                f"CREATE VIEW {identifier(f'view {number}')} AS SELECT {literal(text())}::text AS x FROM {table};"
            )
    if chance.random() < 0.5:
        body = " ".join(
            chance.choice([";", "--\n", "\\! x\n", "''", "/* */", "END", "COPY x FROM stdin;\n"]) for _part in range(4)
        )
        lines.append(
            f"CREATE FUNCTION noted() RETURNS text LANGUAGE sql AS $fn$ SELECT 'x'::text /* {body.replace('/* */', '')} */ $fn$;"
        )
    if chance.random() < 0.5:
        lines.append(
            "CREATE FUNCTION atomic(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN $1 = 1 THEN 2 END; SELECT 3; END;"
        )
    if chance.random() < 0.3:
        lines.append(f"SELECT lo_from_bytea(0, convert_to({literal(text())}, 'UTF8'));")
    return "\n".join(lines)


def dump(chance: random.Random, case: Case, server: Server, folder: Path) -> tuple[Path, str, str]:
    """A dump of the database ``original``: its path, format and packer."""
    newer = [item for item in find_installations() if item.major >= server.major]
    made_by = chance.choice(newer)
    form = chance.choice(["plain", "plain", "plain", "custom", "tar", "directory"])
    if form != "plain":
        made_by = next(item for item in newer if item.major == server.major)  # this server's pg_restore is to read it
    arguments = [f"--format={form}"]
    if form == "plain":
        for option in (
            "--create",
            "--clean",
            "--inserts",
            "--column-inserts",
            "--rows-per-insert=3",
            "--quote-all-identifiers",
        ):
            if chance.random() < 0.2 and not (option.startswith("--rows") and "--column-inserts" in arguments):
                arguments.append(option)
        arguments += ["--if-exists"] if "--clean" in arguments else []
        if "--clean" in arguments and "--create" not in arguments:
            arguments.remove(
                "--clean"
            )  # it drops what is not there: allowed to fail by --if-exists, and tried in other tests
            arguments.remove("--if-exists")
    if form == "custom" and chance.random() < 0.5:
        arguments.append("--compress=0")
    path = folder / chance.choice(["dump", "original-20261120.x", "a b.sql"])
    case.say(f"pg_dump {made_by.major} {' '.join(arguments)}")
    subprocess.run(
        [str(made_by.bindir / "pg_dump"), *arguments, f"--file={path}", server.dsn("original")],
        check=True, env=server.environment("original"), capture_output=True,
    )  # fmt: skip
    packer = chance.choice(list(PACKERS)) if form != "directory" else ""
    return path, form, packer


def pack(path: Path, packer: str) -> None:
    if packer:
        data = subprocess.run(PACKERS[packer], input=path.read_bytes(), stdout=subprocess.PIPE, check=True).stdout
        path.write_bytes(data)


def top_level(script: bytes) -> list[int]:
    """Where a statement may be put into a plain dump: behind a SET, outside of everything, by pg_dump's own headings."""
    heading = b"\n--\n-- Name: "
    spots, at = [], script.find(heading)
    while at >= 0:
        # Headings within rows, strings or bodies are no such places: pg_dump ends entries by two empty lines.
        if script[max(0, at - 2) : at] == b"\n\n":
            spots.append(at + 1)
        at = script.find(heading, at + 1)
    return spots


def harm(chance: random.Random, case: Case, path: Path, mark: str) -> None:
    """A statement that reaches beyond the database, where a statement may stand."""
    script = path.read_bytes()
    spots = top_level(script) or [script.index(b"SET ")]
    line = chance.choice(HARMFUL).replace("{mark}", mark)
    spot = chance.choice(spots)
    case.say(f"with {line!r}")
    path.write_bytes(script[:spot] + line.encode() + b"\n" + script[spot:])


def patch(chance: random.Random, case: Case, path: Path, mark: str) -> bool:
    """Another statement in an archive, in place of a comment's, of the same length. False: there is no room for one."""
    data = path.read_bytes()
    start = data.find(b"COMMENT ON TABLE public.")
    end = data.find(b";\n", start)
    lines = [line.replace("{mark}", mark) for line in HARMFUL if "\\" not in line and line != "ROLLBACK;"]
    fitting = [line for line in lines if len(line.encode()) <= end - start]
    if start < 0 or end < 0 or not fitting:
        return False
    line = chance.choice(fitting)
    case.say(f"patched with {line!r}")
    path.write_bytes(data[:start] + line.encode().ljust(end - start) + data[end:])
    return True


def damage(chance: random.Random, case: Case, path: Path, form: str, packed: bool) -> bool:
    """Damage that can be known of. False: it may have met what means nothing (padding, a time in a header)."""
    data = path.read_bytes()
    kinds = ["cut", "crlf"] if not packed else ["cut", "flip", "zero", "lose"]
    kind = chance.choice(kinds)
    spot = chance.randrange(1, len(data))
    if kind == "cut":
        marked = data.rfind(b" complete") + len(b" complete") if form == "plain" and not packed else len(data)
        spot = chance.randrange(0, marked)
        data = data[:spot]
    elif kind == "crlf":
        data = data.replace(b"\n", b"\r\n")
    elif kind == "flip":
        data = data[:spot] + bytes([data[spot] ^ (1 << chance.randrange(8))]) + data[spot + 1 :]
    elif kind == "zero":
        data = data[:spot] + b"\0" * min(512, len(data) - spot) + data[spot + 512 :]
    else:
        data = data[:spot] + data[spot + chance.randint(1, 300) :]
    case.say(f"{kind} at {spot}")
    path.write_bytes(data)
    return kind in ("cut", "crlf") and form == "plain"


def state(server: Server) -> list[Any]:
    return [
        server.databases(),
        server.query("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1"),
        server.query("SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2"),
        server.query("SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2"),
        server.query("SELECT name, setting FROM pg_file_settings ORDER BY 1, 2"),
        server.query("SELECT count(*), sum(n) FROM live", "live"),
    ]


def prepare(server: Server) -> None:
    """The live database beside which everything happens."""
    if "live" not in server.databases():
        server.psql("CREATE DATABASE live;")
        server.psql("CREATE TABLE live (n int); INSERT INTO live SELECT generate_series(1, 100);", "live")


def run(seed: int, server: Server) -> Case:
    """One case. Raises Broken."""
    chance, case = random.Random(seed), Case(seed)
    prepare(server)
    for name in ("original", "copy"):
        server.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE);")
    with tempfile.TemporaryDirectory(prefix="generated-") as space:
        folder, mark = Path(space), f"/tmp/mark-{seed}-{server.port}"
        server.psql("CREATE DATABASE original;")
        server.psql(contents(chance, mark), "original")
        path, form, packer = dump(chance, case, server, folder)
        what = chance.choice(["nothing", "nothing", "harm", "damage", "damage"])
        must_fail = what != "nothing"
        if what == "harm" and form == "plain":
            harm(chance, case, path, mark)
        elif what == "harm":
            must_fail = form in ("custom", "tar") and patch(chance, case, path, mark)
        pack(path, packer)
        if what == "damage" and form != "directory":
            must_fail = damage(chance, case, path, form, bool(packer))
        elif what == "damage":
            lost = chance.choice(
                sorted(item for item in path.iterdir() if item.name != "toc.dat") or [path / "toc.dat"]
            )
            case.say(f"without {lost.name}")
            lost.unlink()
        case.say(packer or "not packed")
        in_place = chance.random() < 0.3
        if in_place:
            server.psql("CREATE DATABASE copy;")
            server.psql("CREATE TABLE old (n int); INSERT INTO old VALUES (1), (2);", "copy")
            case.say("in place")
        before = state(server)
        given = {
            **server.login(),
            "bin_dir": str(server.bindir),
            "source": str(path),
            "state_dir": str(folder / "state"),
        }
        force = {"force": True, "confirm": ["copy"]} if in_place else {}
        done = run_module("pg_restore", {**given, **force, "databases": ["copy"], "analyze": False})
        case.say(done.msg[:300] if done.failed else "ok")
        if Path(mark).exists():
            Path(mark).unlink()
            raise Broken(f"{case}: something was run that must not be")
        if done.failed:
            if state(server) != before or in_place and server.query("SELECT count(*) FROM old", "copy") != [(2,)]:
                raise Broken(f"{case}: refused, and something is other than it was")
            if "exception" in done.result or not done.msg or "Traceback" in done.stderr:
                raise Broken(f"{case}: refused without words: {done.result} {done.stderr[-500:]}")
            if not must_fail and what == "nothing":
                raise Broken(f"{case}: a good dump was refused")
            return case
        if not done.changed or must_fail:
            raise Broken(f"{case}: it was let through")
        before[0] = sorted({*before[0], "copy"})
        after = state(server)
        if after != before and "--create" not in case.said[0]:
            raise Broken(f"{case}: something beside the database is other than it was")
        try:
            assert_same(server, server, {"original": "copy"}, ignore=OF_THE_DATABASE, passwords=False)
        except AssertionError as exc:
            raise Broken(f"{case}: ok, and not the same: {exc}") from exc
    return case


def main() -> None:
    chosen = [int(word) for word in sys.argv[1:]]
    began, counted = time.monotonic(), Counter[tuple[int, str]]()
    with contextlib.ExitStack() as stack:
        if len(chosen) == 1:
            servers = [stack.enter_context(Server(major)) for major in (15, 16, 18)]
            seeds: Iterator[int] = iter(lambda: random.randrange(10**7), None)
        else:
            servers, seeds = [stack.enter_context(Server(15))], iter(range(chosen[0], chosen[0] + chosen[1]))
        for seed in seeds:
            if len(chosen) == 1 and time.monotonic() - began > chosen[0]:
                break
            server = servers[seed % len(servers)]
            try:
                case = run(seed, server)
                counted[server.major, "restored" if case.said[-1] == "ok" else "refused"] += 1
                print(server.major, case, flush=True)
            except Exception as exc:
                counted[server.major, "broken"] += 1
                print(f"BROKEN {server.major} {seed}: {exc}", flush=True)
    numbers = ", ".join(f"{major} {what}: {number}" for (major, what), number in sorted(counted.items()))
    print(f"{sum(counted.values())} cases in {time.monotonic() - began:.0f} s: {numbers}")


if __name__ == "__main__":
    main()
