# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that has to do with an engine of physical backups."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  config_dir:
    description:
      - Directory of the engine's configuration and secrets, readable for the server's owner alone.
      - By default C(/etc/holdfast/servers/) with the owner's name. Where it is missing, root makes it, for that owner; the directories
        above it are root's.
    type: path
  engine_program:
    description: The engine's program, when it is not in C(PATH).
    type: path
  engine_options:
    description: The engine's own options, by its own names. What this collection sets itself is refused.
    type: dict
    default: {}
  accept_new_server:
    description:
      - What lies under this O(server_name) is another server's (by its system identifier), and that is right, since this
        server replaces it.
    type: bool
    default: false
"""

    READING = r"""
options:
  compression:
    description: How the engine compresses, where it has to know to read (V(barman_cloud)).
    type: str
    choices: [zstd, gzip, lz4, none]
  compression_level:
    description: Its level.
    type: int
"""
