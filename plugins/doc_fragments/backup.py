# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of whatever makes a backup."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  backup_id:
    description:
      - Id of the backup. By default made of the time and a few random digits.
      - When there is a backup of this id, nothing is done, but that its pin and annotations follow the options.
    type: str
    aliases: [id]
  annotations:
    description: Anything to remember with the backup. It is not encrypted.
    type: dict
  pinned:
    description: Whether retention must never delete this backup. Not given, a new backup is not pinned.
    type: bool
  state_dir:
    description:
      - Where this host remembers which repository its backups go to. When the place is empty the next time, or holds another one (a disk
        that is not mounted, another bucket), the run fails before it writes anything.
    type: path
    default: ~/.local/state/holdfast
  accept_new_repository:
    description: Whether an empty place where there were backups is taken for a new repository. Set it for one run.
    type: bool
    default: false
"""
