# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine pgbackrest, against real servers and stores: set up, archive, back up, list, fetch, restore, delete, adopt."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.keeper import Host, Keeper, KeeperOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.adopt import adopt
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.keeper import PgBackRest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    RepositoryError,
    ToolError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.users import owner_of
from lab.fault import silent_server
from lab.servers import Server, free_port
from lab.stores import AzureServer, S3Server

NEWER = Path(__file__).resolve().parents[2] / ".work/pgbackrest/pgbackrest"
QUIET = Progress(None)
INSTALL = "tests/tools/install_pgbackrest.sh installs it"


def needed(major: int) -> str | None:
    """The program for a server, None for the one in PATH; the test is skipped where there is none."""
    if major >= 16:
        if not NEWER.exists():
            pytest.skip(f"no pgBackRest here that knows PostgreSQL {major}: {INSTALL}")
        return str(NEWER)
    if shutil.which("pgbackrest") is None:
        pytest.skip(f"pgBackRest is not here: {INSTALL}")
    return None


def store(**given: Any) -> dict[str, Any]:
    """The options of a repository, as a module has them."""
    return {**{name: spec.get("default") for name, spec in STORE.items()}, **given}


def host_of(server: Server) -> Host:
    owner = owner_of(str(server.data))
    passfile = server.directory / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text(f"*:*:*:*:{server.password}\n")
    shutil.chown(passfile, owner)
    return Host(
        data_directory=str(server.data),
        owner=owner,
        port=server.port,
        socket_directory=str(server.socket_directory),
        user=server.superuser,
        bin_dir=str(server.bindir),
        passfile=str(passfile),
        version_num=int(server.query("SHOW server_version_num")[0][0]),
        system_id=str(server.query("SELECT system_identifier FROM pg_control_system()")[0][0]),
    )


class Site:
    """A server with archiving by pgBackRest into these stores. ``place`` is a directory of its own."""

    def __init__(self, server: Server, *stores: Mapping[str, Any], **options: Any) -> None:
        self.server, self.host = server, host_of(server)
        extra = options.pop("extra", {})
        self.options = KeeperOptions(
            server_name=options.pop("server_name", "main"),
            repositories=stores,
            config_dir=str(server.directory / "etc"),
            program=options.pop("program", needed(server.major)),
            extra={
                "spool-path": str(server.directory / "spool"),
                "log-path": str(server.directory / "log-pgbackrest"),
                **extra,
            },
            **options,
        )
        self.keeper = PgBackRest(self.host, self.options)

    def again(self, **changed: Any) -> PgBackRest:
        """The same with other options."""
        return PgBackRest(self.host, dataclasses.replace(self.options, **changed))

    def set_up(self) -> Site:
        self.keeper.configure(False)
        self.keeper.prepare(False)
        archive_by(self.server, self.keeper)
        return self

    @property
    def configuration(self) -> Path:
        return Path(self.options.config_dir) / "pgbackrest" / self.options.server_name


def archive_by(server: Server, keeper: Keeper) -> None:
    server.query("ALTER SYSTEM SET archive_command = %s", values=[keeper.wal.archive_command()])
    server.query("SELECT pg_reload_conf()")


def work(server: Server, rows: int = 1000, table: str = "work") -> int:
    """Rows come in and the segment ends; returns how many there are."""
    server.psql(
        f"CREATE TABLE IF NOT EXISTS {table} (id bigint GENERATED ALWAYS AS IDENTITY, what text);"
        f"INSERT INTO {table} (what) SELECT md5(g::text) FROM generate_series(1, {rows}) g;"
    )
    count = int(server.query(f"SELECT count(*) FROM {table}")[0][0])
    server.query("SELECT pg_create_restore_point('work')")
    server.query("SELECT pg_switch_wal()")
    return count


def archived(server: Server, timeout: float = 30) -> str:
    """The last segment that is complete, when it has been archived."""
    name = str(server.query("SELECT pg_walfile_name(pg_switch_wal() - 1)")[0][0])
    deadline = time.monotonic() + timeout
    while str(server.query("SELECT last_archived_wal FROM pg_stat_archiver")[0][0])[:24] < name:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} is not archived after {timeout} s: {server.log.read_text()[-2000:]}")
        time.sleep(0.05)
    return name


def recovered(
    site: Site, keeper: Keeper, record: Any, tablespaces: Mapping[str, str] | None = None, **settings: str
) -> Iterator[Callable[[str], str]]:
    """A query to the server that a backup and all WAL lead to."""
    directory = site.server.server_directory(f"restored-{time.monotonic_ns()}")
    keeper.restore(record, str(directory), tablespaces or {}, QUIET)
    assert not (directory / "recovery.signal").exists() and not (directory / "standby.signal").exists()
    (directory / "recovery.signal").touch()
    shutil.chown(directory / "recovery.signal", site.host.owner)
    port = free_port()
    words = {
        "restore_command": keeper.wal.restore_command(),
        "archive_mode": "off",
        "port": str(port),
        "recovery_target_action": "promote",
        **settings,
    }
    with (directory / "postgresql.auto.conf").open("a") as stream:
        for name, value in words.items():
            stream.write(f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n")
    instance = Instance(str(directory), site.host.bin_dir, site.host.owner)
    log = str(site.server.server_directory("logs") / str(port))
    instance.start(log)

    def query(statement: str) -> str:
        deadline = time.monotonic() + 30
        while True:
            argv = [site.server.program("psql"), "-XAtc", statement, "-h", str(site.server.socket_directory)]
            env = {"PGPASSFILE": str(site.host.passfile), "PGPORT": str(port), "PGUSER": "postgres"}
            done = run_as(site.host.owner, argv, env)
            recovering = run_as(site.host.owner, [*argv[:1], "-XAtc", "SELECT pg_is_in_recovery()", *argv[3:]], env)
            if done.returncode == 0 and recovering.stdout.strip() == "f":
                return done.stdout.strip()
            assert time.monotonic() < deadline, Path(log).read_text()[-3000:]
            time.sleep(0.1)

    try:
        yield query
    finally:
        instance.stop("immediate")


def s3_store(s3: S3Server, bucket: str, **given: Any) -> dict[str, Any]:
    return store(
        type="s3",
        bucket=bucket,
        prefix="srv/",
        endpoint_url=s3.endpoint_url,
        access_key=s3.access_key,
        secret_key=s3.secret_key,
        ca_file=str(s3.ca_file),
        **given,
    )


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    if S3Server.missing():
        pytest.skip(f"{S3Server.name}: {S3Server.missing()}")
    with S3Server() as made:
        yield made


def new_server(make: Callable[..., Server], major: int) -> Server:
    needed(major)
    return make(major, settings={"archive_mode": "on"})


@pytest.fixture(scope="module")
def site15(server_factory: Callable[..., Server], s3: S3Server) -> Site:
    """PostgreSQL 15 into a bucket and a directory, encrypted."""
    server = new_server(server_factory, 15)
    directory = server.directory / "repository"
    directory.mkdir()
    return Site(
        server,
        s3_store(s3, s3.make_bucket("pg15")),
        store(type="file", path=str(directory)),
        encryption={"method": "aes256", "passphrase": 'a "b" #c;d=ü\'x'},
        jobs=2,
    )


@pytest.fixture(scope="module")
def site18(server_factory: Callable[..., Server]) -> Site:
    """PostgreSQL 18 into a directory."""
    server = new_server(server_factory, 18)
    directory = server.directory / "repository"
    directory.mkdir()
    return Site(server, store(type="file", path=str(directory)), compression="gzip")


def life(site: Site, repositories: int) -> None:
    server, keeper = site.server, site.keeper
    space = server.server_directory("space")
    server.query(f"CREATE TABLESPACE space LOCATION '{space}'")
    server.query("CREATE TABLE elsewhere TABLESPACE space AS SELECT generate_series(1, 1000) AS id")

    # Set up: the plan is what is done then, and the second run has nothing to do.
    plan = [step.words for step in keeper.configure(True)]
    assert not site.configuration.exists() and any("secrets.conf" in words for words in plan)
    assert [step.words for step in keeper.prepare(True)] == [step.words for step in keeper.prepare(True)] != []
    assert [step.words for step in keeper.configure(False)] == plan
    assert keeper.configure(False) == keeper.configure(True) == []
    for name, mode in (("pgbackrest.conf", 0o640), ("conf.d/secrets.conf", 0o600)):
        status = (site.configuration / name).stat()
        assert stat.S_IMODE(status.st_mode) == mode and status.st_uid == pwd.getpwnam(site.host.owner).pw_uid
    assert len(keeper.prepare(False)) == repositories
    assert keeper.prepare(False) == []
    archive_by(server, keeper)
    keeper.check()

    # Backups of each kind, while rows come in.
    work(server)
    full = keeper.back_up("incremental", {"run": "7", "note": 'a b=c "x" ü'}, QUIET)
    assert full.kind == "full" and full.parent is None and any("changed to full" in words for words in full.warnings)
    assert full.annotations == {"run": "7", "note": 'a b=c "x" ü'} and full.server["system_id"] == site.host.system_id
    work(server)
    differential = keeper.back_up("differential", {}, QUIET)
    work(server)
    incremental = keeper.back_up("incremental", {}, QUIET)
    assert (differential.kind, differential.parent) == ("differential", full.id)
    assert (incremental.kind, incremental.parent) == ("incremental", differential.id)
    problems: list[str] = []
    listed = list(keeper.backups(problems))
    assert not problems and len(listed) == 3 * repositories
    assert [record.started_at for record in listed] == sorted(record.started_at for record in listed)
    mine = [record for record in listed if record.scope["repositories"] == [1]]
    assert [record.id for record in mine] == [full.id, differential.id, incremental.id]

    # WAL: names in order, and what comes back is what the server wrote.
    rows = work(server, 5000)
    segment = archived(server)
    names = list(keeper.wal.names())
    assert names == sorted(set(names)) and any(name.startswith(f"{segment}-") for name in names)
    assert list(keeper.wal.names(names[3])) == names[4:]
    target = server.directory / "fetched"
    assert keeper.wal.fetch(segment, str(target))
    assert digest(target) == digest(server.data / "pg_wal" / segment)
    assert not keeper.wal.fetch("0000000100000000000000FF", str(target))
    assert not keeper.wal.fetch("00000007.history", str(target))

    # Verified, and the next listing knows.
    keeper.verify(incremental)
    assert next(record for record in keeper.backups([]) if record.id == incremental.id).verified_at

    # Back again: each row, and the tablespace in another place.
    elsewhere = server.server_directory("elsewhere")
    for query in recovered(site, keeper, incremental, {str(space): str(elsewhere)}):
        assert query("SELECT count(*) FROM work") == str(rows)
        assert query("SELECT count(*) FROM elsewhere") == "1000"
        assert query("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'") == str(elsewhere)
    assert server.query("SELECT count(*) FROM elsewhere") == [(1000,)]

    # Deleted: what depends on it goes too, and the WAL that nobody needs any more.
    with pytest.raises(ToolError, match="every full backup"):
        keeper.delete([full.id], False)
    newest = keeper.back_up("full", {}, QUIET)
    doomed = [full.id, differential.id, incremental.id]
    assert keeper.delete([full.id], True) == doomed and len(list(keeper.backups([]))) == 4 * repositories
    assert keeper.delete([full.id], False) == doomed
    left = [record for record in keeper.backups([]) if record.scope["repositories"] == [1]]
    assert [record.id for record in left] == [newest.id]
    keeper.verify(newest)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_life_of_a_server_in_a_bucket_and_a_directory(site15: Site) -> None:
    life(site15, 2)


def test_life_of_a_newer_server_in_a_directory(site18: Site) -> None:
    life(site18, 1)
    first = min(name for name in site18.keeper.wal.names() if "-" in name)
    assert first[:24] == next(iter(site18.keeper.backups([]))).consistency["first_segment"]
