# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab is right: its servers behave, its data can be restored, and its comparison misses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from lab import compare, fault, harddata, playbooks, stock
from lab.harddata import HardData
from lab.servers import Server, pick, system_user

Wiped = Callable[[Server], Server]

# The data and the comparison

# One change of each kind, and the facts that must differ by it: no fewer, and no more.
CHANGES: tuple[tuple[str, str, set[tuple[str, str]]], ...] = (
    # (database, statement, {(where, what)})
    (
        "shop",
        """UPDATE "Order Data".in_fast_space SET t = t || ' ' WHERE id = 50""",
        {("shop", "rows of Order Data.in_fast_space")},
    ),
    ("shop", 'INSERT INTO "Order Data".no_columns DEFAULT VALUES', {("shop", "rows of Order Data.no_columns")}),
    ("shop", 'DELETE FROM "Order Data".baskets WHERE id = 7', {("shop", "rows of Order Data.baskets")}),
    (
        harddata.QUOTES,
        'UPDATE "Größe ""Schema"""."values" SET f8 = 0 WHERE what = $$minus zero$$',
        {(harddata.QUOTES, 'rows of Größe "Schema".values')},
    ),
    (
        harddata.DASH,
        "DELETE FROM events_q3_a WHERE ctid = '(0,1)'",
        {(harddata.DASH, "rows of public.events"), (harddata.DASH, "rows of public.events_q3_a")},
    ),
    (harddata.DASH, "UPDATE hashed SET n = -1 WHERE n = 1", {(harddata.DASH, "rows of public.hashed")}),
    (harddata.DASH, "UPDATE ONLY child SET later = 6", {(harddata.DASH, "rows of public.child")}),
    (
        harddata.HOSTILE,
        "UPDATE raw SET t = convert_from('\\xe4', 'SQL_ASCII') WHERE id = 200",
        {(harddata.HOSTILE, "rows of public.raw")},
    ),
    ("shop", """SELECT nextval('"Order Data".never_used')""", {("shop", "sequence Order Data.never_used")}),
    (
        "shop",
        'ALTER SEQUENCE "Order Data".order_number NO CYCLE',
        {("shop", "schema: SEQUENCE Order Data.order_number")},
    ),
    ("shop", """SELECT lo_put(70003, 12345, '\\x00')""", {("shop", "large object 70003")}),
    ("shop", "ALTER LARGE OBJECT 70001 OWNER TO shop_owner", {("shop", "large object 70001")}),
    ("shop", "COMMENT ON LARGE OBJECT 70002 IS 'new'", {("shop", "large object 70002")}),
    ("shop", 'GRANT SELECT ON "Order Data".behind TO PUBLIC', {("shop", "schema: ACL Order Data.TABLE behind")}),
    (
        "shop",
        'REVOKE SELECT (id) ON "Order Data".customers FROM "-dash role"',
        {("shop", "schema: ACL Order Data.COLUMN customers.id")},
    ),
    (
        "shop",
        'ALTER TABLE "Order Data".ledger ENABLE TRIGGER "forbids ""it"""',
        {("shop", 'schema: TRIGGER Order Data.ledger forbids "it"')},
    ),
    (
        "shop",
        'ALTER POLICY "own rows" ON "Order Data".secrets TO "shop app"',
        {("shop", "policy own rows on Order Data.secrets")},
    ),
    (
        "shop",
        'ALTER FUNCTION "Order Data".net(numeric) COST 9',
        {("shop", "schema: FUNCTION Order Data.net(numeric)")},
    ),
    ("shop", 'REFRESH MATERIALIZED VIEW "Order Data".never_filled', {("shop", "rows of Order Data.never_filled")}),
    ("postgres", "CREATE INDEX extra ON kept (t)", {("postgres", "schema: INDEX public.extra")}),
    ("postgres", 'ALTER DATABASE "other collation" CONNECTION LIMIT 3', {(harddata.COLLATION, "properties")}),
    ("postgres", "COMMENT ON DATABASE replicated IS 'new'", {(harddata.REPLICATED, "properties")}),
    ("postgres", "ALTER DATABASE shop SET timezone = 'UTC'", {("shop", "settings of all roles")}),
    (
        "postgres",
        "ALTER ROLE \"shop app\" IN DATABASE shop SET work_mem = '8MB'",
        {("shop", "settings of role shop app")},
    ),
    ("postgres", "ALTER ROLE shop_owner SET work_mem = '14MB'", {("cluster", "settings of role shop_owner")}),
    ("postgres", "ALTER ROLE copier NOBYPASSRLS", {("cluster", "role copier")}),
    ("postgres", "ALTER ROLE for_ever PASSWORD 'other'", {("cluster", "password of for_ever")}),
    (
        "postgres",
        "GRANT copier TO role_manager",
        {("cluster", "membership of role_manager in copier, granted by postgres")},
    ),
    ("postgres", 'COMMENT ON TABLESPACE "fast space" IS NULL', {("cluster", "tablespace fast space")}),
    (
        "postgres",
        'REVOKE SET ON PARAMETER log_statement FROM "shop app"',
        {("cluster", "privileges on parameter log_statement")},
    ),
)


def test_stock_tools_bring_hard_data_back_and_every_change_is_found(
    each_hard: HardData, wiped: Wiped, request: pytest.FixtureRequest
) -> None:
    source = each_hard.server
    target = wiped(request.getfixturevalue(f"pg{source.major}"))
    stock.copy(each_hard, target)
    before = compare.snapshot(source)

    copied = compare.snapshot(target)
    differences = compare.compare(before, copied)
    assert [(d.where, d.what) for d in differences] == [("cluster", compare.SETTINGS_OF_ALL)], differences

    expected: set[tuple[str, str]] = set()
    for db, statement, facts in CHANGES:
        target.query(statement, db)
        expected |= facts
    target.query('DROP DATABASE "upper case"')
    expected |= {key for key in copied.facts if key[0] == harddata.LOWER}
    differences = compare.compare(copied, compare.snapshot(target))
    assert {(d.where, d.what) for d in differences} == expected, "\n".join(map(str, differences))


def test_hard_data_is_hard(hard16: HardData) -> None:
    """What the data promises is there: a build that lost half of it would be restored without fault, too."""
    assert set(hard16.databases) == set(harddata.CONTENT)
    assert len(hard16.roles) == 13
    for db, table in hard16.unlogged:
        [(persistence, rows)] = hard16.server.query(
            f"SELECT relpersistence, (SELECT count(*) FROM {table}) FROM pg_class WHERE oid = %s::regclass", db, [table]
        )
        assert persistence == "u" and rows > 0
    kinds = hard16.server.query("SELECT DISTINCT relkind FROM pg_class WHERE oid >= 16384", "shop")
    assert {kind for (kind,) in kinds} == set("rvmSitcf")
    assert hard16.server.query("SELECT 1 FROM pg_index WHERE NOT indisvalid", "shop") == [(1,)]
    assert hard16.server.query(
        'SELECT max(id) > (SELECT last_value FROM "Order Data".behind_id_seq) FROM "Order Data".behind', "shop"
    )[0][0]
    tablespaces = hard16.server.query(
        "SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname !~ '^pg_'"
    )
    assert {name: Path(location) for name, location in tablespaces} == hard16.tablespaces


def test_assert_same_names_what_differs_and_can_compare_under_another_name(hard16: HardData) -> None:
    server = hard16.server
    both_plain = {harddata.LOWER: harddata.READ_ONLY}
    compare.assert_same(server, server, both_plain, ignore=["properties", "settings of *"])
    with pytest.raises(
        AssertionError, match=r"(?s)2 differences.*upper case: properties:.*\+.*\"connection limit\": 0"
    ) as caught:
        compare.assert_same(server, server, both_plain)
    assert "settings of all roles: only on the right: default_transaction_read_only=on" in str(caught.value)
    with pytest.raises(AssertionError, match="nothing to compare"):
        compare.assert_same(compare.snapshot(server, ["shop"]), server, {"none such": "shop"})


# The servers


def test_passwords_are_asked_for_on_tcp_and_on_the_socket(each_pg: Server) -> None:
    for host in (each_pg.host, str(each_pg.socket_directory)):
        good: dict[str, Any] = {"host": host, "port": each_pg.port, "user": each_pg.superuser, "dbname": "postgres"}
        psycopg2.connect(**good, password=each_pg.password).close()
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(**good, password="wrong")
    psycopg2.connect(each_pg.dsn()).close()
    owner = Path(f"/proc/{each_pg.pid}").stat().st_uid
    assert owner == system_user().pw_uid != 0


def test_a_killed_server_starts_again_and_a_wiped_one_is_empty(pg16: Server, wiped: Wiped) -> None:
    server = wiped(pg16)
    harddata.build(server)
    server.kill()
    assert server.pid is None
    with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        server.connect()
    server.start()
    assert server.query("SELECT count(*) FROM kept") == [(10,)]
    server.query("ALTER SYSTEM SET work_mem = '6MB'")
    server.wipe()
    assert server.databases() == ["postgres"]
    assert server.query("SELECT rolname FROM pg_roles WHERE oid >= 16384") == []
    assert server.query("SELECT slot_name FROM pg_replication_slots") == []
    assert server.query("SELECT setconfig FROM pg_db_role_setting") == []
    assert server.query("SHOW work_mem") == [("4MB",)]


def test_servers_end_with_their_process_however_it_ends() -> None:
    program = (
        f"import signal, sys, time; sys.path.insert(0, {str(Path(playbooks.__file__).parents[1])!r})\n"
        # A suite that a shell started in the background hands on that this signal is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from lab.servers import Server\n"
        "server = Server(); print(server.pid, server.directory, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program]
    ends = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for end in ends]
    traces: list[Path] = []
    for child, end in zip(children, ends):
        assert child.stdout
        with child.stdout as said:
            pid, directory = said.readline().decode().split()
        assert Path(f"/proc/{pid}").exists() and Path(directory).exists()
        traces += [Path(f"/proc/{pid}"), Path(directory)]
        child.send_signal(end)
        child.wait()
    deadline = time.monotonic() + 60
    while any(trace.exists() for trace in traces) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [trace for trace in traces if trace.exists()] == []


def test_programs_out_of_the_servers_users_reach_are_copied(tmp_path: Path) -> None:
    if pick(16).source != "pypi":
        pytest.skip("PostgreSQL 16 is a system package here, which every user can reach")
    tmp_path.chmod(0o700)
    hidden = pick(16).copied_to(tmp_path / "programs")
    with Server(hidden, settings={"work_mem": "5MB"}) as server:
        assert server.query("SHOW work_mem") == [("5MB",)]
        assert b"PostgreSQL database dump complete" in server.run("pg_dump")
        assert server.directory in server.bindir.parents if os.geteuid() == 0 else server.bindir == hidden.bindir


# The faults


def connect(port: int, timeout: int = 2) -> None:
    psycopg2.connect(host="127.0.0.1", port=port, user="x", dbname="x", connect_timeout=timeout).close()


def test_hosts_that_refuse_and_that_never_answer() -> None:
    with fault.refusing_port() as port, pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        connect(port)
    with fault.silent_server() as port, pytest.raises(psycopg2.OperationalError, match="timeout expired"):
        connect(port)


def test_a_proxy_slows_hangs_and_cuts(pg16: Server) -> None:
    megabyte = ("psql", "-X", "-A", "-t", "-c", "SELECT repeat(md5(n::text), 32) FROM generate_series(1, 1024) n")

    def start(port: int) -> subprocess.Popen[bytes]:
        env = {**pg16.environment(), "PGPORT": str(port)}
        return subprocess.Popen(
            [pg16.program(megabyte[0]), *megabyte[1:]], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    with fault.Proxy(pg16.port) as proxy, start(proxy.port) as client:
        assert client.wait(60) == 0
        assert proxy.passed > 1024 * 1024
    with fault.Proxy(pg16.port, bytes_per_second=2_000_000) as proxy, start(proxy.port) as client:
        proxy.wait_for(100_000)
        proxy.hang()
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(1)
        assert proxy.passed < 1024 * 1024
        proxy.cut()
        assert client.wait(60) != 0
        assert client.stderr and b"closed the connection" in client.stderr.read()


def test_full_and_read_only_disks(tmp_path: Path) -> None:
    if os.geteuid() == 0 and not fault.can_mount():
        pytest.skip("root may not mount here")
    plain = tmp_path / "plain"
    plain.mkdir()
    with fault.read_only(plain), pytest.raises(OSError, match="Read-only|Permission denied"):
        (plain / "file").touch()
    (plain / "file").touch()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    with fault.small_filesystem(tmp_path / "small", "1m") as small:
        with pytest.raises(OSError, match="No space left"):
            (small / "file").write_bytes(bytes(2_000_000))
        assert 0 < (small / "file").stat().st_size <= 1_048_576
    assert not any((tmp_path / "small").iterdir())


def test_damaged_files_and_dying_programs(tmp_path: Path, hard16: HardData) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abcde")
    fault.flip_byte(file)
    assert file.read_bytes() == b"ab\x9cde"
    fault.truncate(file, by=2)
    assert file.read_bytes() == b"ab\x9c"

    bindir = fault.dying_program(hard16.server.bindir, "pg_dump", tmp_path, after_bytes=10_000)
    env = hard16.server.environment("shop")
    done = subprocess.run([str(bindir / "pg_dump"), "-Fc"], env=env, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout) == 10_000 and done.stdout.startswith(b"PGDMP")
    assert b"16" in subprocess.run([str(bindir / "pg_dump"), "--version"], check=True, capture_output=True).stdout


# The collection, run


def test_a_module_runs_alone_and_can_be_killed(tmp_path: Path) -> None:
    answer = playbooks.run_module("backup_facts", {"repository": {"type": "file", "path": str(tmp_path / "none")}})
    assert answer.failed and answer.returncode == 1
    assert str(tmp_path / "none") in answer.msg
    with fault.silent_server() as port:
        repository = {"type": "file", "path": str(tmp_path)}
        login = {"login_host": "127.0.0.1", "login_port": port, "login_user": "x", "login_password": "x"}
        running = playbooks.start_module("pg_backup", {"repository": repository, **login})
        time.sleep(0.5)
        assert running.process.poll() is None
        running.kill()
        assert running.process.returncode == -signal.SIGKILL


def test_a_fork_answers_as_a_program_from_scratch(tmp_path: Path) -> None:
    """What most tests run (lab/forked.py) ends with the same words, code and output as what Ansible starts."""
    for given in (
        {"repository": {"path": str(tmp_path)}},
        {"repository": {"path": "/nowhere"}},
        {"unknown": "x" * 200_000},
    ):
        fork, scratch = (playbooks.run_module("backup_facts", given, fresh=fresh) for fresh in (False, True))
        for done in (fork, scratch):
            done.result.pop("elapsed", None)
        assert (fork.returncode, fork.result, fork.stderr) == (scratch.returncode, scratch.result, scratch.stderr)


def test_every_controller_runs_playbooks_and_hands_back_what_tasks_did(tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.command: echo {{ word }}\n"
        "    - ansible.builtin.fail: {msg: on purpose}\n"
    )
    found = playbooks.controllers()
    assert found, "no ansible-core beside this Python"
    for version, bindir in found.items():
        done = playbooks.run_playbook(playbook, {"word": "Größe"}, bindir=bindir)
        assert done.returncode == 2, (version, done)
        assert [task.status for task in done.tasks] == ["ok", "failed"]
        assert done.of("ansible.builtin.command")[0]["stdout"] == "Größe"
        assert [task.result["msg"] for task in done.failed] == ["on purpose"]
        assert len(done.changed) == 1
    done = playbooks.run_adhoc("ansible.builtin.ping", {"data": "x"})
    assert done.tasks[0].result["ping"] == "x"
