# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run left that was killed while it replaced the server of a data directory. It is written down beside the directory
(recovery/directories.py), and whoever comes to that server has to see it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import read
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

STAGED = ".holdfast-restore"  # behind a directory's name, while it is being made


@dataclass(frozen=True)
class Interrupted:
    """What a run left that was killed. ``ran``: the old server ran before it was stopped, by ``unit`` or by pg_ctl; ``done``: the new
    directories had all taken their places."""

    ran: bool
    unit: Optional[str]
    done: bool


def journal(data: str) -> str:
    """Where a run that replaces the server of a data directory writes down what it does."""
    return f"{os.path.realpath(data)}{STAGED}.journal"  # who replaces it resolves links, who asks its server is told of them


def interrupted(data: str) -> Optional[Interrupted]:
    """What a killed run wrote down; None: there was none."""
    try:
        found = json.loads(read(journal(data)))
        return Interrupted(bool(found["ran"]), found["unit"], bool(found["done"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ToolError):
        return Interrupted(False, None, False)


def start_by(found: Interrupted, data: str) -> str:
    """How a server is started, for messages."""
    return f"systemctl start {found.unit}" if found.unit else f"pg_ctl -D {data} start, as its owner,"


def steps(found: Optional[Interrupted], data: str) -> list[str]:
    """What is said first, and done, about a run that was killed."""
    if found is None:
        return []
    if found.done:
        return [
            f"an interrupted recovery put the server in {data} in place, and did not start it: {start_by(found, data)} does"
        ]
    return [
        f"take back what an interrupted recovery of {data} moved. {way_back(found, data) if found.ran else ''}".strip()
    ]


def way_back(found: Interrupted, data: str) -> str:
    """How the server that a killed run stopped comes back."""
    return (
        f"A recovery of {data} was interrupted before; it had stopped the server, which is down: "
        f"{start_by(found, data)} starts it, if it is not to be recovered again."
    )


def told(data: str, running: bool) -> Optional[str]:
    """For who comes to the server of ``data`` without replacing it; None: nothing was interrupted. ``running``: it answers."""
    found = interrupted(data)
    if found is None:
        return None
    if found.done:
        return (
            f"A recovery of {data} was interrupted when the recovered server was in place, and "
            + (
                "somebody has started it since: archive_mode may be off in it."
                if running
                else f"not started: {start_by(found, data)} does."
            )
            + " The same recovery, run again, ends it, and says what remains to be done."
        )
    if not running:
        return f"{way_back(found, data)} The same recovery, run again, takes back what was moved, and goes on."
    return (
        f"A recovery of {data} was interrupted before it had put anything in place, and somebody has started the old server since. Run it "
        f"again, or, if that server stays, remove {journal(data)} and {data}{STAGED}."
    )


def of_connection(connection: Connection) -> Optional[str]:
    """The same of a server that answers; None also where it runs on another host, or may not say where it is."""
    data = facts.setting(connection, "data_directory")
    if not data or not os.path.lexists(journal(data)):
        return None
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return None
    return told(data, True) if len(lines) > 3 and lines[3] == facts.setting(connection, "port") else None
