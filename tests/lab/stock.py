# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server copied by PostgreSQL's own tools alone: the reference that shows the lab itself to be right."""

from __future__ import annotations

from .harddata import HardData
from .servers import Server

# A database that is read-only by its own settings can be restored only by a session that overrules them.
WRITABLE = {"PGOPTIONS": "-c default_transaction_read_only=off"}


def moved_tablespaces(globals_sql: bytes, data: HardData, target: Server) -> bytes:
    """The dump of globals with the tablespaces in the target's own directories: two servers cannot share one."""
    for path in data.tablespaces.values():
        new = target.server_directory(path.name)
        globals_sql = globals_sql.replace(str(path).encode(), str(new).encode())
    return globals_sql


def copy(data: HardData, target: Server) -> None:
    """pg_dumpall into psql, stopping at the first error except that the superuser is there already."""
    dump = moved_tablespaces(data.server.run("pg_dumpall", "-l", "postgres"), data, target)
    dump = dump.replace(b"CREATE ROLE postgres;\n", b"", 1)
    target.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", stdin=dump, env=WRITABLE)
