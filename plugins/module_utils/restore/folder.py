# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of dumps that other tools left, as on an NFS server or a claim: which file is meant, and why none can be taken.

The layout of postgres-backup-local (``backup.sh`` of github.com/prodrigestivill/docker-postgres-backup-local): ``last/NAME-DATE-TIME``,
``daily/NAME-DATE``, ``weekly/NAME-YEARWEEK`` and ``monthly/NAME-YEARMONTH`` are links to one file, and ``NAME-latest`` is a symbolic link in
each. Others have a folder for each database, or one link ``latest.sql`` at the top.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.names import (
    Found,
    Unclear,
    dumps_of,
    newest,
)

# Where the newest are, and if there is none, the finest that is kept. Weeks and months cannot be told apart by their names.
_DEEPER = (("daily", False), ("weekly", True), ("monthly", True))
_LINK = re.compile(r"latest(?:\.\w+)*")  # that says by its target alone which database it is of


def is_directory_dump(path: str) -> bool:
    """Whether a folder is one dump, in directory format."""
    return any(os.path.exists(os.path.join(path, f"toc.dat{suffix}")) for suffix in ("", ".gz"))


def dump_in(path: str, database: str, by_date: bool = False) -> str:
    """The newest dump of a database in a folder: the one that is called latest, else the one of the last moment in its name. ``by_date``: what
    is called latest does not count.

    Raises:
        BadOption: there is none; names do not decide; what is called latest is a link that leads nowhere.
    """
    own = dict(_DEEPER).get(os.path.basename(os.path.abspath(path)), False)
    groups = [([path, os.path.join(path, "last"), os.path.join(path, database)], own)]
    groups += [([os.path.join(path, name)], periods) for name, periods in _DEEPER]
    seen: list[str] = []
    for folders, periods in groups:
        present = _present(folders)
        seen += present
        found = _dumps(present, database, by_date, periods)
        if not by_date:
            found.update(_links(path if folders[0] == path else "", database, found))
        if found:
            return _chosen(path, database, found)
    near = sorted(os.path.basename(file) for file in seen if os.path.basename(file).startswith((database, "latest")))[
        :5
    ]
    raise BadOption(
        "source", path, f"has no dump of the database {database!r}" + ("" if seen else ": there is no file at all"),
        f"Files are looked for that are called {database}, or {database} and a date or 'latest', and suffixes such as .sql.gz; here, in last/, in "
        f"{database}/, and then in daily/, weekly/ and monthly/."
        + (f" There is {', '.join(map(repr, near))}: if one is meant, name it as source." if near else "")
        + ("" if seen else " Is what should be mounted there mounted?"),
    )  # fmt: skip


def _present(folders: Sequence[str]) -> list[str]:
    """Files, links that lead nowhere too, and dumps in directory format."""
    present = []
    for folder in folders:
        if os.path.isdir(folder) and not is_directory_dump(folder):
            inside = [os.path.join(folder, file) for file in sorted(os.listdir(folder))]
            present += [file for file in inside if not os.path.isdir(file) or is_directory_dump(file)]
    return present


def _dumps(present: Sequence[str], database: str, by_date: bool, periods: bool) -> dict[str, Found]:
    """Files that are dumps of the database by their names, each with what its name says. The same file under two names is one."""
    seen: set[tuple[int, int]] = set()
    found: dict[str, Found] = {}
    for item in dumps_of(database, sorted({os.path.basename(file) for file in present}), periods):
        if by_date and item.latest:
            continue
        for file in present:
            if os.path.basename(file) != item.name:
                continue
            if not os.path.exists(file):
                if item.latest:
                    raise not_there(file, database)
                continue  # a dated link whose file was pruned: there is nothing of that day
            state = os.stat(file)
            if item.latest or (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                found[file] = item
    return found


def _links(path: str, database: str, found: dict[str, Found]) -> dict[str, Found]:
    """A link ``latest.sql`` at the folder's top that leads to a dump of the database; none where that has a latest one of its own name."""
    if not path or any(item.latest for item in found.values()):
        return {}
    links: dict[str, Found] = {}
    for name in sorted(os.listdir(path)):
        file = os.path.join(path, name)
        if (
            _LINK.fullmatch(name)
            and os.path.islink(file)
            and dumps_of(database, [os.path.basename(os.readlink(file))], True)
        ):
            if not os.path.exists(file):
                raise not_there(file, database)
            links[file] = Found(name, True, None)
    return links


def _chosen(path: str, database: str, found: dict[str, Found]) -> str:
    try:
        chosen = newest(list(found.values()))
    except Unclear as exc:
        if len(set(exc.names)) == 1:
            raise BadOption(
                "source", path, f"has {exc.names[0]!r} twice, in two folders", "Name the file itself as source."
            ) from exc
        raise BadOption(
            "source", path, f"has several dumps of {database!r}, and their names do not say which is the newest: {exc}",
            "Name the file itself as source.",
        ) from exc  # fmt: skip
    files = [file for file, item in found.items() if item is chosen or item.name == chosen.name]
    if len({os.path.realpath(file) for file in files}) > 1:
        raise BadOption("source", path, f"has {chosen.name!r} twice", "Name the file itself as source.")
    return files[0]


def not_there(path: str, database: Optional[str] = None) -> BadOption:
    """Why a dump cannot be had that is named, or called ``latest`` for a ``database``: a link leads nowhere, or there is no such file."""
    target = os.readlink(path) if os.path.islink(path) else None
    way = " To take the one of the last moment in its name instead, say source_choice: newest." if database else ""
    if target is None:
        folder = _nearest(os.path.dirname(os.path.abspath(path)))
        inside = sorted(os.listdir(folder))[:8] if os.access(folder, os.R_OK) else []
        has = f"has {', '.join(inside)}" if inside else "is empty: is what should be mounted there mounted?"
        return BadOption("source", path, "does not exist", f"Name a dump, or a folder of dumps. {folder} {has}")
    if os.path.isabs(target):
        why = (
            "It is a path of where the link was made: mount the folder at the same path here, or name the file itself."
        )
    elif os.path.lexists(os.path.join(os.path.dirname(path), target)):
        why = "That is a link as well, which leads nowhere or back."
    else:
        why = "The run that was to make it failed, or it was deleted since: the newest dump is not the one that the link means."
    return BadOption(
        "source", path, f"is a link to {target}, and there is no such file", f"Nothing was touched. {why}{way}"
    )


def _nearest(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
