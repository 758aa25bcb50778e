# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration files that lie outside a data directory, as Debian's do, with all that they include: read over the connection, as
the server itself sees them. What TLS reads is left where it is: keys are the host's own."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import (
    Configuration,
    read_rules,
    read_settings,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

#: what pg_basebackup says of a link in the data directory, in whatever language: PostgreSQL quotes differently in each
LEFT_OUT = re.compile(
    r"""["'\u00ab\u00bb\u201e\u201c\u201a`](?:\./)([^"'\u00ab\u00bb\u201c\u201d\u2018\u2019]+)["'\u00ab\u00bb\u201c\u201d\u2018\u2019]"""
)
_WHERE = (
    "SELECT current_setting('config_file') AS main, current_setting('hba_file') AS hba, current_setting('ident_file') AS ident,"
    " current_setting('data_directory') AS data"
)


class ServerFiles:
    """Files of the server's host. Raises InsufficientPrivilege where the role may read none of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._may = connection, False

    def read(self, path: str) -> Optional[str]:
        import psycopg2

        try:
            content = facts.value(self._connection, "SELECT pg_read_binary_file(%s, 0, 10000000, true)", [path])
        except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.WrongObjectType):
            if not self._may:
                raise
            return None  # the server itself may not read this one
        self._may = True
        return None if content is None else bytes(content).decode("utf-8", "surrogateescape")

    def names(self, path: str) -> Optional[Sequence[str]]:
        if facts.value(self._connection, "SELECT (pg_stat_file(%s, true)).isdir", [path]) is not True:
            return None
        return [row["name"] for row in facts.rows(self._connection, "SELECT pg_ls_dir(%s) AS name ORDER BY 1", [path])]


def outside(connection: Connection, left_out: Sequence[str], doubts: list[str]) -> Optional[bytes]:
    """A tar of those files, by their absolute paths, and of those in the data directory that pg_basebackup has ``left_out``, as they are
    links; None: there are none. What cannot be read, what is not kept, and what the server would lack at its next start, is a word in
    ``doubts``."""
    import psycopg2

    try:
        where = facts.rows(connection, _WHERE)[0]
        files = ServerFiles(connection)
        found = read_settings(files, [where["main"]])
        read_rules(files, where["hba"], found)
        read_rules(files, where["ident"], found)
    except (psycopg2.Error, UnicodeEncodeError) as exc:
        if isinstance(exc, psycopg2.OperationalError):
            raise
        doubts.append(
            f"Configuration files outside the data directory could not be recorded: {str(exc).splitlines()[0]}"
        )
        return None
    doubts += [
        f"{lack.by} (line {lack.line + 1}) names {lack.path}, which is not there, or cannot be read: the server would not start, or not with all of its rules."
        for lack in found.missing
    ]
    inside = where["data"] + "/"
    links = [inside + name for name in left_out]
    doubts += [
        f"{path} is a link, or another special file: pg_basebackup leaves it out, and it is not in the backup."
        for path in links
        if not any(_below(other, [path]) for other in [*found.files, *found.directories])
    ]
    return _packed(found, inside, links)


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _packed(found: Configuration, inside: str, links: Sequence[str]) -> Optional[bytes]:
    files = {path: text for path, text in found.files.items() if not path.startswith(inside) or _below(path, links)}
    folders = [path for path in found.directories if not f"{path}/".startswith(inside) or _below(path, links)]
    if not files and not folders:
        return None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in dict.fromkeys(folders):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            archive.addfile(entry)
        for path, text in files.items():
            content = text.encode("utf-8", "surrogateescape")
            entry = tarfile.TarInfo(os.path.normpath(path).lstrip("/"))
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
