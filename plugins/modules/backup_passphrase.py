#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_passphrase
short_description: Make or rotate the passphrase that backups are encrypted with
version_added: 0.1.0
description:
  - Makes a passphrase where there is none, or puts a new one in its place; and returns it once, so that a copy can be kept elsewhere. Who
    loses it loses every backup that it encrypted.
  - A former passphrase is kept beside the new one, as the backups that it encrypted are restored by it.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description: The file, which becomes C(encryption.passphrase_file) of the other modules.
    type: path
    required: true
  state:
    description: V(present) makes one where there is none; V(rotated) puts a new one in its place.
    type: str
    choices: [present, rotated]
    default: present
  owner:
    description: Owner of the file, who reads it when a backup runs. By default the user of the module.
    type: str
  least_age:
    description: What was made more recently than this is not rotated again, so that a second run changes nothing.
    type: str
    default: 1d
  copied:
    description: Whether a copy is kept elsewhere. Until that is said, each run warns.
    type: bool
    default: false
  engine:
    description:
      - The engine of the backups. One that encrypts its own repository (V(pgbackrest), V(wal_g)) cannot change its passphrase there, and is
        refused with O(state=rotated).
    type: str
    choices: [pg_dump, pg_basebackup, pgbackrest, barman_cloud, wal_g]
seealso:
  - module: holdfast.postgres.pg_backup
"""

EXAMPLES = r"""
- name: Make a passphrase once
  holdfast.postgres.backup_passphrase:
    path: /etc/holdfast/passphrase
    owner: postgres
  register: made

- name: Print it once
  ansible.builtin.debug:
    msg: "Keep a copy elsewhere: {{ made.passphrase }}"
  when: made.passphrase is defined

- name: A new one for new backups
  holdfast.postgres.backup_passphrase:
    path: /etc/holdfast/passphrase
    owner: postgres
    state: rotated
    copied: true
"""

RETURN = r"""
passphrase:
  description: The new one. It is returned this once.
  returned: when it was made
  type: str
former_path:
  description: Where the former one is kept, which the backups so far need.
  returned: when it was, or would be, rotated
  type: str
former:
  description: Files of all former ones, the newest first.
  returned: success
  type: list
  elements: str
plan:
  description: What was, or in check mode would be, done.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import COPYING, WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.passphrase_file import (
    former_ones,
    present,
    rotated,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Make or rotate it."""
    params = module.params
    path, owner = params["path"], params["owner"]
    if params["state"] == "present":
        change = present(path, owner, module.check_mode)
    else:
        if params["engine"] in WITH_REPOSITORY:
            raise BadOption(
                "engine",
                params["engine"],
                "encrypts its own repository, whose passphrase cannot be changed",
                "Begin a new repository with a new passphrase, and keep the old one until nothing in it is needed.",
            )
        change = rotated(path, owner, parse_duration(params["least_age"], "least_age"), utcnow(), module.check_mode)
    if not params["copied"] and not module.check_mode:
        warnings.append(
            f"{path} may be the only copy of this passphrase. When this host is lost, no backup that it encrypted can be restored: keep a copy "
            "elsewhere, and say so by the option copied (holdfast_setup_passphrase_copied, holdfast_rotate_passphrase_copied)."
        )
    result: dict[str, Any] = {"changed": bool(change.plan), "plan": change.plan, "former": former_ones(path)}
    if change.passphrase is not None:
        result["passphrase"] = change.passphrase
    if change.former is not None:
        result["former_path"] = change.former
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "rotated"], "default": "present"},
            "owner": {"type": "str"},
            "least_age": {"type": "str", "default": "1d"},
            "copied": {"type": "bool", "default": False},
            "engine": {"type": "str", "choices": COPYING},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
