# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which consistency of a snapshot is right for which layout, and why another one is not (pure).

Sources: PostgreSQL's documentation, "File System Level Backup" and "Making a Base Backup Using the Low Level API"; CloudNativePG #11383
(hot snapshots of several volumes, or by a driver that is not atomic, which were complete by all words and corrupt when started).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

NONE, CHECKPOINT, BACKUP_MODE, STOPPED = "none", "checkpoint", "backup_mode", "stopped"
CONSISTENCIES = (BACKUP_MODE, CHECKPOINT, STOPPED, NONE)

#: drivers whose snapshot is a copy of files, or an archive of them, while others write: what it has is of no one moment
# https://github.com/kubernetes-csi/csi-driver-host-path, https://github.com/kubernetes-csi/csi-driver-nfs (tar of the directory)
COPYING = frozenset({"hostpath.csi.k8s.io", "nfs.csi.k8s.io", "smb.csi.k8s.io"})


@dataclass(frozen=True)
class Layout:
    """``claims``: that the server's files lie on; ``atomic``: whether a snapshot of one of them is of one moment; ``archives``: whether
    its WAL goes to an archive (None: it was not asked); ``running``: whether somebody uses the claims."""

    claims: tuple[str, ...]
    atomic: bool
    running: bool
    archives: Optional[bool] = None

    @property
    def one_moment(self) -> bool:
        """Whether what the snapshots have together is of one moment, though the server writes."""
        return self.atomic and len(self.claims) == 1

    @property
    def why_not(self) -> str:
        """Why it is not, as a part of a sentence."""
        several = f"the server lies on {len(self.claims)} claims ({', '.join(self.claims)}), and each snapshot is of a moment of its own"
        copied = "the driver copies files one after the other, so that a snapshot is of no one moment"
        return copied if not self.atomic else several


def choose(layout: Layout, wanted: Optional[str]) -> str:
    """The consistency that is wanted, or by default the one that the layout allows.

    Raises:
        BadOption: what would be made could not be relied on, and why.
    """
    if wanted is None:
        wanted = CHECKPOINT if layout.one_moment else BACKUP_MODE
        wanted = wanted if layout.running else STOPPED
    if wanted == STOPPED:
        if layout.running:
            raise _refused(
                STOPPED,
                f"wants that nobody uses {', '.join(layout.claims)}, and a pod does",
                "Scale the server to 0 first, or use another consistency.",
            )
        return wanted
    if not layout.running and wanted in (CHECKPOINT, BACKUP_MODE):
        raise _refused(wanted, "asks the server, and no pod of it runs", "Use consistency: stopped.")
    if wanted == BACKUP_MODE:
        if layout.archives is False:
            raise _refused(
                BACKUP_MODE,
                "wants an archive of WAL, as the snapshots are consistent only with the WAL up to the end of the backup, and this server archives none",
                "Set archiving up (wal_archive, or a receiver by ship)"
                + (
                    ", or use consistency: checkpoint."
                    if layout.one_moment
                    else ", or scale it to 0 and use consistency: stopped."
                ),
            )
        return wanted
    if layout.running and not layout.one_moment:
        raise _refused(
            wanted,
            f"would make a snapshot that starts and is corrupt: {layout.why_not}",
            "Use consistency: backup_mode (with an archive of WAL), or scale the server to 0 and use stopped.",
        )
    return wanted


def is_atomic(driver: str, said: Optional[bool]) -> bool:
    """Whether a snapshot of one volume is of one moment: what the user said, else unless the driver is known to copy."""
    return driver not in COPYING if said is None else said


def _refused(value: str, why: str, instead: str) -> BadOption:
    return BadOption("consistency", value, why, instead)
