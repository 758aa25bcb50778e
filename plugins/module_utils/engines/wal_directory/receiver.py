# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL that pg_receivewal streams into the directory, instead of the server's ``archive_command``.

It needs no restart of the server and works from another host, and what it has not finished (``<segment>.partial``) is at most
seconds behind. A replication slot keeps the server from removing what has not come yet; so the receiver has to run.

Source: https://www.postgresql.org/docs/current/app-pgreceivewal.html
"""

from __future__ import annotations

import re

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FileArchiver
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.tools import find_tools

_LONGEST = 63  # bytes of a slot's name


def slot_name(server_name: str) -> str:
    """The replication slot of a server's receiver."""
    return f"holdfast_{re.sub('[^a-z0-9_]', '_', server_name.lower())}"[:_LONGEST]


class WalReceiver(FileArchiver):
    """``command`` runs for as long as WAL is to be received, as ``user``: it is a service's."""

    name = "pg_receivewal"

    def __init__(
        self, root: str, server_name: str, host: Host, compression: Compression, accept_new_server: bool
    ) -> None:
        super().__init__(root, server_name, host, compression, accept_new_server)
        self.slot = slot_name(server_name)
        self.user = host.owner
        self._program = find_tools(host.version_num, host.bin_dir).path("pg_receivewal")

    def configure(self, check: bool) -> list[Step]:
        if self._compression.method == "zstd":
            raise BadOption("compression", "zstd", "is not known to pg_receivewal", "Use none, gzip or lz4.")
        if self._compression.method == "lz4" and self._host.version_num < 150000:
            raise BadOption("compression", "lz4", "is known to pg_receivewal from 15 on", "Use none or gzip.")
        return self._make_directory(check)

    @property
    def command(self) -> list[str]:
        """Its words. Over the socket, unless the server is asked for over TCP."""
        host = self._host
        where = {
            "host": host.host or host.socket_directory,
            "port": str(host.port),
            "user": host.user,
            "application_name": self.slot,
            **({"passfile": host.passfile} if host.passfile else {}),
        }
        conninfo = " ".join(f"{name}='{_quoted(value)}'" for name, value in where.items())
        packed = {"gzip": f"gzip:{self._compression.level}", "lz4": "lz4", "none": "none"}[self._compression.method]
        if host.version_num < 150000:
            packed = str(self._compression.level if self._compression.method == "gzip" else 0)
        return [
            self._program,
            f"--dbname={conninfo}",
            f"--directory={self._directory}",
            f"--slot={self.slot}",
            f"--compress={packed}",
            "--synchronous",  # else it flushes to the disk when a segment is full
            "--no-password",
        ]


def _quoted(value: str) -> str:
    """A value of a connection string. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE"""
    return value.replace("\\", "\\\\").replace("'", "\\'")
