# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server as seen from beside it: what runs here, or a directory of its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import config_dir
from ansible_collections.holdfast.postgres.plugins.module_utils.server.packaged import package_user
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import find_tools
from ansible_collections.holdfast.postgres.plugins.module_utils.users import name_of, owner_of

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection


def data_owner(directory: str, named: Optional[str] = None) -> str:
    """The user who owns a server's files, or is to own them: who is ``named``, else the owner of what is there, else who runs
    this; for root the owner of the directory above it, or the user of the distribution's packages.

    Raises:
        BadOption: that would be root, as whom PostgreSQL does not run.
    """
    if named:
        return named
    if os.path.isdir(directory):
        return owner_of(directory)
    if os.geteuid() == 0:
        above = os.path.abspath(directory)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        found = owner_of(above) if os.stat(above).st_uid else package_user()
        if found:
            return found
        raise BadOption(
            "owner", None, "is missing, and PostgreSQL does not run as root", "Name the user who is to own the server."
        )
    return name_of(os.geteuid())


@dataclass(frozen=True)
class Host:
    """The server as seen from beside it: all that an engine must know to work on this host.

    ``port`` and ``socket_directory`` are those of the running server; ``owner`` is the operating system's user who owns the
    data directory, as whom every program of an engine runs, and who must be able to read what ``archive_command`` reads.
    """

    data_directory: str
    owner: str
    port: int
    socket_directory: str
    #: the database's superuser, by whom an engine connects over the socket or TCP
    user: str
    #: where PostgreSQL's own programs of the server's version are
    bin_dir: str
    #: TCP host to use instead of the socket; None: the socket
    host: Optional[str] = None
    #: a passfile of mode 0600 that belongs to ``owner``; None: none is needed
    passfile: Optional[str] = None
    version_num: int = 0
    system_id: Optional[str] = None
    #: bytes of a WAL segment
    wal_segment_size: int = 16 * 1024 * 1024

    @classmethod
    def running(cls, connection: Connection, params: Mapping[str, Any], elsewhere: bool = False) -> Host:
        """What an engine must know of the running server, which has to be on this host; where it may be ``elsewhere``, as for a receiver of WAL,
        what is done here is done as who we are. ``params`` are the ``login_*`` options, with ``bin_dir``, ``config_dir`` and ``server_name``.

        Raises:
            ServerError: its data directory is not here, or may not be seen.
        """
        identity = facts.identify(connection)
        directory = facts.setting(connection, "data_directory")
        if not directory:
            raise ServerError(
                f"The role {identity.role!r} may not see where the server's data directory is. Use a superuser, or grant it "
                "pg_read_all_settings."
            )
        here = os.path.isdir(directory)
        if not here and not elsewhere:
            raise ServerError(
                f"The server's data directory {directory} is not on this host, or may not be seen by who runs this module. "
                "Run it on the database host, as root or as the user who owns the directory (become_user)."
            )
        owner = owner_of(directory) if here else name_of(os.geteuid())
        passfile = os.path.join(config_dir(params, owner), f"{params['server_name']}.pgpass")
        return cls(
            data_directory=directory,
            owner=owner,
            port=int(facts.setting(connection, "port") or 5432),
            socket_directory=(facts.setting(connection, "unix_socket_directories") or "").split(",")[0].strip(),
            user=params.get("login_user") or identity.role,
            bin_dir=find_tools(identity.version_num, params.get("bin_dir")).directory,
            host=params.get("login_host"),
            passfile=passfile if params.get("login_password") else None,
            version_num=identity.version_num,
            system_id=identity.system_id,
            wal_segment_size=facts.wal_segment_size(connection),
        )

    @classmethod
    def of_directory(
        cls, path: str, owner: Optional[str] = None, user: Optional[str] = None, bin_dir: Optional[str] = None
    ) -> Host:
        """A server that does not run, or is yet to be made, in the directory ``path``. Of its version, identity and addresses
        nothing is known.

        Raises:
            BadOption: it would be root's.
        """
        return cls(
            data_directory=path,
            owner=data_owner(path, owner),
            port=5432,
            socket_directory="",
            user=user or "postgres",
            bin_dir=bin_dir or "",
        )
