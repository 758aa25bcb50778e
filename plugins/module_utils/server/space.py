# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what is to be written has room: one question for every run, asked of each disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import NoSpace


@dataclass(frozen=True)
class Need:
    """``size`` bytes are to be written to ``path``, which need not be there yet. ``what``, for messages: the data directory."""

    path: str
    size: int
    what: str


def mounted_at(path: str) -> str:
    """The directory that is there, links followed, in which a path is or would be made: its disk is the one that counts."""
    found = os.path.realpath(path)
    while not os.path.isdir(found):
        found = os.path.dirname(found)
    return found


def free(path: str) -> int:
    """Bytes that who runs this may still write where the path is or would be made."""
    status = os.statvfs(mounted_at(path))
    return status.f_bavail * status.f_frsize


def check_space(needs: Sequence[Need], way_out: str) -> None:
    """Compare what is needed on each disk with what is free there. What goes to one disk is added up; disks are told apart by
    their device, not by their paths.

    Raises:
        NoSpace: a disk has not that much, or no room for another file; it names all that would go there.
    """
    disks: dict[int, list[Need]] = {}
    for need in needs:
        disks.setdefault(os.stat(mounted_at(need.path)).st_dev, []).append(need)
    for together in disks.values():
        mount = mounted_at(together[0].path)
        status = os.statvfs(mount)
        room, wanted = status.f_bavail * status.f_frsize, sum(need.size for need in together)
        what = " and ".join(f"{need.what} ({need.size} bytes, {need.path})" for need in together)
        if wanted > room:
            raise NoSpace(
                f"There is not enough space: the disk of {mount} has {room} bytes free, and {wanted} are needed for {what}. "
                f"Nothing was touched. {way_out}"
            )
        if status.f_files and not status.f_favail:
            raise NoSpace(
                f"The disk of {mount} has no inode left, so not one file of {what} can be made. Nothing was touched. {way_out}"
            )
