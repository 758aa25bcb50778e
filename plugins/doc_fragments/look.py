# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that looks at all that there is of a server's backups (argspec.LOOK)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  expected_every:
    description:
      - A backup is expected at least this often, such as V(25h). When the newest verified one is older,
        C(overdue) is true.
    type: str
  archiving:
    description: Whether the server is asked too, by the C(login_*) options.
    type: bool
    default: false
  wal_directory:
    description:
      - The directory of this host that WAL is shipped from (M(holdfast.postgres.wal_ship)), to say how far that is. By default the repository
        of type V(file), where there is one.
    type: path
  engine:
    description:
      - The engine whose own repository is looked into as well, such as V(pgbackrest). Nothing is changed there. By default none is.
    type: str
    choices: [pgbackrest, barman_cloud, wal_g]
  engine_config:
    description:
      - The configuration file of a V(pgbackrest) that somebody else set up, which is looked into as it is; O(server_name) is its stanza.
        No repository is needed then.
    type: path
  encryption:
    description: How the engine encrypts, where that is needed to list its repository. As in M(holdfast.postgres.pg_backup).
    type: dict
    suboptions:
      method:
        description: V(aes256) by a passphrase, V(pgp) by keys.
        type: str
        choices: [none, aes256, pgp]
        default: none
      passphrase:
        description: The passphrase.
        type: str
      passphrase_file:
        description: File of mode 0600 whose first line is the passphrase.
        type: path
      recipients:
        description: Keys.
        type: list
        elements: str
        default: []
      gpg_home:
        description: C(GNUPGHOME).
        type: path
"""

    # Where the schedules of this host are found (argspec.SCHEDULES).
    SCHEDULES = r"""
options:
  schedule_dir:
    description:
      - Where the role P(holdfast.postgres.schedule#role) keeps the variables of its runs on this host. Of what the user of this module may
        not read there, only the schedule of the usual name is found.
    type: path
    default: /etc/holdfast/schedules
  cron_dir:
    description: Where it writes the files of cron.
    type: path
    default: /etc/cron.d
"""
