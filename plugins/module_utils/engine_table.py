# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true of each engine, one row an engine: whoever needs a list of engines takes it from here. Pure, and below all that asks.

The class that does the work, and the options that it alone knows, are in engines/open.py, under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EngineRow:
    """``kinds``: of backups that it makes. ``archive``: the folders below a repository's ``path`` or ``prefix`` of which one is there
    where it keeps the WAL of a server, called ``{server}``; none where it archives no WAL. ``pushes``: a regular expression for what an
    ``archive_command`` of it runs; empty where that cannot be told from others."""

    kinds: Sequence[str]
    #: what a backup of it becomes: databases of a running server, a directory that becomes one, a volume that has one, or objects in a cluster
    restores_to: str
    #: whether it keeps its backups in a repository in a format of its own, and works on the server's host; else they lie in our folders
    has_repository: bool
    archive: Sequence[str] = ()
    pushes: str = ""
    #: whether a backup can be read back without restoring it; else that it is listed as whole is all that there is to know
    reads_back: bool = True


#: of copies of a whole server
KINDS = ("full", "differential", "incremental")
ENGINES: Mapping[str, EngineRow] = {
    "pg_dump": EngineRow(("logical",), "databases", False),
    "pg_basebackup": EngineRow(("full", "incremental"), "directory", False, ("{server}/_wal",)),
    "pgbackrest": EngineRow(
        KINDS,
        "directory",
        True,
        ("pgbackrest/archive/{server}", "pgbackrest/backup/{server}"),
        r"pgbackrest\b.*\barchive-push",
    ),
    "barman_cloud": EngineRow(
        ("full",), "directory", True, ("{server}/wals",), r"barman-(cloud-)?wal-archive", reads_back=False
    ),
    # WAL-E wrote the commands that WAL-G took over
    "wal_g": EngineRow(KINDS, "directory", True, ("{server}/wal-g",), r"wal-[ge]\b.*\bwal-push", reads_back=False),
    # our folder says what it is; what was on the server's volumes is kept by their storage, in a cluster
    "volume_snapshot": EngineRow(("full",), "volume", False, reads_back=False),
    # what a server is made of in a cluster; of its data nothing
    "kubernetes_objects": EngineRow(("objects",), "objects", False),
}
#: those that copy, by programs
COPYING = [name for name, row in ENGINES.items() if row.restores_to in ("databases", "directory")]
#: those whose backups have none of a server's data, and stand for none
WITHOUT_DATA = [name for name, row in ENGINES.items() if row.restores_to == "objects"]
#: those whose backups' content lies elsewhere than in a repository
ELSEWHERE = [name for name, row in ENGINES.items() if row.restores_to == "volume"]
#: those that copy whole servers, by programs
PHYSICAL = [name for name, row in ENGINES.items() if row.restores_to == "directory"]
#: those that keep an archive of WAL
ARCHIVING = [name for name, row in ENGINES.items() if row.archive]
#: those with a repository of their own
WITH_REPOSITORY = [name for name, row in ENGINES.items() if row.has_repository]
#: those of which a backup is not read back
LISTED_WHOLE = [name for name, row in ENGINES.items() if row.has_repository and not row.reads_back]
