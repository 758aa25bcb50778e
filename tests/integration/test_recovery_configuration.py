# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a recovered server's configuration reads is found: carried, named, or missed before anything is stopped.

The kind: a configuration is more than the files whose names one knows. Members: includes one by one, nested, relative, absolute into the old data
directory and outside it, directories, rules for clients with lists and (16 and newer) includes, what TLS reads, a data_directory that is another one's.
Before: a clone on a host without the included file failed after the recovery, in place after the old server's stop; a clone whose postgresql.conf
names a data_directory was started in the old one's; an include by its absolute path was read from the live server (CASES 1.56).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.answers import ok, refused
from lab.playbooks import run_module
from lab.recoveries import SETTINGS, Archived
from lab.restored import Restored
from lab.servers import Server

SMALL = ("--wal-segsize=1",)


def write(server: Server, path: Path, text: str) -> None:
    """A file of the server's, with the directories on its way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for made in (path, path.parent):
        shutil.chown(made, server.owner)


def configured(server: Server, outside: Path) -> None:
    """A configuration that reads all over the place."""
    data = server.data
    write(server, data / "sub" / "one.conf", "include 'nested/two.conf'\ncluster_name = 'one'\n")
    write(server, data / "sub" / "nested" / "two.conf", "work_mem = '1111kB'\n")
    write(server, data / "absolute.conf", "maintenance_work_mem = '2222kB'\n")
    write(server, outside / "extra" / "three.conf", "include 'four'\ntemp_buffers = '800kB'\n")
    write(server, outside / "extra" / "four", "random_page_cost = 1.5\n")
    write(server, outside / "maybe.conf", "seq_page_cost = 1.25\n")
    write(server, outside / "parts.d" / "5.conf", "cpu_tuple_cost = 0.5\n")
    write(server, outside / "empty.d" / "readme", "nothing")
    write(server, outside / "admins", "postgres\n")
    write(server, data / "lists" / "others", "somebody\n")
    hba = data / "rules.conf"
    text = (
        (data / "pg_hba.conf")
        .read_text()
        .replace("all             all", f'all             all,@"{outside}/admins",@lists/others')
    )
    if server.major >= 16:
        write(server, outside / "hba.d" / "more.conf", "local all nobody reject\n")
        text += f'include_dir "{outside}/hba.d"\ninclude_if_exists nowhere.conf\n'
    write(server, hba, text)
    with (data / "postgresql.conf").open("a") as stream:
        stream.write(
            f"data_directory = '{data}'\nhba_file = '{hba}'\ninclude 'sub/one.conf'\ninclude '{data}/absolute.conf'\n"
            f"include '{outside}/extra/three.conf'\ninclude_if_exists = '{outside}/maybe.conf'\ninclude_dir '{outside}/parts.d'\n"
            f"include_dir '{outside}/empty.d'\ninclude_if_exists '{outside}/never.conf'\n"
        )


@pytest.mark.parametrize("major", [15, pytest.param(18, marks=pytest.mark.extended)])
def test_everything_that_it_includes_comes_along(server_factory: Callable[..., Server], major: int) -> None:
    server = server_factory(major, settings=SETTINGS, initdb=SMALL)
    outside = server.server_directory("out side")
    configured(server, outside)
    server.restart()
    archived = Archived.of(server)
    archived.archive()
    shown = "SELECT name, setting FROM pg_settings WHERE source = 'configuration file' AND name !~ 'port|archive|restore|listen|recovery|file|data_d'"
    settings = sorted(server.query(shown))
    away = outside.rename(server.directory / "gone")
    with Restored(server, "beside") as new:
        done = ok(archived.recover(new))
        assert [row for row in sorted(new.query(shown)) if row[0] not in ("synchronous_standby_names",)] == settings
        read = {row[0] for row in new.query("SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL")}
        read |= {
            row[0]
            for row in new.query(
                "SELECT setting FROM pg_settings WHERE name ~ '^(hba|ident|config)_file$|^data_directory$'"
            )
        }
        if major >= 16:
            read |= {row[0] for row in new.query("SELECT DISTINCT file_name FROM pg_hba_file_rules")}
            assert any("more.conf" in path for path in read)
        assert all(path == str(new.data) or path.startswith(f"{new.data}/") for path in read), read
        assert new.query("SELECT user_name FROM pg_hba_file_rules WHERE 'somebody' = ANY (user_name) AND error IS NULL")
        assert not re.search("will not start|as it is on this host", str(done.get("warnings")))
        # The live one is started by its directory, the new one by its own.
        new.restart()
        assert new.query("SHOW data_directory") == [(str(new.data),)] and server.query("SELECT 1") == [(1,)]
    away.rename(outside)


def test_what_is_nowhere_is_told_before_the_stop(server_factory: Callable[..., Server]) -> None:
    """In place: the server was stopped, and found out afterwards what it lacks."""
    server = server_factory(15, settings=SETTINGS, initdb=SMALL)
    outside = server.server_directory("tls")
    archived = Archived.of(server)
    archived.archive()
    write(server, outside / "open.key", "no key\n")
    (outside / "open.key").chmod(0o644)
    pid = server.pid
    names = {path.name for path in server.directory.iterdir()}
    for settings, parts in (
        ({"ssl": "on", "ssl_cert_file": f"{outside}/server.crt"}, ("ssl_cert_file", str(outside), "ssl: 'off'")),
        ({"ssl": "on"}, ("ssl_key_file", "server.key")),
        (
            {"ssl": "on", "ssl_cert_file": f"{outside}/open.key", "ssl_key_file": f"{outside}/open.key"},
            ("chmod 600", "ssl: 'off'"),
        ),
        ({"unix_socket_directories": f"{outside}/none"}, ("unix_socket_directories", "/tmp")),
        ({"hba_file": f"{outside}/none"}, ("hba_file", str(outside))),
        ({"work_mem": "much"}, ("work_mem", "Nothing was stopped")),
        ({"no_such_setting": "1"}, ("no_such_setting",)),
    ):
        refused(archived.in_place(settings=settings), *parts)
        assert server.pid == pid and {path.name for path in server.directory.iterdir()} == names
    write(server, outside / "mine.conf", f"include 'not there.conf'\nport = {server.port}\n")
    refused(archived.in_place(config_file=str(outside / "mine.conf")), "not there.conf", "Nothing was stopped")
    with Restored(server, "socket") as new:
        # Only by its socket: another server's port is taken all the same.
        server.psql("ALTER SYSTEM SET listen_addresses = ''")
        server.psql(f"ALTER SYSTEM SET unix_socket_directories = '{server.directory}'")
        server.restart()
        taken = {"port": str(server.port), "unix_socket_directories": str(server.directory)}
        refused(archived.recover(new, settings=taken), "is taken by another server", f".s.PGSQL.{server.port}")
        with (server.data / "postgresql.auto.conf").open("w"):
            server.restart()
        pid = server.pid
    write(server, outside / "mine.conf", f"data_directory = '{server.data}'\n")
    with Restored(server, "beside") as new:
        refused(archived.recover(new, config_file=str(outside / "mine.conf")), "is of another server", str(server.data))
        assert not new.data.exists()
    assert server.pid == pid and {path.name for path in server.directory.iterdir()} == names


def test_what_the_server_itself_lacks_is_said(server_factory: Callable[..., Server]) -> None:
    """A server that runs, and would not start again, is warned of while there is time. No reload changes anything in it: archiving was set up, ok,
    and nothing was archived."""
    server = server_factory(15, settings=SETTINGS, initdb=SMALL)
    outside = server.server_directory("etc")
    archived = Archived.of(server, back_up=False)
    write(server, outside / "extra.conf", "work_mem = '1MB'\n")
    with (server.data / "postgresql.conf").open("a") as stream:
        stream.write(f"include '{outside}/extra.conf'\n")
    (outside / "extra.conf").unlink()
    backup = {**server.login(), **archived.options, "engine": "pg_basebackup"}
    assert "extra.conf" in str(ok(run_module("pg_backup", backup))["warnings"])
    archived.archive()
    with Restored(server, "beside") as new:
        refused(archived.recover(new), "extra.conf", "no backup has it")
        assert not new.data.exists()
    for check in (True, False):
        changed = {**server.login(), **archived.options, "archive_timeout": "2min"}
        refused(run_module("wal_archive", changed, check=check), "extra.conf", "no change of a setting takes effect")
    assert ok(run_module("wal_archive", {**server.login(), **archived.options}))["changed"] is False


def test_configuration_that_is_a_link(server_factory: Callable[..., Server]) -> None:
    """Links to /etc in the data directory: pg_basebackup leaves them out with a warning that nobody read, and the server came up with defaults."""
    server = server_factory(16, settings={**SETTINGS, "work_mem": "1234kB"}, initdb=SMALL)
    etc, logs = server.server_directory("etc"), server.server_directory("logs")
    write(server, etc / "conf.d" / "more.conf", "maintenance_work_mem = '2345kB'\n")
    with (server.data / "postgresql.conf").open("a") as stream:
        stream.write("include_dir 'conf.d'\n")
    for name in ("postgresql.conf", "pg_hba.conf"):
        shutil.move(server.data / name, etc / name)
        (server.data / name).symlink_to(etc / name)
    (server.data / "conf.d").symlink_to(etc / "conf.d")
    (server.data / "log").symlink_to(logs)
    server.restart()
    archived = Archived.of(server, back_up=False)
    made = ok(run_module("pg_backup", {**server.login(), **archived.options, "engine": "pg_basebackup"}))
    assert f"{server.data}/log is a link" in str(made["warnings"]) and "conf is a link" not in str(made["warnings"])
    archived.archive()
    away = etc.rename(server.directory / "gone")
    with Restored(server, "beside") as new:
        ok(archived.recover(new))
        assert new.query("SHOW work_mem") == [("1234kB",)]
        assert new.query("SHOW maintenance_work_mem") == [("2345kB",)]
        assert not (new.data / "postgresql.conf").is_symlink()
    away.rename(etc)
