# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to a server: for ourselves by psycopg2, for its client tools by a connection string and a passfile."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

PSYCOPG2_ERROR: Optional[str] = None
try:
    import psycopg2
    from psycopg2.extensions import make_dsn
except ImportError:  # said by the module through missing_required_lib
    PSYCOPG2_ERROR = traceback.format_exc()


# A socket's path has at most 107 bytes (unix(7)), and gpg-agent's lies in our directory.
_LONGEST_TMPDIR = 60


@contextlib.contextmanager
def workspace(parent: Optional[str] = None) -> Iterator[str]:
    """A directory of mode 0700 for passfiles and gpg, or for what is unpacked; what runs that were killed left there is
    removed first.

    Raises:
        BadOption: ``parent``, the option ``scratch_dir``, is no directory that can be written to.
    """
    if parent is None:
        parent = tempfile.gettempdir()
        parent = parent if len(os.fsencode(parent)) <= _LONGEST_TMPDIR else "/tmp"
    elif not os.access(parent, os.W_OK | os.X_OK):
        raise BadOption("scratch_dir", parent, "is no directory that can be written to", "Name one that is.")
    for name in os.listdir(parent):
        if name.startswith("holdfast-") and name.count("-") == 2:
            pid = name.split("-")[1]
            with contextlib.suppress(OSError):
                if (
                    pid.isdigit()
                    and not os.path.exists(f"/proc/{pid}")
                    and os.stat(f"{parent}/{name}").st_uid == os.getuid()
                ):
                    shutil.rmtree(f"{parent}/{name}", ignore_errors=True)
    path = tempfile.mkdtemp(prefix=f"holdfast-{os.getpid()}-", dir=parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Address:
    """Where a server is and who we are there: the options as ``community.postgresql`` names them."""

    def __init__(self, params: Mapping[str, Any], space: str, writes: bool = False) -> None:
        extra = {str(key): str(value) for key, value in (params.get("connect_params") or {}).items()}
        password = params.get("login_password") or extra.pop("password", None)
        self.host: str = params.get("login_unix_socket") or params.get("login_host") or ""
        self.port: int = params["login_port"]
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
            "user": self.user,
            "sslmode": params.get("ssl_mode"),
            "sslrootcert": params.get("ca_cert"),
            "sslcert": params.get("ssl_cert"),
            "sslkey": params.get("ssl_key"),
        }
        self._words = {
            "connect_timeout": "10",
            "application_name": "holdfast.postgres",
            "port": str(self.port),
            **{key: value for key, value in optional.items() if value},
            **extra,
        }
        if writes:
            # A database may be read-only by default, also while it is being restored.
            self._words["options"] = f"{extra.get('options', '')} -c default_transaction_read_only=off".strip()
        if password:
            passfile = os.path.join(space, "pgpass")
            escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
            fd = os.open(passfile, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                stream.write(f"*:*:*:*:{escaped}\n")
            self._words["passfile"] = passfile

    def __str__(self) -> str:
        where = self.host or "the local socket"
        return f"{where}:{self.port}" + (f" as {self.user}" if self.user else "")

    def conninfo(self, database: str) -> str:
        """A connection string for libpq programs; it holds no password (that is in the passfile)."""
        return str(make_dsn(**{**self._words, "dbname": database}))

    def connect(self, database: Optional[str] = None) -> Connection:
        """A connection in autocommit mode.

        Raises:
            ServerError: in the server's words and ours.
        """
        database = database or self.db
        try:
            connection = psycopg2.connect(self.conninfo(database))
        except psycopg2.OperationalError as exc:
            words = " ".join(str(exc).split())
            raise ServerError(
                f"Cannot connect to PostgreSQL at {self}, database {database!r}: {words}. {_way_out(words)}"
            ) from exc
        connection.autocommit = True
        connection.set_client_encoding("UTF8")
        return connection


def _way_out(words: str) -> str:
    for part, hint in (
        ("password authentication failed", "Check login_user and login_password."),
        ("no password supplied", "Give login_password, or a .pgpass file of mode 0600."),
        ("refused", "Is the server running there, and does it listen on that address and port?"),
        ("No such file", "Is the server running, and is its socket in that directory? Else give login_host."),
        ("timeout", "Nothing answered: check login_host, the firewall and the route."),
        ("does not exist", "Check the name, and the names that the server knows."),
        (
            "too many connections for database",
            "Its CONNECTION LIMIT leaves no room: a backup needs two, and one more for each job. Raise it (ALTER DATABASE … "
            "CONNECTION LIMIT), or use a superuser, whom it does not concern.",
        ),
        ("pg_hba.conf", "Allow it in pg_hba.conf, or come from another address."),
    ):
        if part in words:
            return hint
    return "Check the login_* options."
