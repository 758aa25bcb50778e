# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done for a standby, from what was found. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.standby.divergence import Verdict
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn

# How a standby comes to be: nothing is made anew, or how it is.
FOLLOW, REWIND, COPY, BACKUP = "follow", "rewind", "copy", "backup"


@dataclass(frozen=True)
class Found:
    """What is there, and what the upstream says of it.

    ``system_id`` is the local server's, None: there is none. ``streams``: the upstream sends to it now; what comes after it is not
    looked at then. ``verdict`` compares the pasts, None: not compared. ``tells_changes``: its WAL tells of each page that changed;
    ``lets_rewind``: the upstream can be read by pg_rewind. ``position`` is the end of its WAL; ``kept``: the upstream still has the
    WAL from there on (None: it may not be seen); ``archive``: WAL can be fetched from an archive. ``half_rewound``: a rewind of it was
    interrupted; ``unknown_tablespaces``: the upstream's that the local server has not.
    """

    upstream_id: str
    system_id: Optional[str] = None
    streams: bool = False
    verdict: Optional[Verdict] = None
    tells_changes: bool = False
    lets_rewind: bool = False
    position: Optional[Lsn] = None
    kept: Optional[bool] = None
    archive: bool = False
    half_rewound: bool = False
    unknown_tablespaces: Sequence[str] = ()


@dataclass(frozen=True)
class Decision:
    """``method``: follow, rewind, copy or backup; ``why`` it has to be made anew (None: it has not, or nothing is there)."""

    method: str
    why: Optional[str] = None


def decide(found: Found, made: str, rewind: bool) -> Decision:
    """``made``: how it would be made anew (copy or backup); ``rewind``: pg_rewind may be used."""
    if found.system_id is None:
        return Decision(made)
    if found.system_id != found.upstream_id:
        return Decision(made, f"it is another server (system identifier {found.system_id})")
    if found.half_rewound:
        return Decision(made, "a rewind of it was interrupted, so that it is half the one server and half the other")
    if found.streams or found.verdict is None:
        return Decision(FOLLOW)
    if not found.verdict.follows:
        return _diverged(found, found.verdict, made, rewind)
    if not found.archive and found.kept is False:
        return Decision(
            made,
            f"the primary no longer has the WAL from {found.position} on, and there is no archive to fetch it from",
        )
    return Decision(FOLLOW)


def _diverged(found: Found, verdict: Verdict, made: str, rewind: bool) -> Decision:
    if not rewind:
        return Decision(made, verdict.why)
    problem = None
    if not verdict.rewindable:
        problem = "there is no fork to go back to"
    elif not found.tells_changes:
        problem = "the server has neither wal_log_hints nor data checksums"
    elif found.unknown_tablespaces:
        problem = (
            f"the primary has tablespaces that are not here ({', '.join(found.unknown_tablespaces)}), which it would put where the primary "
            "has them"
        )
    elif not found.lets_rewind:
        problem = "the primary's role may not read its files, or full_page_writes is off there"
    if problem is None:
        return Decision(REWIND, verdict.why)
    return Decision(made, f"{verdict.why}; pg_rewind cannot help, as {problem}")
