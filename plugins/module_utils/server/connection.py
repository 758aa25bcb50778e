# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to a server: for ourselves by psycopg2, for its client tools by a connection string and a passfile."""

from __future__ import annotations

import codecs
import contextlib
import copy
import os
import re
import select
import threading
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.background import Background
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import put
from ansible_collections.holdfast.postgres.plugins.module_utils.server.pooler import is_proxied, refuse_pooler

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

PSYCOPG2_ERROR: Optional[str] = None
try:
    import psycopg2
    from psycopg2 import extensions
    from psycopg2.extensions import make_dsn

    class _Cursor(extensions.cursor):
        """A statement ends, if need be because ``_wait`` cancels it, before a stop is raised: so the connection can still be used
        to clear up."""

        def execute(self, query: Any, vars: Any = None) -> None:
            with stopping.held(), _beginning():
                super().execute(query, vars)

except ImportError:  # said by module.py
    PSYCOPG2_ERROR = traceback.format_exc()

# psycopg2's way to wait is one for the whole process, and is taken away while somebody connects: a statement that begins in that moment
# would find none. So beginning one and connecting exclude each other; waiting for one and connecting do not.
_connecting = threading.Lock()
_thread = threading.local()
_UTF8, _ASCII = "UTF8", "SQL_ASCII"


def _any_text(name: str) -> Optional[codecs.CodecInfo]:
    """UTF-8 in which bytes that are none survive the way here and back."""
    if name != "holdfast_any":
        return None

    def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
        return text.encode("utf-8", "surrogateescape"), len(text)

    def decode(data: Any, errors: str = "strict") -> tuple[str, int]:
        return bytes(data).decode("utf-8", "surrogateescape"), len(data)

    return codecs.CodecInfo(encode, decode, name=name)


codecs.register(_any_text)
if PSYCOPG2_ERROR is None:
    # A server without an encoding has names and texts of any; psycopg2 takes them for ASCII.
    extensions.encodings[_ASCII] = extensions.encodings["SQLASCII"] = "holdfast_any"
_LOOK = 0.2  # seconds between two looks at whether a stop came


# What a server, a database or a role may set against idlers ends backups and restores half-way: pg_dump sets these to 0 for itself,
# and so do our own sessions and the other programs. By the version that first knows them.
# Source: https://www.postgresql.org/docs/current/runtime-config-client.html
_TIMEOUTS = {
    "statement_timeout": 0,
    "lock_timeout": 0,
    "idle_in_transaction_session_timeout": 0,
    "idle_session_timeout": 140000,
    "transaction_timeout": 170000,
}


def _without_brackets(hosts: str) -> str:
    """Hosts as libpq takes them: an IPv6 address has no brackets there, which people bring along from URLs."""
    return ",".join(re.sub(r"^\[([0-9a-fA-F]*:[0-9a-fA-F:.]*(%\w+)?)\]$", r"\1", host) for host in hosts.split(","))


class Address:
    """Where a server is and who we are there: the options as ``community.postgresql`` names them.

    What is not given is left to libpq (service files, environment). The first connection finds out whom one talks to: poolers by
    transaction are refused, and all later sessions, also those of client programs, have no timeouts and fire no event triggers where
    the role may say so.
    """

    def __init__(self, params: Mapping[str, Any], space: str, writes: bool = False) -> None:
        extra = {str(key): str(value) for key, value in (params.get("connect_params") or {}).items()}
        in_extra = extra.pop("password", None)  # never in a connection string, which is an argument of programs
        if "sslpassword" in extra:
            raise BadOption(
                "connect_params",
                "sslpassword",
                "would be seen in the list of processes, as libpq takes it from a connection string alone",
                "Put it into a service file of mode 0600 (PGSERVICEFILE) and give connect_params: {service: …}, or use a key without one.",
            )
        password = params.get("login_password") or in_extra
        self.host: str = params.get("login_unix_socket") or _without_brackets(params.get("login_host") or "")
        self.port: Optional[int] = params.get("login_port")
        self.user: Optional[str] = params.get("login_user")
        self.db: str = params["login_db"]
        if params.get("login_unix_socket") and params.get("login_host"):
            raise BadOption(
                "login_unix_socket",
                params["login_unix_socket"],
                "is given together with login_host",
                "Give one of them.",
            )
        optional = {
            "host": self.host,
            "port": str(self.port or ""),
            "user": self.user,
            "sslmode": params.get("ssl_mode"),
            "sslrootcert": params.get("ca_cert"),
            "sslcert": params.get("ssl_cert"),
            "sslkey": params.get("ssl_key"),
        }
        self._parameters = {
            "connect_timeout": "10",
            "application_name": "holdfast.postgres",
            **{key: value for key, value in optional.items() if value},
            **extra,
        }
        self._service = extra.get("service") or os.environ.get("PGSERVICE")
        # A database may be read-only by default, also while it is being restored.
        self._settings: dict[str, str] = {"default_transaction_read_only": "off"} if writes else {}
        self._met = False
        # How names are written in the shared catalogs, as the server's first database sees them; a connection's start is not converted.
        self._encoding = _UTF8
        if password:
            passfile = os.path.join(space, "pgpass")
            escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
            put(passfile, f"*:*:*:*:{escaped}\n")
            self._parameters["passfile"] = passfile

    def __str__(self) -> str:
        if self._service and not self.host:
            where = f"the service {self._service!r}" + (f", port {self.port}" if self.port else "")
        else:
            where = f"{self.host or 'the local socket'}" + (f":{self.port}" if self.port else "")
        return where + (f" as {self.user}" if self.user else "")

    def conninfo(
        self, database: str, settings: Optional[Mapping[str, str]] = None, application: Optional[str] = None
    ) -> str:
        """A connection string for libpq programs; it holds no password (that is in the passfile). ``settings`` are those that the
        session starts with, besides our own; ``application`` is how the server calls it."""
        return _dsn({**self._all(settings or {}, application), "dbname": self._as_stored(database)})

    def at(self, host: str, port: int, address: Optional[str]) -> Address:
        """The same for one server of several that it may lead to. ``address``: libpq's hostaddr, None: ``host`` is a socket's directory."""
        found = copy.copy(self)
        found.host, found.port = host, port
        several = ("hostaddr", "target_session_attrs", "load_balance_hosts")
        found._parameters = {name: value for name, value in self._parameters.items() if name not in several}
        found._parameters.update(host=host, port=str(port), **({"hostaddr": address} if address else {}))
        return found

    def _without_database(self) -> str:
        return str(make_dsn(**self._all({}, None)))

    def _all(self, settings: Mapping[str, str], application: Optional[str]) -> dict[str, str]:
        chosen = {**self._settings, **settings}
        options = [self._parameters.get("options", ""), *(f"-c {name}={value}" for name, value in chosen.items())]
        more = {"options": " ".join(filter(None, options)), "application_name": application}
        return {**self._parameters, **{key: value for key, value in more.items() if value}}

    def _as_stored(self, name: str) -> str:
        """A database's name, so that its bytes in UTF-8 are those that the server has for it."""
        if name.isascii() or self._encoding in (_UTF8, _ASCII):
            return name
        try:
            return name.encode(extensions.encodings[self._encoding]).decode("utf-8", "surrogateescape")
        except (KeyError, UnicodeEncodeError):
            return name

    def connect(self, database: Optional[str] = None) -> Connection:
        """A connection in autocommit mode.

        Raises:
            ServerError: in the server's words and ours; or there is a pooler in between.
        """
        database = database or self.db
        connection = self._open(database)
        if not self._met:
            try:
                self._meet(connection, database)
            except BaseException:
                connection.close()
                raise
        return connection

    def _open(self, database: str) -> Connection:
        try:
            # In another thread: while libpq connects it hears no signals.
            encoding = _ASCII if self._encoding == _ASCII else _UTF8
            connection = Background(
                lambda: _connect(self._without_database(), self._as_stored(database), encoding)
            ).result()
        except psycopg2.OperationalError as exc:
            message = " ".join(str(exc).split())
            raise ServerError(
                f"Cannot connect to PostgreSQL at {self}, database {database!r}: {message}. {_way_out(message)}"
            ) from exc
        connection.autocommit = True
        if not self._met:
            self._encoding = connection.info.parameter_status("server_encoding") or _UTF8
        if connection.info.parameter_status("server_encoding") == _ASCII and encoding != _ASCII:
            connection.close()
            return self._open_plain(database)
        return connection

    def _open_plain(self, database: str) -> Connection:
        """Where the server converts nothing: what is no UTF-8 would be refused on its way."""
        try:
            connection = Background(
                lambda: _connect(self._without_database(), self._as_stored(database), _ASCII)
            ).result()
        except psycopg2.OperationalError as exc:
            message = " ".join(str(exc).split())
            raise ServerError(f"Cannot connect to PostgreSQL at {self}, database {database!r}: {message}.") from exc
        connection.autocommit = True
        return connection

    def _meet(self, connection: Connection, database: str) -> None:
        """Find out whom we talk to, and how our sessions are to be from now on; this one too."""
        refuse_pooler(connection, lambda: self._open(database), str(self))
        quiet = {name: "0" for name, since in _TIMEOUTS.items() if connection.server_version >= since}
        with connection.cursor() as cursor:
            for name, value in quiet.items():
                cursor.execute(f"SET {name} = {value}")
            if connection.server_version >= 170000:  # has_parameter_privilege is there from 15 on
                cursor.execute("SELECT has_parameter_privilege('event_triggers', 'SET')")
                if cursor.fetchone()[0]:  # type: ignore[index]
                    quiet["event_triggers"] = "off"
                    cursor.execute("SET event_triggers = off")
        if not is_proxied(connection):  # a pooler in session mode takes no such options
            self._settings.update(quiet)
        self._met = True


def as_text(name: str) -> str:
    """For people: what is no UTF-8 in a name is shown as such."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _dsn(parameters: Mapping[str, str]) -> str:
    """A connection string. Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE"""
    if is_text("".join(parameters.values())):
        return str(make_dsn(**parameters))
    escaped = {key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in parameters.items()}
    return " ".join(f"{key}='{value}'" for key, value in escaped.items())


def _connect(conninfo: str, name: str, encoding: str) -> Connection:
    """A connection whose statements can be stopped. libpq has its own care for timeouts and several hosts while it connects,
    and that of psycopg2's waiting has none: so it does that alone."""
    with _connecting:
        extensions.set_wait_callback(None)
        try:
            # The encoding at the start, not by a SET: it is not yet known whose session this is.
            if is_text(name):
                return psycopg2.connect(conninfo, dbname=name, client_encoding=encoding, cursor_factory=_Cursor)
            # psycopg2 takes UTF-8 alone; libpq takes the name from the environment too, byte by byte.
            os.environb[b"PGDATABASE"] = name.encode("utf-8", "surrogateescape")
            try:
                return psycopg2.connect(conninfo, client_encoding=encoding, cursor_factory=_Cursor)
            finally:
                del os.environb[b"PGDATABASE"]
        finally:
            extensions.set_wait_callback(_wait)


def is_text(text: str) -> bool:
    """Whether it has no bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _beginning() -> Iterator[None]:
    """While a statement of this thread begins, nobody connects."""
    _connecting.acquire()
    _thread.begins = True
    try:
        yield
    finally:
        if _thread.begins:
            _connecting.release()
        _thread.begins = False


def _wait(connection: Connection) -> None:
    """Wait for a statement's end; a stop cancels it. Source: https://www.psycopg.org/docs/advanced.html#support-for-coroutine-libraries"""
    begun = getattr(_thread, "begins", False)
    if begun:
        _thread.begins = False
        _connecting.release()
    try:
        _follow(connection)
    finally:
        if begun and not connection.autocommit:  # what comes next in this call may be the statement behind its BEGIN
            _connecting.acquire()
            _thread.begins = True


def _follow(connection: Connection) -> None:
    cancelled = False
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        reading = state == extensions.POLL_READ
        ready = select.select([connection] if reading else [], [] if reading else [connection], [], _LOOK)
        if not any(ready) and not cancelled and stopping.wanted():
            cancelled = True
            connection.cancel()


_AS_WHOM = (
    "By its local socket a server takes a user of the host for the role of the same name. A play that runs as root (-b) does this as the "
    "server's owner: name that one in holdfast_become_user where another was taken (a task of your own: become: true and become_user). Or "
    "give login_user, and the password of that role."
)


def _way_out(message: str) -> str:
    if re.search(r'role ".*" does not exist', message):
        return _AS_WHOM
    for part, hint in (
        ("password authentication failed", "Check login_user and login_password."),
        ("no password supplied", "Give login_password, or a .pgpass file of mode 0600."),
        ("refused", "Is the server running there, and does it listen on that address and port?"),
        ("No such file", "Is the server running, and is its socket in that directory? Else give login_host."),
        ("timeout", "Nothing answered: check login_host, the firewall and the route."),
        ("Peer authentication failed", _AS_WHOM),
        ("Ident authentication failed", _AS_WHOM),
        ("does not exist", "Check the name, and the names that the server knows."),
        (
            "too many connections for database",
            "Its CONNECTION LIMIT leaves no room: a backup needs two, and one more for each job. Raise it (ALTER DATABASE … "
            "CONNECTION LIMIT), or use a superuser, whom it does not concern.",
        ),
        (
            "unsupported startup parameter",
            "These are the words of a connection pooler (PgBouncer). Name the server itself by login_host and login_port: backups and "
            "restores do not go through a pooler.",
        ),
        ("pg_hba.conf", "Allow it in pg_hba.conf, or come from another address."),
    ):
        if part in message:
            return hint
    return "Check the login_* options."
