# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G as a engine, with PostgreSQL and real stores.

The first part needs no WAL-G: a shell script copies in its place, so that PostgreSQL itself says what our commands mean to it.
The second part needs the program: `make wal-g`, or a wal-g in PATH; else it skips, and says so.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.destination import LocalDirectories
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.archive import (
    archive_command,
    restore_command,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g.engine import WalG
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    HoldfastError,
    ServerError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.header import system_id
from lab.playbooks import CHECKOUT
from lab.servers import Server, free_port, system_user
from lab.stores import S3Server

pytestmark = pytest.mark.extended  # apart from `make test`, which is to stay short

OWNER = system_user().pw_name
SETTINGS = {"archive_mode": "on", "archive_command": "/bin/false", "wal_keep_size": "512MB", "wal_level": "replica"}
Options = dict[str, Any]

VERSIONS = pytest.mark.parametrize("major", [15, 18], ids=lambda major: f"pg{major}")


def archiving(server: Server, command: str) -> None:
    server.query("ALTER SYSTEM SET archive_command = %s", values=[command])
    server.query("SELECT pg_reload_conf()")


def fill(server: Server, rows: int = 1000) -> None:
    server.query("CREATE TABLE IF NOT EXISTS t (n bigserial, words text)")
    server.query(
        "INSERT INTO t (words) SELECT repeat(md5(n::text), 20) FROM generate_series(1, %s) AS n", values=[rows]
    )


def switched(server: Server, wait: float = 60) -> str:
    """Close the segment, wait until the archiver has it, and return its name."""
    server.query("SELECT pg_create_restore_point('lab')")
    name = str(server.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        last = server.query("SELECT last_archived_wal, last_failed_wal FROM pg_stat_archiver")[0]
        if last[0] and last[0][:24] >= name and ".history" not in last[0]:
            return name
        time.sleep(0.1)
    raise TimeoutError(f"{name} was not archived: {last}\n{server.log.read_text()[-2000:]}")


def rows_of(instance: Instance, socket: Path, port: int) -> int:
    done = run_as(instance.owner, [instance.program("psql"), "-h", str(socket), "-p", str(port), "-U", "postgres",
                                   "-AtXc", "SELECT pg_is_in_recovery()::text || ' ' || count(*) FROM t"])  # fmt: skip
    assert done.returncode == 0, done.stdout
    recovering, _space, count = done.stdout.strip().partition(" ")
    assert recovering == "false"
    return int(count)


def recover(server: Server, directory: Path, command: str, count: Callable[[Instance, Path, int], int]) -> int:
    """Start what was restored, let it recover to the end of the archive, and count its rows."""
    port = free_port()
    with (directory / "postgresql.auto.conf").open("a") as stream:
        quoted = command.replace("'", "''")
        stream.write(f"restore_command = '{quoted}'\narchive_mode = off\nport = {port}\n")
        stream.write("recovery_target_timeline = 'latest'\n")
    (directory / "recovery.signal").touch()
    os.chown(directory / "recovery.signal", system_user().pw_uid, system_user().pw_gid)
    instance = Instance(str(directory), str(server.bindir), OWNER)
    instance.start(str(server.directory / f"{directory.name}.log"))
    try:
        ended = f"SELECT pg_is_in_recovery() -- {directory}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            said = run_as(
                OWNER,
                [
                    instance.program("psql"),
                    "-h",
                    str(server.directory),
                    "-p",
                    str(port),
                    "-U",
                    "postgres",
                    "-AtXc",
                    ended,
                ],
            )
            if said.stdout.strip() == "f":
                break
            time.sleep(0.1)
        return count(instance, server.directory, port)
    finally:
        instance.stop("immediate")


# What our commands mean to PostgreSQL. In WAL-G's place a script copies, and exits as WAL-G is documented to.

COPIES = """#!/bin/sh
here={here}
case $3 in
wal-push) cp "$4" "$here/wal/$(basename "$4").zst" ;;
wal-fetch)
    # From one segment on the store is out of reach.
    [ -e "$here/unreachable" ] && [ "${{4%.history}}" = "$4" ] && expr "$4" ">" "$(cat "$here/unreachable")" >&2 && exit 1
    [ -e "$here/wal/$4.zst" ] || exit 74
    cp "$here/wal/$4.zst" "$5" ;;
esac
"""


@dataclass
class Copied:
    """A server that archives by the script, and a copy of its data directory, which is consistent at the end of the segment
    ``reached``; half of the rows lie behind that."""

    server: Server
    place: Path
    program: str
    copy: Path
    reached: str
    rows: int

    def another(self) -> Path:
        directory = self.server.directory / f"copy-{secrets.token_hex(3)}"
        subprocess.run(["cp", "-a", str(self.copy), str(directory)], check=True)
        return directory


@pytest.fixture(scope="module", params=[15, 18], ids=lambda major: f"pg{major}")
def copied(request: pytest.FixtureRequest, server_factory: Callable[..., Server]) -> Copied:
    server = server_factory(request.param, settings=SETTINGS, local_auth="trust")
    place = server.server_directory("it's 100%")
    for name in ("wal", "program"):
        path = place / name
        path.mkdir()
        os.chown(path, system_user().pw_uid, system_user().pw_gid)
    program = place / "program" / "wal-g"
    program.write_text(COPIES.format(here="'" + str(place).replace("'", "'\\''") + "'"))
    program.chmod(0o755)
    archiving(server, archive_command(str(program), "/etc/main.json", str(place / "wal")))
    fill(server)
    copy = server.directory / "copy"
    done = run_as(OWNER, [server.program("pg_basebackup"), "-h", str(server.directory), "-p", str(server.port),
                          "-U", "postgres", "-D", str(copy), "-X", "none", "-c", "fast"])  # fmt: skip
    assert done.returncode == 0, done.stdout
    reached = switched(server)
    fill(server)
    switched(server)
    return Copied(server, place, str(program), copy, reached, 2000)


def test_a_segment_says_whose_it_is(copied: Copied) -> None:
    mine = copied.server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    segments = sorted((copied.place / "wal").glob("*" + "[0-9A-F]" * 8 + ".zst"))
    assert segments and {system_id(path.read_bytes()) for path in segments if path.stat().st_size > 4096} == {mine}


def test_a_recovery_ends_where_the_archive_does(copied: Copied) -> None:
    command = restore_command(copied.program, "/etc/main.json")
    assert recover(copied.server, copied.another(), command, rows_of) == copied.rows


def test_a_store_out_of_reach_does_not_end_a_recovery_early(copied: Copied) -> None:
    """An exit code of 1, which WAL-G has for it, would be the end of the archive: the server would be opened without its last
    rows. It must not start; and when the store is back, it starts with all of them."""
    command = restore_command(copied.program, "/etc/main.json")
    directory, unreachable = copied.another(), copied.place / "unreachable"
    unreachable.write_text(copied.reached)
    try:
        with pytest.raises(ServerError, match="did not start"):
            recover(copied.server, directory, command, rows_of)
    finally:
        unreachable.unlink()
    assert (directory / "recovery.signal").exists()
    (directory / "postgresql.auto.conf").write_text("")
    assert recover(copied.server, directory, command, rows_of) == copied.rows


def test_a_segment_that_is_not_there_after_the_push_stays_with_the_server(copied: Copied) -> None:
    server, nowhere = copied.server, str(copied.place / "nowhere")
    good = str(server.query("SHOW archive_command")[0][0])
    failed = int(server.query("SELECT failed_count FROM pg_stat_archiver")[0][0])
    archiving(server, archive_command(copied.program, "/etc/main.json", nowhere))
    try:
        server.query("SELECT pg_create_restore_point('lab')")
        name = server.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
        deadline = time.monotonic() + 60
        while int(server.query("SELECT failed_count FROM pg_stat_archiver")[0][0]) == failed:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert (server.data / "pg_wal" / "archive_status" / f"{name}.ready").exists()
    finally:
        archiving(server, good)


# What needs no program: its layout in a store


@pytest.fixture(scope="module")
def s3(s3_plain: S3Server) -> S3Server:
    """Without TLS, as a proxy looks into what is said."""
    return s3_plain


def options_of(**given: Any) -> Options:
    return {**{name: spec.get("default") for name, spec in STORE.items()}, **given}


def file_store(server: Server) -> Options:
    return options_of(type="file", path=str(server.server_directory(f"store-{secrets.token_hex(3)}")))


def s3_store(s3: S3Server) -> Options:
    return options_of(
        type="s3", bucket=s3.make_bucket(f"b-{secrets.token_hex(4)}"), prefix="back ups/one", region=s3.region,
        access_key=s3.access_key, secret_key=s3.secret_key, endpoint_url=s3.endpoint_url, addressing_style="path",
    )  # fmt: skip


def test_names_and_an_owner_in_a_bucket(s3: S3Server) -> None:
    """Listed and read by our own means: before it is configured, and with public keys alone, WAL-G could not tell."""
    store = s3_store(s3)
    host = Host("/data", OWNER, 5432, "/run", "postgres", "/usr/bin", system_id="7507672962298572862")
    engine = WalG(host, RepositoryEngineOptions("main", [store]))
    assert list(engine.wal.names()) == [] and engine.prepare(check=True) == []
    place, bucket = "back ups/one/main/wal-g", s3.client()
    names = [f"{1:08X}{0:08X}{number:08X}.zst" for number in range(1, 1104)]
    for key in ("00000002.history.zst", "sub/x", *names):
        bucket.put_object(Bucket=store["bucket"], Key=f"{place}/wal_005/{key}", Body=b"x")
    bucket.put_object(Bucket=store["bucket"], Key="back ups/one/main2/wal-g/wal_005/other", Body=b"x")
    # 1103 segments are more than one page of a listing; the digits of the last ones are not decimal.
    assert list(engine.wal.names()) == sorted(names) + ["00000002.history.zst"]
    assert list(engine.wal.names(names[-2])) == [names[-1], "00000002.history.zst"]
    metadata = b'{"system_identifier": 7507672962298572862}'
    key = f"{place}/basebackups_005/base_000000010000000000000002/metadata.json"
    bucket.put_object(Bucket=store["bucket"], Key=key, Body=metadata)
    assert engine.prepare(check=True) == []
    with pytest.raises(CatalogError, match="its system identifier is 7507672962298572862, this server's is 1"):
        WalG(replace(host, system_id="1"), RepositoryEngineOptions("main", [store])).prepare(check=True)


# The program itself


@pytest.fixture(scope="module")
def program() -> str:
    built = CHECKOUT / ".work" / "wal-g" / "wal-g"
    found = str(built) if built.exists() else shutil.which("wal-g")
    if found is None:
        pytest.skip("not installed: wal-g (make wal-g, which needs Go and the Go module proxy; or put one into PATH)")
    return found


class Kept:
    """A server, and WAL-G that keeps it."""

    def __init__(self, server: Server, program: str, store: Options, **options: Any) -> None:
        self.server = server
        mine = shutil.copy(program, server.server_directory("program"))
        os.chmod(mine, 0o755)
        identity = server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
        self.host = Host(
            str(server.data), OWNER, server.port, str(server.directory), "postgres", str(server.bindir),
            system_id=identity, version_num=server.major * 10000,
        )  # fmt: skip
        etc = server.server_directory(f"etc-{secrets.token_hex(3)}")
        self.options = RepositoryEngineOptions("main", [store], config_dir=str(etc), program=str(mine), **options)
        self.engine = WalG(self.host, self.options)

    def begin(self) -> None:
        assert len(self.engine.configure(check=True)) == len(self.engine.configure(check=False)) == 1
        self.engine.prepare(check=False)
        archiving(self.server, self.engine.wal.archive_command())
        fill(self.server)
        switched(self.server)

    def back_up(self, kind: str, **annotations: str) -> Any:
        with closing(self.server.connect()) as connection:
            return self.engine.back_up(kind, annotations, Progress(None), self.engine.archiving(connection))


@pytest.mark.parametrize("kind", ["file", "s3"])
@VERSIONS
def test_a_whole_life(
    major: int, kind: str, program: str, request: pytest.FixtureRequest, server_factory: Callable[..., Server]
) -> None:
    server = server_factory(major, settings=SETTINGS, local_auth="trust")
    store = file_store(server) if kind == "file" else s3_store(request.getfixturevalue("s3"))
    kept = Kept(server, program, store, jobs=2)
    engine = kept.engine
    kept.begin()
    again = WalG(kept.host, kept.options)
    assert again.configure(check=False) == again.prepare(check=False) == []
    engine.check()
    mode = (Path(kept.options.config_dir) / "main.wal-g.json").stat()
    assert stat.S_IMODE(mode.st_mode) == 0o600 and mode.st_uid == system_user().pw_uid

    early = kept.back_up("incremental")
    assert early.kind == "full" and early.warnings
    full = kept.back_up("full", why="lab")
    fill(server)
    upon = kept.back_up("incremental")
    fill(server)
    name = switched(server)
    assert [(record.kind, record.parent) for record in (full, upon)] == [("full", None), ("incremental", full.id)]
    listed = list(engine.backups([]))
    assert [record.id for record in listed] == [early.id, full.id, upon.id]
    assert listed[1].annotations == {"why": "lab"} and listed[1].server["system_id"] == kept.host.system_id
    for record in listed:
        engine.verify(record)

    assert any(entry.startswith(name) for entry in engine.wal.names())
    fetched = server.directory / "fetched"
    assert engine.wal.fetch(name, str(fetched))
    assert fetched.read_bytes() == (server.data / "pg_wal" / name).read_bytes()
    assert not engine.wal.fetch("0000000100000000000000FF", str(fetched))

    for record in (full, upon):
        target = server.server_directory(f"restored-{record.kind}")
        engine.restore(record, LocalDirectories(str(target), {}), Progress(None))
        assert recover(server, target, engine.wal.restore_command(), rows_of) == 3000

    assert engine.delete([early.id], True, []) == [early.id]
    assert engine.delete([early.id], False, []) == [early.id]
    assert [record.id for record in engine.backups([])] == [full.id, upon.id]
    left = list(engine.wal.names())
    assert not [entry for entry in left if entry[:24] < full.id[5:29]] and any(entry.startswith(name) for entry in left)
    assert engine.delete([full.id], False, []) == [full.id, upon.id]


def test_other_content_under_the_same_name_is_refused(program: str, server_factory: Callable[..., Server]) -> None:
    server = server_factory(18, settings=SETTINGS, local_auth="trust")
    kept = Kept(server, program, file_store(server))
    kept.begin()
    name = switched(server)
    place = server.server_directory("pg_wal")
    path = shutil.copy(server.data / "pg_wal" / name, place)
    os.chmod(path, 0o644)
    command = kept.engine.wal.archive_command().replace("%p", path).replace("%f", name)
    assert run_as(OWNER, ["sh", "-c", command]).returncode == 0  # the same content is fine
    with open(path, "r+b") as stream:
        stream.seek(8192)
        stream.write(b"something else")
    assert run_as(OWNER, ["sh", "-c", command]).returncode != 0
    fetched = server.directory / "fetched"
    assert kept.engine.wal.fetch(name, str(fetched))
    assert fetched.read_bytes() == (server.data / "pg_wal" / name).read_bytes()


def test_another_servers_repository_is_refused(program: str, server_factory: Callable[..., Server]) -> None:
    one, other = (server_factory(18, settings=SETTINGS, local_auth="trust") for _number in range(2))
    store = file_store(one)
    kept = Kept(one, program, store)
    kept.begin()
    os.chmod(one.directory, 0o755)
    stranger = Kept(other, program, store)
    stranger.engine.configure(check=False)
    with pytest.raises(CatalogError, match="another server's"):
        stranger.engine.prepare(check=False)  # by its WAL
    kept.back_up("full")
    with pytest.raises(CatalogError, match="another server's"):
        stranger.engine.prepare(check=False)  # by its backup


def test_a_wrong_secret_and_a_store_out_of_reach(
    program: str, s3: S3Server, server_factory: Callable[..., Server]
) -> None:
    server = server_factory(18, settings=SETTINGS, local_auth="trust")
    store = s3_store(s3)
    for change in ({"secret_key": "wrong"}, {"endpoint_url": f"http://127.0.0.1:{free_port()}"}):
        kept = Kept(server, program, {**store, **change})
        kept.engine.configure(check=False)
        with pytest.raises(HoldfastError):
            kept.engine.prepare(check=False)
        with pytest.raises(ToolError, match="cannot use") as refused:
            kept.engine.check()
        assert s3.secret_key not in str(refused.value)


def test_encryption_by_pgp_and_the_wrong_key(
    program: str, tmp_path_factory: pytest.TempPathFactory, server_factory: Callable[..., Server]
) -> None:
    server = server_factory(18, settings=SETTINGS, local_auth="trust")
    keys = server.server_directory("keys")
    home = tmp_path_factory.mktemp("gpg")
    for name in ("one", "two"):
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        subprocess.run([*gpg, "--quick-generate-key", name, "rsa2048", "default", "never"], check=True)
        armored = subprocess.run(
            [*gpg, "--armor", "--export-secret-keys", name], check=True, capture_output=True
        ).stdout
        (keys / f"{name}.asc").write_bytes(armored)
        os.chown(keys / f"{name}.asc", system_user().pw_uid, system_user().pw_gid)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False)
    store = file_store(server)
    kept = Kept(server, program, store, encryption={"method": "pgp", "recipients": [str(keys / "one.asc")]})
    kept.begin()
    full = kept.back_up("full")
    name = switched(server)
    target = server.server_directory("restored")
    kept.engine.restore(full, LocalDirectories(str(target), {}), Progress(None))
    assert recover(server, target, kept.engine.wal.restore_command(), rows_of) == 1000
    other = {"method": "pgp", "recipients": [str(keys / "two.asc")]}
    wrong = WalG(kept.host, replace(kept.options, encryption=other, config_dir=str(server.server_directory("etc-two"))))
    wrong.configure(check=False)
    with pytest.raises(HoldfastError, match="Is the key the right one"):
        wrong.wal.fetch(name, str(server.directory / "fetched"))


def test_libsodium_works_or_is_refused(program: str, server_factory: Callable[..., Server]) -> None:
    """It is an option of WAL-G's build: what must never be is a backup that is not encrypted, though that was asked for."""
    server = server_factory(18, settings=SETTINGS, local_auth="trust")
    kept = Kept(
        server, program, file_store(server), encryption={"method": "aes256", "passphrase": secrets.token_hex(32)}
    )
    try:
        kept.begin()
    except BadOption as exc:
        assert "libsodium" in str(exc)
        return
    target = server.server_directory("restored")
    kept.engine.restore(kept.back_up("full"), LocalDirectories(str(target), {}), Progress(None))
    assert recover(server, target, kept.engine.wal.restore_command(), rows_of) == 1000


def test_tablespaces_go_elsewhere(program: str, server_factory: Callable[..., Server]) -> None:
    server = server_factory(18, settings=SETTINGS, local_auth="trust")
    kept = Kept(server, program, file_store(server))
    old, new = (server.server_directory(name) for name in ("old space", "new space"))
    server.query(f"CREATE TABLESPACE fast LOCATION '{old}'")
    kept.begin()
    server.query("ALTER TABLE t SET TABLESPACE fast")
    full = kept.back_up("full")
    switched(server)
    before = sorted(path.name for path in old.rglob("*"))
    target = server.server_directory("restored")
    kept.engine.restore(full, LocalDirectories(str(target), {str(old): str(new)}), Progress(None))
    assert recover(server, target, kept.engine.wal.restore_command(), rows_of) == 1000
    assert any(path.is_file() for path in new.rglob("*"))
    assert sorted(path.name for path in old.rglob("*")) == before
    with pytest.raises(BadOption, match="is no location"):
        kept.engine.restore(full, LocalDirectories(str(target), {"/none": str(new)}), Progress(None))
