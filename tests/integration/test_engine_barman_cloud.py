# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""barman-cloud as a engine: the real programs, real servers, real stores."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.engines import wal_arrival as of_archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud.engine import BarmanCloud
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import LocalDirectories
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    HoldfastError,
    ServerError,
    ToolError,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time
from lab.playbooks import CHECKOUT
from lab.restored import Restored
from lab.servers import Server, system_user
from lab.stores import AzureServer, GcsServer, S3Server

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short

OWNER = system_user().pw_name
INSTALLED = Path(CHECKOUT) / ".work" / "barman"
ARCHIVING = {"archive_mode": "on", "archive_command": "/bin/false", "timezone": "America/New_York"}
PREFIX = "back ups/ü"
Options = dict[str, Any]
Where = Callable[..., "Site"]


@pytest.fixture(scope="module")
def barman() -> Iterator[str]:
    """The directory of the programs, within reach of the servers' user."""
    if not (INSTALLED / ".installed").exists():
        pytest.skip("Barman is not installed here: tests/tools/install_barman.sh does it, where PyPI can be reached")
    programs = INSTALLED / "bin"
    if _runs(programs):
        yield str(programs)
        return
    with tempfile.TemporaryDirectory(prefix="lab-barman-", dir="/tmp") as place:
        copy = Path(place) / "barman"
        shutil.copytree(INSTALLED, copy, symlinks=True)
        for program in (copy / "bin").glob("barman-*"):
            program.write_text(program.read_text().replace(str(INSTALLED), str(copy)))
        Path(place).chmod(0o755)
        if not _runs(copy / "bin"):
            pytest.skip(f"{OWNER} cannot run the Python of {INSTALLED}, which lies where only its owner gets")
        yield str(copy / "bin")


def _runs(programs: Path) -> bool:
    with suppress(ToolError):
        return run_as(OWNER, [str(programs / "barman-cloud-wal-archive"), "--version"]).returncode == 0
    return False


def options_of(store: S3Server | AzureServer | GcsServer, bucket: str, **options: Any) -> Options:
    """The repository option of a store, made whole as a module gets it."""
    given: Options = {"prefix": PREFIX}
    if isinstance(store, S3Server):
        store.make_bucket(bucket)
        keys = {"access_key": store.access_key, "secret_key": store.secret_key}
        given.update(type="s3", bucket=bucket, endpoint_url=store.endpoint_url, ca_file=str(store.ca_file), **keys)
    elif isinstance(store, AzureServer):
        store.make_container(bucket)
        given.update(type="azure", account=store.account, container=bucket, endpoint_url=store.endpoint_url)
        given.update(account_key=store.account_key, ca_file=str(store.ca_file))
    else:
        store.make_bucket(bucket)
        given.update(type="gcs", bucket=bucket, endpoint_url=store.endpoint_url)
    return {**{name: spec.get("default") for name, spec in STORE.items()}, **given, **options}


@dataclass
class Site:
    """Engines of one place in a store, on this host. Without a server only the commands can be run."""

    directory: Path
    programs: str
    store: Options
    server: Server | None = None
    by_password: bool = False
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.directory / "etc"
        for path in (self.config, self.directory / "pg_wal"):
            path.mkdir(exist_ok=True)
            os.chown(path, system_user().pw_uid, system_user().pw_gid)

    @property
    def host(self) -> Host:
        if self.server is None:
            return Host(str(self.directory), OWNER, 1, str(self.directory), "postgres", "/nowhere", system_id="1")
        identifier = self.server.query("SELECT system_identifier FROM pg_control_system()")[0][0]
        host = Host(
            str(self.server.data), OWNER, self.server.port, str(self.server.socket_directory), "postgres",
            str(self.server.bindir), version_num=self.server.major * 10000, system_id=str(identifier),
        )  # fmt: skip
        if not self.by_password:
            return host
        passfile = self.config / "shop.pgpass"
        passfile.touch(mode=0o600)
        passfile.write_text(f"127.0.0.1:{self.server.port}:*:postgres:{self.server.password}\n")
        os.chown(passfile, system_user().pw_uid, system_user().pw_gid)
        return replace(host, host="127.0.0.1", passfile=str(passfile))

    def engine(self, host: Host | None = None, store: Options | None = None, **options: Any) -> BarmanCloud:
        wanted = {"config_dir": str(self.config), "program": self.programs, "compression": "gzip", **options}
        return BarmanCloud(host or self.host, RepositoryEngineOptions("shop", [store or self.store], **wanted))

    def run(self, command: str, name: str) -> tuple[int, str]:
        """As PostgreSQL runs it, for a file in pg_wal: exit code, and what goes to the server's log."""
        text = command.replace("%p", f"pg_wal/{name}").replace("%f", name)
        done = run_as(OWNER, ["/bin/sh", "-c", f'cd "$1" || exit 99; {text}', "sh", str(self.directory)])
        return done.returncode, done.stdout

    def write(self, name: str, content: bytes) -> Path:
        path = self.directory / "pg_wal" / name
        path.write_bytes(content)
        path.chmod(0o644)
        return path


@pytest.fixture(scope="module")
def commands_only(s3: S3Server, barman: str) -> Iterator[Site]:
    """A place in S3 of a server that is not here, with its settings written. Each test has segments of its own."""
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        site = Site(Path(place), barman, options_of(s3, "commands"))
        site.engine().configure(check=False)
        yield site


@pytest.fixture
def elsewhere(commands_only: Site) -> Iterator[Site]:
    """The same place for another server, whose settings are not written."""
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        yield Site(Path(place), commands_only.programs, {**commands_only.store, "prefix": Path(place).name})


def backed_up(site: Site, engine: BarmanCloud, kind: str, notes: dict[str, str]) -> Any:
    assert site.server is not None
    with closing(site.server.connect()) as connection:
        return engine.back_up(kind, notes, Progress(None), engine.archiving(connection))


def archiving(server: Server, command: str) -> None:
    server.query("ALTER SYSTEM SET archive_command = %s", values=[command])
    server.query("SELECT pg_reload_conf()")


def switched(server: Server) -> str:
    """End the segment, wait until it is archived, and return its name."""
    server.query("SELECT pg_create_restore_point('lab')")
    segment = str(server.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = server.query("SELECT last_archived_wal FROM pg_stat_archiver")[0][0]
        if done is not None and done[:24] >= segment:
            return segment
        time.sleep(0.1)
    raise TimeoutError(f"{segment} was not archived: {server.log.read_text()[-3000:]}")


@contextmanager
def load(server: Server) -> Iterator[None]:
    """Somebody who goes on writing."""
    ended = threading.Event()

    def write() -> None:
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            while not ended.wait(0.02):
                cursor.execute("INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 20) AS n")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def nobody_sees(*secrets: str) -> Iterator[None]:
    """No process has one of the secrets in its arguments."""
    ended, seen = threading.Event(), list[str]()

    def look() -> None:
        while not ended.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    words = path.read_bytes().decode(errors="replace")
                    seen.extend(words for secret in secrets if secret in words)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert seen == []


ROWS = "SELECT count(*), sum(hashtext(words)::bigint) FROM t"


def recovered(site: Site, engine: BarmanCloud, record: Record, tablespaces: dict[str, str]) -> list[tuple[Any, ...]]:
    """Restore a backup beside its server, recover to the end of the archive, and read its rows."""
    assert site.server is not None
    with Restored(site.server, "restored", [Path(path) for path in tablespaces.values()]) as restored:
        directory = site.server.server_directory("restored")
        progress = site.directory / "progress"
        engine.restore(record, LocalDirectories(str(directory), tablespaces), Progress(str(progress)))
        assert json.loads(progress.read_text())["activity"] == f"restoring {record.id} by barman-cloud"
        command = engine.wal.restore_command().replace("'", "''")
        with (directory / "postgresql.auto.conf").open("a") as stream:
            stream.write(f"restore_command = '{command}'\narchive_mode = off\nport = {restored.port}\n")
        (directory / "recovery.signal").touch()
        os.chown(directory / "recovery.signal", system_user().pw_uid, system_user().pw_gid)
        assert directory.stat().st_mode & 0o777 == 0o700
        restored.start()
        deadline = time.monotonic() + 60
        while restored.query("SELECT pg_is_in_recovery()")[0][0]:
            assert time.monotonic() < deadline, restored.log.read_text()[-3000:]
            time.sleep(0.1)
        return restored.query(ROWS)


def in_store(engine: BarmanCloud, folder: str) -> list[str]:
    return [info.key for info in engine._repository.list(folder)]


def set_up(site: Site, engine: BarmanCloud) -> None:
    """Configured, and the server archives."""
    assert site.server is not None
    path = site.config / "shop.barman.env"
    (step,) = engine.configure(check=True)
    assert not path.exists()
    assert engine.configure(check=False) == [step]
    assert (path.stat().st_mode & 0o7777, path.owner()) == (0o600, OWNER)
    assert engine.configure(check=True) == engine.configure(check=False) == []
    assert engine.prepare(check=True) == engine.prepare(check=False) == []
    engine.check()
    for command in (engine.wal.archive_command(), engine.wal.restore_command()):
        assert len(command) < 600
    archiving(site.server, engine.wal.archive_command())


def fetched_as_written(site: Site, engine: BarmanCloud, segment: str) -> None:
    assert site.server is not None
    copy = site.directory / "copy"
    assert engine.wal.fetch(segment, str(copy))
    assert copy.read_bytes() == (site.server.data / "pg_wal" / segment).read_bytes()
    assert not engine.wal.fetch("0000000100000009000000FF", str(copy))
    assert not engine.wal.fetch("00000009.history", str(copy))


@pytest.fixture
def place(barman: str, server_factory: Callable[..., Server], tmp_path: Path) -> Where:
    def make(major: int, store: Options, by_password: bool = False) -> Site:
        auth = "scram-sha-256" if by_password else "trust"
        server = server_factory(major, settings={**ARCHIVING, "wal_keep_size": "512MB"}, local_auth=auth)
        return Site(server.directory, barman, store, server, by_password)

    return make


def test_a_life(place: Where, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing to a restored server, under load, with two backups, the older one deleted, and a tablespace moved."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    site = place(15, options_of(s3, "life"))
    server, engine = site.server, site.engine()
    assert server is not None
    set_up(site, engine)
    old, new = server.server_directory("old disk"), server.server_directory("new disk")
    server.query("CREATE TABLESPACE disk LOCATION %s", values=[str(old)])
    server.query("CREATE TABLE t (n int, words text) TABLESPACE disk")
    began = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
    with load(server), nobody_sees(s3.secret_key):
        first = backed_up(site, engine, "full", {})
        second = backed_up(site, engine, "full", {"why": "test"})
    segment = switched(server)
    expected = server.query(ROWS)

    assert [record.id for record in engine.backups([])] == [first.id, second.id]
    assert began < parse_time(first.started_at, "t") + datetime.timedelta(seconds=1)
    assert parse_time(second.stopped_at, "t") <= datetime.datetime.now(datetime.timezone.utc)
    assert first.id.startswith(began.strftime("%Y%m%dT"))  # labels in UTC, whatever the zones here
    assert (first.kind, first.server["timeline"], first.compression["method"]) == ("full", 1, "gzip")
    assert first.engine_version == engine.version
    assert first.scope["size"] > first.scope["stored"] > 100_000
    assert first.server["tablespaces"][0]["location"] == str(old)
    assert first.warnings == [] and "annotations" in second.warnings[0]

    # The layout is CloudNativePG's.
    keys = in_store(engine, "shop")
    assert f"shop/base/{first.id}/data.tar.gz" in keys and f"shop/base/{first.id}/backup.info" in keys
    assert f"shop/wals/0000000100000000/{segment}.gz" in keys
    names = list(engine.wal.names())
    assert names == sorted(names) and names[-1] == f"{segment}.gz"
    assert list(engine.wal.names(after=names[1])) == names[2:]
    fetched_as_written(site, engine, segment)

    with pytest.raises(CatalogError, match="holds another server's"):
        site.engine(replace(site.host, system_id="7")).prepare(check=False)
    with pytest.raises(BadOption, match="makes full backups"):
        backed_up(site, engine, "incremental", {})
    found = engine.verify(first)
    assert not found.verified and "reads nothing back" in found.looked_at
    with pytest.raises(CatalogError, match="has no backup"):
        engine.verify(replace(first, id="20200101T000000"))

    kept(site, engine, first)
    assert engine.delete([first.id], True, []) == [first.id]
    assert in_store(engine, "shop") == keys
    assert engine.delete([first.id], False, []) == [first.id]
    assert [record.id for record in engine.backups([])] == [second.id]
    begin = str(server.query("SELECT pg_walfile_name(%s)", values=[second.start_lsn])[0][0])
    assert next(engine.wal.names()).startswith(begin)
    with pytest.raises(CatalogError, match=f"no backup {first.id}"):
        engine.delete([first.id], False, [])

    assert recovered(site, engine, second, {str(old): str(new)}) == expected
    assert server.query(ROWS) == expected


def kept(site: Site, engine: BarmanCloud, record: Record) -> None:
    """By hand, as the settings' own words say: what Barman is to keep is pinned, and not deleted."""
    path = site.config / "shop.barman.env"
    for word, pinned in (("--target=full", True), ("--release", False)):
        command = f'. {path}; barman-cloud-backup-keep {word} $BARMAN_STORE "$BARMAN_URL" shop {record.id}'
        done = run_as(OWNER, ["/bin/sh", "-c", command])
        assert done.returncode == 0, done.stdout
        assert next(engine.backups([])).pinned is pinned
        if pinned:
            with pytest.raises(ToolError, match="current keep request"):
                engine.delete([record.id], False, [])


@pytest.mark.parametrize("kind", ["azure", "gcs"])
def test_other_stores(place: Where, request: pytest.FixtureRequest, kind: str) -> None:
    site = place(18, options_of(request.getfixturevalue(kind), "other-stores"), by_password=kind == "gcs")
    server, engine = site.server, site.engine(compression="lz4", extra={"wal_compression": "zstd"}, jobs=2)
    assert server is not None
    set_up(site, engine)
    server.query("CREATE TABLE t (n int, words text)")
    secret = site.store.get("account_key") or "no secret at all"
    with load(server), nobody_sees(secret, server.password):
        record = backed_up(site, engine, "full", {})
    segment = switched(server)
    expected = server.query(ROWS)
    names = list(engine.wal.names())
    assert f"{segment}.zst" in names and names == sorted(names)
    assert record.compression["method"] == "lz4"
    fetched_as_written(site, engine, segment)
    assert recovered(site, engine, record, {}) == expected
    assert engine.delete([record.id], False, []) == [record.id]
    assert in_store(engine, "shop/base") == []


def test_a_sas_token(barman: str, azure: AzureServer) -> None:
    """In a file that somebody else keeps fresh: what archives reads it each time."""
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    store = options_of(azure, "by-token", account_key=None)
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        token = Path(directory) / "token"
        token.touch(mode=0o600)
        os.chown(token, system_user().pw_uid, system_user().pw_gid)
        token.write_text(azure.sas("by-token", "rl", end))
        site = Site(Path(directory), barman, {**store, "sas_token_file": str(token)})
        engine = site.engine()
        assert engine.configure(check=False)
        name = "000000010000000000000001"
        site.write(name, b"one")
        code, said = site.run(engine.wal.archive_command(), name)
        assert code == 1 and "not authorized" in said
        token.write_text(azure.sas("by-token", "rwdlc", end))
        assert engine.configure(check=False) == []
        assert site.run(engine.wal.archive_command(), name) == (0, "")
        assert list(site.engine().wal.names()) == [f"{name}.gz"]


# The commands, without a server

ONE = "000000010000000000000001"


def segment_name(number: int) -> str:
    return f"0000000100000000{number:08X}"


def content_of(site: Site, name: str) -> bytes:
    copy = site.directory / "copy"
    assert site.engine().wal.fetch(name, str(copy))
    return copy.read_bytes()


@pytest.mark.parametrize("name", [ONE, f"{segment_name(2)}.partial", "00000002.history"])
def test_what_is_archived_is_never_overwritten(commands_only: Site, name: str) -> None:
    engine = commands_only.engine()
    command = engine.wal.archive_command()
    path = commands_only.write(name, b"one" * 1000)
    assert commands_only.run(command, name) == (0, "")
    assert commands_only.run(command, name) == (0, "")
    path.write_bytes(b"two" * 1000)
    code, said = commands_only.run(command, name)
    assert code == 1 and "differ" in said
    assert [key.rpartition("/")[2] for key in in_store(engine, "shop") if name in key] == [f"{name}.gz"]
    if not name.endswith(".partial"):
        assert content_of(commands_only, name) == b"one" * 1000


def test_barman_itself_overwrites(commands_only: Site) -> None:
    """When this fails Barman has learned to refuse, and archive_command can be shorter."""
    name = segment_name(3)
    path = commands_only.write(name, b"one")
    bare = f'. {commands_only.config}/shop.barman.env; barman-cloud-wal-archive $BARMAN_WAL $BARMAN_STORE "$BARMAN_URL" shop %p'
    assert commands_only.run(bare, name) == (0, "")
    path.write_bytes(b"two")
    assert commands_only.run(bare, name) == (0, "")
    assert content_of(commands_only, name) == b"two"


def test_a_segment_and_its_partial(commands_only: Site) -> None:
    """A promoted standby archived the beginning of a segment, the old primary all of it: two files."""
    engine, name = commands_only.engine(), segment_name(4)
    for file, content in ((f"{name}.partial", b"half"), (name, b"whole")):
        commands_only.write(file, content)
        assert commands_only.run(engine.wal.archive_command(), file) == (0, "")
    assert [found for found in engine.wal.names() if name in found] == [f"{name}.gz", f"{name}.partial.gz"]
    path = commands_only.directory / "pg_wal" / name
    path.unlink()
    assert commands_only.run(engine.wal.restore_command(), name) == (0, "")
    assert path.read_bytes() == b"whole"


def test_another_compression_later(elsewhere: Site) -> None:
    """What is there by gzip is the same segment."""
    path = elsewhere.write(ONE, b"one")
    engine = elsewhere.engine()
    engine.configure(check=False)
    assert elsewhere.run(engine.wal.archive_command(), ONE) == (0, "")
    engine = elsewhere.engine(compression="zstd", level=3)
    (step,) = engine.configure(check=False)
    assert "shop.barman.env" in step.message
    assert elsewhere.run(engine.wal.archive_command(), ONE) == (0, "")
    assert list(engine.wal.names()) == [f"{ONE}.gz"]
    path.write_bytes(b"two")
    assert elsewhere.run(engine.wal.archive_command(), ONE)[0] == 1


def test_a_store_that_is_away(barman: str) -> None:
    reason = S3Server.missing()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        with S3Server() as store:
            site = Site(Path(directory), barman, options_of(store, "away"))
            certificate = Path(directory) / "ca.pem"
            certificate.write_bytes(Path(site.store["ca_file"]).read_bytes())
            site.store["ca_file"] = str(certificate)
            engine = site.engine()
            engine.configure(check=False)
            engine.check()
        site.write(ONE, b"one")
        code, said = site.run(engine.wal.archive_command(), ONE)
        assert code == 1 and "Could not connect" in said
        code, said = site.run(engine.wal.restore_command(), ONE)
        assert code == 255 and "Could not connect" in said
        began = time.monotonic()
        with pytest.raises(ToolError, match=r"(?s)Can't connect to cloud provider.*piles up in"):
            engine.check()
        assert time.monotonic() - began < 30
        with pytest.raises(WalError, match="Could not connect"):
            engine.wal.fetch(ONE, str(Path(directory) / "copy"))
        for work in (lambda: list(engine.backups([])), lambda: engine.prepare(check=True)):
            with pytest.raises(HoldfastError):
                work()


def test_a_wrong_secret(elsewhere: Site) -> None:
    store = {**elsewhere.store, "secret_key": "quite another one"}
    engine = elsewhere.engine(store=store)
    assert len(engine.configure(check=False)) == 1
    with pytest.raises(ToolError, match="Forbidden") as said:
        engine.check()
    assert "quite another one" not in str(said.value)
    elsewhere.write(ONE, b"one")
    code, output = elsewhere.run(engine.wal.archive_command(), ONE)
    assert code == 1 and "SignatureDoesNotMatch" in output and "quite another one" not in output
    assert elsewhere.run(engine.wal.restore_command(), ONE)[0] == 255


def test_a_bucket_that_is_missing(elsewhere: Site) -> None:
    engine = elsewhere.engine(store={**elsewhere.store, "bucket": "no-such-bucket"})
    engine.configure(check=False)
    with pytest.raises(ToolError, match="no-such-bucket does not exist"):
        engine.check()
    elsewhere.write(ONE, b"one")
    code, said = elsewhere.run(engine.wal.archive_command(), ONE)
    assert code == 1 and "NoSuchBucket" in said


def test_a_codec_that_is_missing(elsewhere: Site) -> None:
    engine = elsewhere.engine(extra={"wal_compression": "snappy"})
    with pytest.raises(ToolError, match="lacks the Python module snappy"):
        engine.configure(check=True)


def test_files_that_the_owner_cannot_read(elsewhere: Site) -> None:
    store = {**elsewhere.store, "ca_file": "/no/such/ca.pem"}
    with pytest.raises(BadOption, match=f"cannot be read by {OWNER}"):
        elsewhere.engine(store=store).configure(check=True)


def test_profiles_are_the_owners(elsewhere: Site) -> None:
    """A profile is looked for in the home of the user who owns the server; this one has none."""
    engine = elsewhere.engine(store={**elsewhere.store, "access_key": None, "secret_key": None, "profile": "pg"})
    engine.configure(check=False)
    text = (elsewhere.config / "shop.barman.env").read_text()
    assert "AWS_PROFILE=pg" in text and "SECRET" not in text
    code, said = elsewhere.run(engine.wal.archive_command(), ONE)
    assert code == 1 and "The config profile (pg) could not be found" in said


# Bad days of a server


def test_another_servers_wal(place: Where, s3: S3Server) -> None:
    """Known by the segments, when there is no backup yet."""
    site = place(18, options_of(s3, "whose"))
    server, engine = site.server, site.engine(compression="none")
    assert server is not None
    set_up(site, engine)
    switched(server)
    assert engine.prepare(check=False) == []
    with pytest.raises(CatalogError, match=rf"(?s)system identifier\s+is {site.host.system_id}, this server's is 7"):
        site.engine(replace(site.host, system_id="7"), compression="none").prepare(check=False)


def test_a_backup_that_fails_leaves_nothing(place: Where, s3: S3Server) -> None:
    site = place(15, options_of(s3, "fails"))
    assert site.server is not None
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::fails/*/data.tar*"}
    access, secret = s3.user({"Version": "2012-10-17", "Statement": [allow, deny]})
    engine = site.engine(store={**site.store, "access_key": access, "secret_key": secret})
    set_up(site, engine)
    with pytest.raises(ToolError, match="made no backup.*AccessDenied"):
        backed_up(site, engine, "full", {})
    problems: list[str] = []
    assert (list(engine.backups(problems)), problems) == ([], [])
    assert in_store(engine, "shop/base") == []


def test_archiving_that_fails_meanwhile(place: Where, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backup is given up, rather than waiting for ever. What a killed one leaves is told of, and deleted when named."""
    monkeypatch.setattr(of_archiving, "_STUCK", 1.0)
    monkeypatch.setattr(of_archiving, "_LOOK", 0.3)
    site = place(15, options_of(s3, "stuck"))
    assert site.server is not None
    engine = site.engine(compression="none")
    set_up(site, engine)
    switched(site.server)
    names = list(engine.wal.names())
    server = site.server

    def asked(archives: Archiving, check: bool = False) -> list[str]:
        archiving(server, "/bin/false")
        return []

    problems: list[str] = []
    with monkeypatch.context() as killed:
        killed.setattr(engine, "_forget", lambda label: "")
        killed.setattr(Archiving, "before", asked)
        with pytest.raises(ToolError, match="failed to archive for 1 seconds"):
            backed_up(site, engine, "full", {})
    assert list(engine.backups(problems)) == []
    (problem,) = problems
    (label,) = re.findall(r"backup (\w+) (?:is not finished|failed)", problem)
    assert engine.delete([label], True, []) == [label]
    assert engine.delete([label], False, []) == [label]
    assert in_store(engine, "shop/base") == []
    assert list(engine.wal.names()) == names


def test_archiving_that_hangs_meanwhile(place: Where, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command does not come back: nothing fails, and Barman waits for as long as PostgreSQL does."""
    site = place(15, options_of(s3, "hangs"))
    assert site.server is not None
    engine = site.engine(compression="none")
    set_up(site, engine)
    switched(site.server)
    server, gate = site.server, site.server.server_directory("gate") / "closed"
    gate.touch()

    def asked(archives: Archiving, check: bool = False) -> list[str]:
        archiving(server, f"while [ -e {gate} ]; do sleep 0.1; done; exit 1")
        return []

    monkeypatch.setattr(Archiving, "before", asked)
    try:
        with (
            closing(server.connect()) as connection,
            pytest.raises(
                ToolError, match=r"no backup.*archived nothing for 1 seconds.*does not come back, and \w+ waits first"
            ),
        ):
            engine.back_up("full", {}, Progress(None), engine.archiving(connection, 1.0))
        assert (list(engine.backups([])), in_store(engine, "shop/base")) == ([], [])
    finally:
        gate.unlink()


def test_a_server_that_does_not_archive(barman: str, s3: S3Server, server_factory: Callable[..., Server]) -> None:
    """It would wait without an end, or make what cannot be restored."""
    server = server_factory(15, local_auth="trust")
    site = Site(server.directory, barman, options_of(s3, "idle"), server)
    with pytest.raises(ServerError, match="does not archive its WAL"):
        backed_up(site, site.engine(), "full", {})
