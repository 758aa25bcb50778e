# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that looks into a repository."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  repository:
    description: Where backups are kept.
    type: dict
    required: true
    suboptions:
      type:
        description: Kind of the store.
        type: str
        choices: [file]
        default: file
      path:
        description:
          - An existing directory on the host where the module runs, such as a local disk, or an NFS or volume mount.
          - It is never created by this module, as a directory that is missing most often is a mount that is.
        type: path
        required: true
  server_name:
    description: The server's name in the repository, which is the folder that its backups lie in.
    type: str
    default: main
"""

    ENCRYPTION = r"""
options:
  encryption:
    description:
      - How artifacts are encrypted. It is done by C(gpg), so stock C(gpg) decrypts.
      - For a restore, what was encrypted is known from the manifest, and only the secret is needed.
    type: dict
    suboptions:
      method:
        description:
          - V(aes256) encrypts with a passphrase, V(pgp) to the public keys of O(encryption.recipients).
        type: str
        choices: [none, aes256, pgp]
        default: none
      passphrase:
        description: The passphrase, of V(aes256), or of the secret key when a V(pgp) backup is restored.
        type: str
      passphrase_file:
        description: File of mode 0600 whose first line is the passphrase.
        type: path
      recipients:
        description: Key ids of the keyring, or paths of public-key files (what has a slash is a path).
        type: list
        elements: str
        default: []
      gpg_home:
        description: C(GNUPGHOME) of the keyring. By default the user's.
        type: path
"""

    RETENTION = r"""
options:
  retention:
    description:
      - Which backups stay. A backup stays when any C(keep_*) rule wants it. Only verified backups satisfy a rule.
      - Or the rule of the common guides, O(retention.count) and O(retention.max_age), by which a backup goes when either
        is exceeded. The two kinds cannot be mixed.
      - The rules hold for each scope (engine, databases, selections) by itself, as only backups of one scope can stand in for
        each other. M(holdfast.postgres.pg_backup) prunes those of its own scope, M(holdfast.postgres.backup_prune) all.
      - Pinned backups and those that another one needs always stay, as do those that are from the future, taken while a
        clock was wrong.
      - A C(keep_*) of 0 is the same as none.
      - Without any rule everything stays. Days, weeks (ISO) and months are those of UTC.
    type: dict
    suboptions:
      keep_last:
        description: So many of the newest.
        type: int
      keep_within:
        description: All that are younger than this, such as V(30d).
        type: str
      keep_daily:
        description: The newest of each of so many days that have one.
        type: int
      keep_weekly:
        description: The newest of each of so many weeks that have one.
        type: int
      keep_monthly:
        description: The newest of each of so many months that have one.
        type: int
      keep_yearly:
        description: The newest of each of so many years that have one.
        type: int
      min_keep:
        description: Never fewer verified backups than this.
        type: int
        default: 1
      pins:
        description: Ids of backups that always stay.
        type: list
        elements: str
        default: []
      count:
        description: No more than so many.
        type: int
      max_age:
        description: None older than this, such as V(30d).
        type: str
"""
