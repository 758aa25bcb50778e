#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_copy
short_description: Copy or move backups from one repository to another
version_added: 0.1.0
description:
  - Copies backups of a server, or all objects below a prefix whoever wrote them, from any store to any store.
  - What was copied is verified there, backups by the sums in their manifests. Within one store the store copies by itself.
  - An interrupted copy is gone on with by the next run.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.copy
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.run.lock
  - holdfast.postgres.run.progress
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  what:
    description:
      - V(backups) copies backups of this collection.
      - V(prefix) copies every object below the prefix of O(source), such as what CloudNativePG or Barman wrote. The prefix of
        O(target) must be empty, but for what an interrupted copy left.
    type: str
    choices: [backups, prefix]
    default: backups
  server_name:
    description: The server's name in the source, with O(what=backups).
    type: str
    default: main
  target_server_name:
    description: The server's name in the target. By default the same.
    type: str
  encryption:
    description:
      - The passphrase that encrypted what is copied. Copies need none, unless they are to be signed or encrypted anew, as with O(target_encryption), or
        where O(target_server_name) is another name than the one that the signature covers.
  target_encryption:
    description:
      - Another passphrase, by which the copies are encrypted and signed. After a passphrase was rotated this takes what has to be kept over to
        the present one, with O(encryption) naming the former.
      - Backups that a passphrase does not encrypt are refused by name. All passes through this host, and is read twice.
    type: dict
    suboptions:
      method:
        description: A passphrase is V(aes256)'s.
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
        description: Not for copies, which a passphrase signs.
        type: list
        elements: str
        default: []
      gpg_home:
        description: Not for copies.
        type: path
  backup_ids:
    description: Ids of the backups, or V(latest). By default all.
    type: list
    elements: str
    default: []
  delete_source:
    description:
      - Whether what was copied is deleted in the source once all of it was verified in the target.
      - What is pinned stays, and is told, as does what others that stay are based on. A second run, when all has been moved, changes nothing.
      - Refused with V(backups) where WAL lies beside backups of the whole server, as that is not copied.
    type: bool
    default: false
  threads:
    description: Objects copied at the same time, as far as O(memory_limit) lets them.
    type: int
    default: 16
  memory_limit:
    description:
      - Bytes of memory that objects take at most which pass through this host, all together. By default 256 MiB.
      - An object takes its size, and of a store C(part_size) times C(concurrency) + 2 at most (96 MiB by default), to be read and
        once more to be written. So small ones go O(threads) at a time, large ones few, and one that needs more than all goes alone.
      - What a store copies by itself takes none.
    type: int
    default: 268435456
seealso:
  - module: holdfast.postgres.pg_backup
"""

EXAMPLES = r"""
- name: The newest backup from the disk to a bucket elsewhere
  holdfast.postgres.backup_copy:
    source:
      path: /backups
    target:
      type: s3
      bucket: offsite
      region: eu-central-1
    backup_ids: [latest]

- name: What the former passphrase encrypted, under the present one
  holdfast.postgres.backup_copy:
    source:
      path: /backups
    target:
      path: /backups/rotated
    encryption:
      method: aes256
      passphrase_file: /etc/holdfast/passphrase.until-20261126T101500Z
    target_encryption:
      method: aes256
      passphrase_file: /etc/holdfast/passphrase

- name: Rename the folder of a CloudNativePG cluster before it is recovered
  holdfast.postgres.backup_copy:
    what: prefix
    source:
      type: s3
      bucket: backups
      prefix: postgres-v17
    target:
      type: s3
      bucket: backups
      prefix: postgres-v17-backup
    delete_source: true
"""

RETURN = r"""
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
copied:
  description: Ids of the backups, or with O(what=prefix) the keys, that were copied.
  returned: always
  type: list
  elements: str
objects:
  description: How many objects were, or would be, copied.
  returned: always
  type: int
size:
  description: Their bytes.
  returned: always
  type: int
copied_by_store:
  description: How many of them the store copied by itself.
  returned: always
  type: int
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

import contextlib
from typing import Any, Optional, Union

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copier import Moved
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy import CopyRun
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy_prefix import PrefixRun
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.memory import MEMORY
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.rekey import Rekey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import KINDS, WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import folder_of
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import engines_keeping
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, Incomplete
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import MIB
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace

#: the engine whose WAL lies in a folder beside our backups
WITH_WAL_BESIDE = "pg_basebackup"


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan, and unless in check mode copy."""
    with contextlib.ExitStack() as stack:
        keys = [_passphrase(module.params, name, stack) for name in ("encryption", "target_encryption")]
        return _work(module, Rekey(*keys), warnings)


def _passphrase(params: dict[str, Any], name: str, stack: contextlib.ExitStack) -> Optional[Encryption]:
    """What is given under a name; None: nothing is. Raises BadOption, ToolError."""
    if not Encryption.is_wanted(params[name]):
        return None
    if params["what"] == "prefix":
        raise BadOption(name, "(given)", "is for backups, and a prefix is copied as it is", "Leave it out.")
    encryption = Encryption(params[name], stack.enter_context(workspace()))
    stack.callback(encryption.close)
    encryption.check()
    return encryption


def _work(module: AnsibleModule, keys: Rekey, warnings: list[str]) -> dict[str, Any]:
    params = module.params
    if params["threads"] < 1:
        raise BadOption("threads", params["threads"], "is not a number of objects", "Use 1 or more.")
    if params["memory_limit"] < MIB:
        raise BadOption("memory_limit", params["memory_limit"], "is too little", "Use 1 MiB or more (in bytes).")
    source = open_repository(params["source"], "source")
    target = open_repository(params["target"], "target")
    server, other = params["server_name"], params["target_server_name"] or params["server_name"]
    if source.description == target.description and (params["what"] == "prefix" or server == other):
        raise BadOption("target", target.description, "is the source itself", "Name another one.")
    source.check(write=params["delete_source"])
    target.check(write=True)
    run: Union[CopyRun, PrefixRun]
    if params["what"] == "prefix":
        run = PrefixRun(source, target, params["threads"], params["memory_limit"], params["delete_source"])
    else:
        shelves = Shelf(source, server), Shelf(target, other)
        how = params["threads"], params["memory_limit"], params["delete_source"], params["lock_wait"]
        run = CopyRun(*shelves, params["backup_ids"], *how, keys)
        warnings.extend(_about_wal(Shelf(source, server), params["delete_source"]))
        if others := [name for name in engines_keeping(source, server) if name in WITH_REPOSITORY]:
            warnings.append(
                f"{source.description} has backups of {server} by {' and '.join(others)}, too, which are not among those that are copied: "
                "they are copied with all else there by what: prefix."
            )
    moved: Moved = run.run(module.check_mode)
    warnings.extend(moved.warnings)
    result: dict[str, Any] = {
        "changed": bool(moved.plan),
        "plan": moved.plan,
        "copied": moved.names,
        "objects": moved.objects,
        "size": moved.size,
        "copied_by_store": moved.by_store,
    }
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in moved.plan)}
    if moved.unread:
        lacks = "not all of them are copied" if not params["backup_ids"] else "the latest may be another one"
        raise Incomplete(
            f"The manifests of {', '.join(moved.unread)} in {source.description} cannot be read (the warnings say why), so that nobody knows what "
            f"these are: {lacks}. All else that was asked for {'would be' if module.check_mode else 'is'} in {target.description}, verified. Mend "
            "these and copy again, or name what is wanted by backup_ids.",
            result,
        )
    return result


def _about_wal(source: Shelf, delete: bool) -> list[str]:
    """What is to be said of WAL that lies beside the backups, and is not copied. Raises BadOption: its backups are to be deleted."""
    if WITH_WAL_BESIDE not in engines_keeping(source.repository, source.name):
        return []
    if not any(record.kind in KINDS for record in source.records([])):
        return []
    what = f"{folder_of(source.name)} in {source.repository.description}"
    if delete:
        raise BadOption(
            "delete_source",
            True,
            f"would leave {what} without the backups that lead into it, and it is not copied with them: no moment between backups could be reached "
            "any more",
            "Move all of it with what: prefix. Or copy without delete_source, and let retention delete here what is old.",
        )
    return [
        f"{what} is WAL, and is not copied with the backups: from the copy each backup's own end can be reached, and no moment after it. Copy all of it "
        "with what: prefix, or ship the WAL there as well (wal_ship, role ship)."
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "dict", "required": True, "options": STORE},
            "target": {"type": "dict", "required": True, "options": STORE},
            "what": {"type": "str", "choices": ["backups", "prefix"], "default": "backups"},
            "server_name": {"type": "str", "default": "main"},
            "target_server_name": {"type": "str"},
            "backup_ids": {"type": "list", "elements": "str", "default": []},
            "delete_source": {"type": "bool", "default": False},
            "threads": {"type": "int", "default": 16},
            "memory_limit": {"type": "int", "default": MEMORY},
            **argspec.ENCRYPTION,
            "target_encryption": argspec.ENCRYPTION["encryption"],
            **argspec.LOCK,
            **argspec.PROGRESS,
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
