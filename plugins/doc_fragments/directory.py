# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that puts a server into a data directory."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  owner:
    description:
      - The operating system's user who owns the server. By default who owns O(data_directory), or runs this module. Where root runs it and
        the directory is missing, it is who owns the one above, or C(postgres) where that is root.
    type: str
  config_file:
    description:
      - The server's C(postgresql.conf), where it lies outside O(data_directory), as Debian's does. By default the one that the server in
        O(data_directory) was last started with; for a standby also the one in C(/etc/postgresql) that names this directory.
    type: path
  settings:
    description:
      - Settings of this server's own, such as C(port) where it stands beside another one. They go to C(postgresql.auto.conf).
    type: dict
    default: {}
  service:
    description: The systemd unit that starts and stops the server. By default C(pg_ctl) does.
    type: str
"""
