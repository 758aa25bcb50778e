# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine pgbackrest, against real servers and stores: set up, archive, back up, list, fetch, restore, delete, adopt."""

from __future__ import annotations

import dataclasses
import hashlib
import pwd
import select
import shutil
import socket
import socketserver
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import LocalDirectories
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.adopt import adopt
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.engine import PgBackRest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import (
    RepositoryEngine,
    RepositoryEngineOptions,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    RepositoryError,
    ServerError,
    ToolError,
    Unfinished,
    WalError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.users import owner_of
from lab.fault import flip_byte, refusing_port, silent_server
from lab.servers import Server, free_port
from lab.stores import AzureServer, GcsServer, S3Server, certificate

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short

NEWER = Path(__file__).resolve().parents[2] / ".work/pgbackrest/pgbackrest"
QUIET = Progress(None)
SECRET = 'a "b" #c;d=ü\'x'
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


def backed_up(engine: PgBackRest, server: Server, kind: str, notes: dict[str, str], progress: Progress) -> Any:
    with closing(server.connect()) as connection:
        return engine.back_up(kind, notes, progress, engine.archiving(connection))


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
        self.options = RepositoryEngineOptions(
            server_name=options.pop("server_name", "main"),
            repositories=stores,
            config_dir=str(server.directory / "etc"),
            program=options.pop("program", needed(server.major)),
            **options,
        )
        self.engine = PgBackRest(self.host, self.options)

    def again(self, **changed: Any) -> PgBackRest:
        """The same with other options."""
        return PgBackRest(self.host, dataclasses.replace(self.options, **changed))

    def set_up(self) -> Site:
        self.engine.configure(False)
        self.engine.prepare(False)
        archive_by(self.server, self.engine)
        return self

    @property
    def configuration(self) -> Path:
        return Path(self.options.config_dir) / "pgbackrest" / self.options.server_name


def archive_by(server: Server, engine: RepositoryEngine) -> None:
    server.query("ALTER SYSTEM SET archive_command = %s", values=[engine.wal.archive_command()])
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
    """The last segment that is complete, when it and all else has been archived."""
    name = str(server.query("SELECT pg_walfile_name(pg_switch_wal() - 1)")[0][0])
    deadline = time.monotonic() + timeout
    while list((server.data / "pg_wal/archive_status").glob("*.ready")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} is not archived after {timeout} s: {server.log.read_text()[-2000:]}")
        time.sleep(0.05)
    return name


class Restored:
    """A server that a backup, and WAL by the engine's restore_command, lead to."""

    def __init__(self, site: Site, engine: RepositoryEngine, record: Any, tablespaces: Mapping[str, str]) -> None:
        self.site, self.engine, self.port = site, engine, free_port()
        self.data = site.server.server_directory(f"restored-{self.port}")
        self.log = site.server.server_directory("logs") / str(self.port)
        engine.restore(record, LocalDirectories(str(self.data), tablespaces), QUIET)
        assert not list(self.data.glob("*.signal"))

    def start(self, signal: str = "recovery.signal", configuration: str | None = None, **settings: str) -> None:
        (self.data / signal).touch()
        shutil.chown(self.data / signal, self.site.host.owner)
        # Settings in the file of ALTER SYSTEM count wherever the others are.
        words = {
            "data_directory": str(self.data),
            "archive_mode": "off",
            "port": str(self.port),
            "restore_command": self.engine.wal.restore_command(),
            "recovery_target_action": "promote",
            **settings,
        }
        with (self.data / "postgresql.auto.conf").open("a") as stream:
            for name, value in words.items():
                stream.write("{} = '{}'\n".format(name, value.replace("'", "''")))
        self.instance = Instance(str(self.data), self.site.host.bin_dir, self.site.host.owner, configuration)
        self.instance.start(str(self.log), settings=["-c", f"data_directory={self.data}"])

    def query(self, statement: str) -> str:
        argv = [self.site.server.program("psql"), "-XAt", "-h", str(self.site.server.socket_directory), "-c", statement]
        passfile = str(self.site.host.passfile)
        done = run_as(
            self.site.host.owner, argv, {"PGPASSFILE": passfile, "PGPORT": str(self.port), "PGUSER": "postgres"}
        )
        assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def recovered(self) -> Restored:
        """When it has promoted itself."""
        deadline = time.monotonic() + 60
        while self.query("SELECT pg_is_in_recovery()") == "t":
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)
        return self


@contextmanager
def restored(
    site: Site, record: Any, engine: RepositoryEngine | None = None, tablespaces: Mapping[str, str] | None = None
) -> Iterator[Restored]:
    made = Restored(site, engine or site.engine, record, tablespaces or {})
    try:
        yield made
    finally:
        Instance(str(made.data), site.host.bin_dir, site.host.owner).stop("immediate")
        shutil.rmtree(made.data)


@contextmanager
def recovered(
    site: Site, record: Any, engine: RepositoryEngine | None = None, **places: Any
) -> Iterator[Callable[[str], str]]:
    """A query to that server, when its recovery has ended."""
    with restored(site, record, engine, **places) as made:
        made.start()
        yield made.recovered().query


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


def new_server(make: Callable[..., Server], major: int) -> Server:
    needed(major)
    return make(major, settings={"archive_mode": "on"})


@pytest.fixture(scope="module")
def site15(server_factory: Callable[..., Server], s3: S3Server) -> Site:
    """PostgreSQL 15 into a bucket, encrypted."""
    return Site(
        new_server(server_factory, 15),
        s3_store(s3, s3.make_bucket("pg15")),
        encryption={"method": "aes256", "passphrase": SECRET},
        jobs=2,
    )


@pytest.fixture(scope="module")
def pg15(server_factory: Callable[..., Server]) -> Server:
    """One for several sites, each by a name of its own."""
    return new_server(server_factory, 15)


@pytest.fixture(scope="module")
def pg18(server_factory: Callable[..., Server]) -> Server:
    return new_server(server_factory, 18)


def in_a_directory(server: Server, **options: Any) -> Site:
    directory = server.directory / "repository"
    directory.mkdir(exist_ok=True)
    return Site(server, store(type="file", path=str(directory)), **options)


def life(site: Site) -> None:
    server, engine = site.server, site.engine
    space = server.server_directory("space")
    server.query(f"CREATE TABLESPACE space LOCATION '{space}'")
    server.query("CREATE TABLE elsewhere TABLESPACE space AS SELECT generate_series(1, 1000) AS id")

    # Set up: the plan is what is done then, and the second run has nothing to do.
    plan = [step.message for step in engine.configure(True)]
    assert not site.configuration.exists() and any("secrets.conf" in words for words in plan)
    preparation = [step.message for step in engine.prepare(True)]
    assert any("stanza main" in words for words in preparation)
    assert [step.message for step in engine.configure(False)] == plan
    assert engine.configure(False) == engine.configure(True) == []
    for name, mode in (("pgbackrest.conf", 0o640), ("conf.d/secrets.conf", 0o600)):
        status = (site.configuration / name).stat()
        assert stat.S_IMODE(status.st_mode) == mode and status.st_uid == pwd.getpwnam(site.host.owner).pw_uid
    assert [step.message for step in engine.prepare(False)] == preparation
    assert engine.prepare(False) == []
    archive_by(server, engine)
    engine.check()

    # Backups of each kind, while rows come in.
    work(server)
    full = backed_up(engine, site.server, "incremental", {"run": "7", "note": 'a b=c "x" ü'}, QUIET)
    assert full.kind == "full" and full.parent is None and any("changed to full" in words for words in full.warnings)
    assert full.annotations == {"run": "7", "note": 'a b=c "x" ü'} and full.server["system_id"] == site.host.system_id
    work(server)
    differential = backed_up(engine, site.server, "differential", {}, QUIET)
    work(server)
    incremental = backed_up(engine, site.server, "incremental", {}, QUIET)
    assert (differential.kind, differential.parent) == ("differential", full.id)
    assert (incremental.kind, incremental.parent) == ("incremental", differential.id)
    problems: list[str] = []
    listed = list(engine.backups(problems))
    assert not problems and len(listed) == 3
    assert [record.started_at for record in listed] == sorted(record.started_at for record in listed)
    assert [record.id for record in listed] == [full.id, differential.id, incremental.id]

    assert [engine.lacks(record) for record in listed] == [None, None, None]

    # WAL: names in order, and what comes back is what the server wrote.
    rows = work(server, 5000)
    segment = archived(server)
    names = list(engine.wal.names())
    assert names == sorted(set(names)) and any(name.startswith(f"{segment}-") for name in names)
    assert list(engine.wal.names(names[3])) == names[4:]
    target = server.directory / "fetched"
    assert engine.wal.fetch(segment, str(target))
    assert digest(target) == digest(server.data / "pg_wal" / segment)
    assert not engine.wal.fetch("0000000100000000000000FF", str(target))
    assert not engine.wal.fetch("00000007.history", str(target))

    # Verified, and the next listing knows.
    engine.verify(incremental)
    engine.remember_verified(incremental)
    assert next(record for record in engine.backups([]) if record.id == incremental.id).verified_at

    # Back again: each row, and the tablespace in another place.
    elsewhere = server.server_directory("elsewhere")
    with recovered(site, incremental, tablespaces={str(space): str(elsewhere)}) as query:
        assert query("SELECT count(*) FROM work") == str(rows)
        assert query("SELECT count(*) FROM elsewhere") == "1000"
        assert query("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'") == str(elsewhere)
    assert server.query("SELECT count(*) FROM elsewhere") == [(1000,)]

    # Deleted: what depends on it goes too, and the WAL that nobody needs any more.
    with pytest.raises(ToolError, match="every full backup"):
        engine.delete([full.id], False, [])
    newest = backed_up(engine, site.server, "full", {}, QUIET)
    doomed = [full.id, differential.id, incremental.id]
    assert engine.delete([full.id], True, []) == doomed and len(list(engine.backups([]))) == 4
    assert engine.delete([full.id], False, []) == doomed
    assert [record.id for record in engine.backups([])] == [newest.id]
    assert min(name for name in engine.wal.names() if "-" in name)[:24] == newest.consistency["first_segment"]
    engine.verify(newest)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_life_of_a_server_in_a_bucket(site15: Site) -> None:
    life(site15)


def test_life_of_a_newer_server_in_a_directory(pg18: Server) -> None:
    life(in_a_directory(pg18, compression="gzip"))


# Secrets


def test_secrets_are_nowhere_but_in_their_file(site15: Site) -> None:
    """Neither in what the server's users can see, nor in logs, nor in the other file."""
    site15.set_up()
    secrets = (SECRET, str(site15.options.repositories[0]["secret_key"]))
    assert all(secret in (site15.configuration / "conf.d/secrets.conf").read_text() for secret in secrets)
    places = [site15.configuration / "pgbackrest.conf", site15.server.log, site15.server.data / "postgresql.auto.conf"]
    places += [path for path in (site15.configuration.parent / "log").rglob("*") if path.is_file()]
    assert len(places) > 3
    for path in places:
        assert not any(secret in path.read_text(errors="replace") for secret in secrets), path
    assert not any(secret in site15.engine.wal.archive_command() for secret in secrets)


def test_a_wrong_secret_is_noticed_before_it_is_written(site15: Site) -> None:
    site15.set_up()
    before = (site15.configuration / "conf.d/secrets.conf").read_text()
    wrong = {**site15.options.repositories[0], "secret_key": "wrong"}
    for engine, words in (
        (site15.again(repositories=[wrong]), "SignatureDoesNotMatch.*does not know these keys"),
        (site15.again(encryption={"method": "aes256", "passphrase": "wrong"}), "passphrase is not the one"),
        (site15.again(encryption=None), "passphrase is not the one"),
    ):
        for check in (True, False):
            with pytest.raises(RepositoryError, match=words) as caught:
                engine.configure(check)
        assert str(caught.value).isprintable()
    assert (site15.configuration / "conf.d/secrets.conf").read_text() == before
    site15.engine.check()


def test_an_option_that_pgbackrest_does_not_know_is_refused(site15: Site) -> None:
    with pytest.raises(BadOption, match="archive-asnyc"):
        site15.again(extra={**site15.options.extra, "archive-asnyc": "n"}).configure(True)


# Stores


@contextmanager
def tls_before(port: int, directory: Path) -> Iterator[tuple[int, str]]:
    """TLS before a plain server's port: the port, and who is to be trusted."""
    made = certificate(directory)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.cert, made.key)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                socket.create_connection(("127.0.0.1", port)) as server,
            ):
                while True:
                    ready = [client] if client.pending() else select.select([client, server], [], [])[0]
                    for source, target in ((client, server), (server, client)):
                        if source in ready:
                            data = source.recv(65536)
                            if not data:
                                client.unwrap()  # an end without a word is an error in TLS
                                return
                            target.sendall(data)

    class Relays(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Relays(("127.0.0.1", 0), Relay) as relays:
        threading.Thread(target=relays.serve_forever, daemon=True).start()
        try:
            yield relays.server_address[1], str(made.ca)
        finally:
            relays.shutdown()


def test_a_store_that_never_answers_does_not_hold_us_up(pg15: Server, s3: S3Server) -> None:
    with silent_server() as port:
        silent = {**s3_store(s3, "nowhere"), "endpoint_url": f"https://localhost:{port}"}
        site = Site(pg15, silent, server_name="silent", extra={"io-timeout": "1"})
        began = time.monotonic()
        with pytest.raises(RepositoryError, match="Nothing answers there"):
            site.engine.configure(False)
        assert time.monotonic() - began < 20
        assert not site.configuration.exists()


@pytest.mark.parametrize("key", ["shared", "sas"])
def test_azure(pg15: Server, azure: AzureServer, key: str) -> None:
    container = azure.make_container(f"pgbackrest-{key}")
    token = azure.sas(container, "rwdlc", datetime.now(timezone.utc) + timedelta(hours=1))
    options = {"account_key": azure.account_key} if key == "shared" else {"sas_token": f"?{token}"}
    made = store(
        type="azure",
        container=container,
        account=azure.account,
        endpoint_url=azure.endpoint_url.replace("127.0.0.1", "localhost"),
        ca_file=str(azure.ca_file),
        **options,
    )
    site = Site(pg15, made, server_name=f"azure-{key}").set_up()
    brief(site)
    assert token not in (site.configuration / "pgbackrest.conf").read_text()


def brief(site: Site) -> None:
    """Archive, back up, list, fetch."""
    site.engine.check()
    work(site.server)
    record = backed_up(site.engine, site.server, "full", {}, QUIET)
    segment = archived(site.server)
    target = site.server.directory / "fetched"
    assert site.engine.wal.fetch(segment, str(target))
    assert digest(target) == digest(site.server.data / "pg_wal" / segment)
    assert [found.id for found in site.engine.backups([])] == [record.id]


def test_google(pg15: Server, gcs: GcsServer) -> None:
    """By a token, as the emulator wants none of Google's; TLS is put before it, as pgBackRest speaks nothing else."""
    with tls_before(gcs.port, pg15.server_directory("certificate")) as (port, ca_file):
        made = store(
            type="gcs", bucket=gcs.make_bucket("pgbackrest"), endpoint_url=f"https://localhost:{port}",
            ca_file=ca_file, credentials_file="/no/file",
        )  # fmt: skip
        shutil.chown(ca_file, owner_of(str(pg15.data)))
        brief(Site(pg15, made, server_name="google", extra={"repo1-gcs-key-type": "token"}).set_up())


def test_one_of_two_repositories_is_lost(pg15: Server, s3: S3Server) -> None:
    directory = store(type="file", path=str(pg15.server_directory("second")))
    bucket = s3_store(s3, s3.make_bucket("two"))
    site = Site(pg15, bucket, directory, server_name="two", extra={"io-timeout": "0.5"}).set_up()
    rows = work(pg15)
    record = backed_up(site.engine, site.server, "full", {}, QUIET)
    there = list(site.engine.backups([]))
    assert [found.scope["repositories"] for found in there] == [[1], [2]] and there[0].id == record.id
    archived(pg15)
    names = list(site.engine.wal.names())
    # The second has lost its list alone.
    lists = [path for path in Path(directory["path"]).rglob("backup.info*") if path.is_file()]
    for path in lists:
        path.rename(f"{path}.aside")
    gone: dict[str, str] = {}
    assert [found.id for found in site.engine.backups([], gone)] == [record.id] and list(gone) == [there[1].id]
    assert "repository 2" in gone[there[1].id]
    for path in lists:
        Path(f"{path}.aside").rename(path)
    with refusing_port() as port:
        # On a new host the configuration can be written even so.
        lost = {**bucket, "endpoint_url": f"https://localhost:{port}"}
        engine = site.again(repositories=[lost, directory])
        assert engine.configure(False)
        problems: list[str] = []
        assert [found.id for found in engine.backups(problems)] == [there[1].id]
        assert len(problems) == 1 and "repository 1" in problems[0]
        assert list(engine.wal.names()) == names
        with recovered(site, there[1], engine) as query:
            assert query("SELECT count(*) FROM work") == str(rows)


def test_one_of_two_directories_is_not_mounted(pg15: Server) -> None:
    """The others are backed up, what lacks is said, and nothing is made in the place where it should be (CASES 2.38)."""
    two = [store(type="file", path=str(pg15.server_directory(name))) for name in ("mounted", "gone")]
    site = Site(pg15, *two, server_name="mounts").set_up()
    backed_up(site.engine, site.server, "full", {}, QUIET)
    gone, aside = Path(two[1]["path"]), Path(two[1]["path"] + ".aside")
    gone.rename(aside)
    try:
        assert site.engine.configure(False) == site.engine.prepare(False) == []
        with pytest.raises(
            Unfinished, match=r"gone is not there.*mount it.*The other repositories have theirs: 2"
        ) as made:
            backed_up(site.engine, site.server, "full", {}, QUIET)
        assert made.value.backup["scope"]["repositories"] == [1] and not gone.exists()
        problems: list[str] = []
        assert [found.scope["repositories"] for found in site.engine.backups(problems)] == [[1], [1]]
        assert "gone is not there" in problems[0]
        with pytest.raises(RepositoryError, match=r"mounted is not there(.|\n)*gone is not there"):
            Path(two[0]["path"]).rename(f"{two[0]['path']}.aside")
            site.engine.configure(False)
    finally:
        aside.rename(gone)
        Path(f"{two[0]['path']}.aside").rename(two[0]["path"])
    assert len(list(site.engine.backups([]))) == 3


def test_one_of_two_repositories_fails_and_the_other_has_its_backup(pg15: Server) -> None:
    two = [store(type="file", path=str(pg15.server_directory(name))) for name in ("closed", "open")]
    site = Site(pg15, *two, server_name="half").set_up()
    closed = Path(two[0]["path"]) / "pgbackrest/backup/half"
    closed.chmod(0o500)
    try:
        with pytest.raises(Unfinished, match=r"closed.*Permission denied.*The other repositories have theirs: 2"):
            backed_up(site.engine, site.server, "full", {}, QUIET)
    finally:
        closed.chmod(0o750)
    assert [found.scope["repositories"] for found in site.engine.backups([])] == [[2]]


# Other servers


def test_another_server_is_refused(site15: Site, pg15: Server) -> None:
    site15.set_up()
    other = Site(
        pg15,
        *site15.options.repositories,
        encryption=site15.options.encryption,
    )
    other.engine.configure(False)
    for check in (True, False):
        with pytest.raises(CatalogError, match=f"{site15.host.system_id}.*{other.host.system_id}"):
            other.engine.prepare(check)
    # Nor do its segments come in.
    archive_by(other.server, other.engine)
    work(other.server)
    with pytest.raises(TimeoutError, match="ArchiveMismatchError"):
        archived(other.server, 2)
    with pytest.raises(ToolError, match="pgBackRest does not work for main"):
        other.engine.check()


def test_a_segment_with_other_content_is_refused(site15: Site) -> None:
    site15.set_up()
    work(site15.server)
    segment = archived(site15.server)
    # A data directory of the same server, as it is after a restore elsewhere.
    other = site15.server.server_directory("other")
    for name in ("global", "pg_wal", "pg_wal/archive_status"):
        site15.server.server_directory(f"other/{name}")
    shutil.copy(site15.server.data / "global/pg_control", other / "global/pg_control")
    shutil.chown(other / "global/pg_control", site15.host.owner)
    options = f"--pg1-path={other} --spool-path={site15.server.server_directory('spool-elsewhere')} archive-push"
    copy = other / "pg_wal" / segment
    command = site15.engine.wal.archive_command().replace("archive-push", options).replace("%p", str(copy))
    content = bytearray((site15.server.data / "pg_wal" / segment).read_bytes())
    copy.write_bytes(content)
    (other / "pg_wal/archive_status" / f"{segment}.ready").touch()
    again = run_as(site15.host.owner, ["sh", "-c", command])
    assert again.returncode == 0, again.stdout
    content[5000] ^= 1
    copy.write_bytes(content)
    shutil.rmtree(site15.server.directory / "spool-elsewhere")
    different = run_as(site15.host.owner, ["sh", "-c", command])
    assert different.returncode and "already exists" in different.stdout


def test_a_server_that_is_too_new_is_refused(pg18: Server) -> None:
    path = shutil.which("pgbackrest")
    if path is None or "2.4" not in run_as(None, [path, "version"]).stdout:
        pytest.skip("no pgBackRest here that is older than PostgreSQL 18")
    site = in_a_directory(pg18, program=path)
    with pytest.raises(ToolError, match=r"does not know PostgreSQL 18. Install version 2\.55"):
        site.engine.configure(True)


# Recovery


@pytest.fixture(scope="module")
def archive(server_factory: Callable[..., Server]) -> tuple[Site, Any, int]:
    """A site in a directory with a backup, more WAL behind it, and the rows that there are then."""
    site = in_a_directory(new_server(server_factory, 15)).set_up()
    work(site.server)
    record = backed_up(site.engine, site.server, "full", {}, QUIET)
    rows = [work(site.server, 20000) for _turn in range(3)][-1]
    archived(site.server)
    return site, record, rows


def test_a_recovery_does_not_end_early_when_the_repository_is_gone(archive: tuple[Site, Any, int]) -> None:
    """The server takes an exit code up to 125 for the end of the archive, and would open with rows missing."""
    site, record, _rows = archive
    repository = Path(site.options.repositories[0]["path"])
    away = repository.with_name("away")
    with restored(site, record) as made:
        repository.rename(away)
        try:
            with pytest.raises(ServerError, match="exit code 255"):
                made.start()
        finally:
            away.rename(repository)


def test_two_servers_recover_beside_the_one_that_runs(archive: tuple[Site, Any, int]) -> None:
    site, record, rows = archive
    with recovered(site, record) as first, recovered(site, record) as second:
        assert first("SELECT count(*) FROM work") == second("SELECT count(*) FROM work") == str(rows)
    work(site.server, 10, "other")
    archived(site.server)


def test_wal_is_fetched_where_there_is_no_server(archive: tuple[Site, Any, int]) -> None:
    site, _record, _rows = archive
    segment = archived(site.server)
    empty = dataclasses.replace(site.host, data_directory=str(site.server.server_directory("empty")))
    engine = PgBackRest(
        empty, dataclasses.replace(site.options, server_name="main", config_dir=str(site.server.directory / "etc2"))
    )
    engine.configure(False)
    target = site.server.directory / "fetched"
    assert engine.wal.fetch(segment, str(target))
    assert digest(target) == digest(site.server.data / "pg_wal" / segment)
    assert not engine.wal.fetch("0000000100000000000000FF", str(target))


def test_configuration_outside_the_data_directory(server_factory: Callable[..., Server]) -> None:
    """As Debian lays it out."""
    server = server_factory(15, settings={"archive_mode": "on"}, start=False)
    outside = server.server_directory("conf")
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        shutil.move(str(server.data / name), outside / name)
    configuration = outside / "postgresql.conf"
    with configuration.open("a") as stream:
        stream.write(
            f"data_directory = '{server.data}'\nhba_file = '{outside}/pg_hba.conf'\nident_file = '{outside}/pg_ident.conf'\n"
        )
    running = Instance(str(server.data), str(server.bindir), owner_of(str(server.data)), str(configuration))
    running.start(str(server.log))
    site = in_a_directory(server).set_up()
    site.engine.check()
    work(server)
    record = backed_up(site.engine, site.server, "full", {}, QUIET)
    rows = work(server)
    archived(server)
    with restored(site, record) as made:
        made.start(configuration=str(configuration))
        assert made.recovered().query("SELECT count(*) FROM work") == str(rows)


# Damage


def test_what_is_missing_or_damaged_is_found(archive: tuple[Site, Any, int]) -> None:
    site = archive[0]
    work(site.server)
    record = backed_up(site.engine, site.server, "full", {}, QUIET)
    site.engine.verify(record)
    root = Path(site.options.repositories[0]["path"]) / "pgbackrest"
    segment = next(root.rglob(f"{record.consistency['first_segment']}-*"))
    away = segment.rename(segment.with_name("away"))
    with pytest.raises(CatalogError, match="segments of WAL that it needs are not in the archive"):
        site.engine.verify(record)
    away.rename(segment)
    flip_byte(segment)
    with pytest.raises(CatalogError, match="cannot be restored"):
        site.engine.verify(record)
    with pytest.raises(WalError):
        site.engine.wal.fetch(segment.name[:24], str(site.server.directory / "fetched"))
    flip_byte(segment)
    largest = max((root / "backup/main" / record.id).rglob("*.zst"), key=lambda path: path.stat().st_size)
    flip_byte(largest)
    with pytest.raises(CatalogError, match="invalid"):
        site.engine.verify(record)
    flip_byte(largest)


def test_what_is_gone_is_seen_without_reading_all(archive: tuple[Site, Any, int]) -> None:
    """Kind: fresh that is not restorable. Found: a backup whose files had gone stayed fresh, as only a verification that reads everything was a
    look."""
    site = archive[0]
    record = backed_up(site.engine, site.server, "full", {}, QUIET)
    assert site.engine.lacks(record) is None
    folder = Path(site.options.repositories[0]["path"]) / "pgbackrest/backup/main" / record.id
    largest = max(folder.rglob("*.zst"), key=lambda path: path.stat().st_size)
    away = largest.rename(folder.parent / "away")
    assert "bytes instead of" in str(site.engine.lacks(record))
    away.rename(largest)
    assert site.engine.lacks(record) is None
    for name in ("backup.manifest", "backup.manifest.copy"):
        (folder / name).unlink()
    assert "backup.manifest is missing" in str(site.engine.lacks(record))
    shutil.rmtree(folder)
    assert "backup.manifest is missing" in str(site.engine.lacks(record))


def test_a_backup_that_is_killed_leaves_none(archive: tuple[Site, Any, int]) -> None:
    site, record, _rows = archive
    before = [found.id for found in site.engine.backups([])]

    class Impatient(Progress):
        def tell(self, done: Any, stored: Any) -> None:
            if done:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backed_up(site.engine, site.server, "full", {}, Impatient(None))
    assert [found.id for found in site.engine.backups([])] == before
    assert backed_up(site.engine, site.server, "full", {}, QUIET).kind == "full"


# Standby and adoption


def test_a_backup_from_a_standby(archive: tuple[Site, Any, int]) -> None:
    site, record, _rows = archive
    with restored(site, record) as standby:
        conninfo = (
            f"host={site.host.socket_directory} port={site.host.port} user=postgres passfile={site.host.passfile}"
        )
        standby.start("standby.signal", primary_conninfo=conninfo)
        primary = {"pg2-path": site.host.data_directory, "pg2-port": str(site.host.port)}
        extra = {**site.options.extra, **primary, "pg2-socket-path": site.host.socket_directory, "backup-standby": "y"}
        there = dataclasses.replace(site.host, data_directory=str(standby.data), port=standby.port)
        etc = str(site.server.directory / "etc-standby")
        engine = PgBackRest(there, dataclasses.replace(site.options, config_dir=etc, extra=extra))
        assert engine.configure(False) and engine.prepare(False) == []
        made = backed_up(engine, site.server, "full", {"from": "standby"}, QUIET)
        assert made.annotations == {"from": "standby"}
        assert "replay on the standby reached" in (Path(etc) / "pgbackrest/log/main-backup.log").read_text()
    rows = work(site.server)
    archived(site.server)
    with recovered(site, made) as query:
        assert query("SELECT count(*) FROM work") == str(rows)


def test_adopted_without_a_change(archive: tuple[Site, Any, int]) -> None:
    site, record, rows = archive
    place = site.server.server_directory("adopted")
    path = place / "pgbackrest-of-old.conf"
    path.write_text(
        f"[global]\nrepo1-path={site.options.repositories[0]['path']}/pgbackrest\nlog-path={place}\n"
        f"[main]\npg1-path={site.server.data}\n"
    )
    before = {item: item.stat().st_mtime_ns for item in site.server.directory.rglob("repository/**/*")}
    engine = adopt(site.host, "main", str(path))
    assert [found.id for found in engine.backups([])] == [found.id for found in site.engine.backups([])]
    assert list(engine.wal.names()) == list(site.engine.wal.names())
    assert engine.configure(False) == engine.prepare(False) == []
    with pytest.raises(BadOption, match="somebody else keeps"):
        backed_up(engine, site.server, "full", {}, QUIET)
    with pytest.raises(BadOption, match="somebody else keeps"):
        engine.delete([record.id], True, [])
    assert before == {item: item.stat().st_mtime_ns for item in site.server.directory.rglob("repository/**/*")}
    with recovered(site, record, engine) as query:
        assert int(query("SELECT count(*) FROM work")) >= rows


def test_what_is_not_there_cannot_be_adopted(archive: tuple[Site, Any, int]) -> None:
    site, _record, _rows = archive
    with pytest.raises(BadOption, match="is not there"):
        adopt(site.host, "main", "/nowhere/pgbackrest.conf")
    place = site.server.server_directory("adopted")
    (place / "empty.conf").write_text(f"[global]\nrepo1-path={place}/none\nlog-path={place}\n")
    assert list(adopt(site.host, "nobody", str(place / "empty.conf")).backups([])) == []
