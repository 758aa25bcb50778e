#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_audit
short_description: Look whether a WAL archive is complete, and remove what no backup needs
version_added: 0.1.0
description:
  - Reads the names of all archived segments, and tells of gaps, timelines without their history, segments that are there twice,
    partial ones, and files that are not the server's; and from when to when the server can be brought back.
  - Remembers what it saw in the repository, so that the next audit reads only what is new.
  - Removes segments that no kept backup needs, when asked to. An engine with a repository of its own does that itself.
  - The archive is that of the engine V(pg_basebackup), in a directory, or in a store where M(holdfast.postgres.wal_ship) brings it.
    O(encryption) is needed only where that is encrypted, and a timeline's history has to be read.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository
  - holdfast.postgres.repository.encryption
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.repository
  check_mode:
    support: full
    details: Says what would be removed.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  remove:
    description: Whether segments that no kept backup needs are removed. Where no backup is kept, nothing is.
    type: bool
    default: false
  strict:
    description: Fail when there is a finding that makes some recovery impossible.
    type: bool
    default: false
seealso:
  - module: holdfast.postgres.wal_archive
  - module: holdfast.postgres.backup_facts
"""

EXAMPLES = r"""
- name: Is the archive complete?
  holdfast.postgres.wal_audit:
    repository:
      path: /backups
    strict: true

- name: Remove WAL that no backup needs
  holdfast.postgres.wal_audit:
    repository:
      path: /backups
    remove: true
"""

RETURN = r"""
findings:
  description: What is to be said of the archive, the worst first, each with C(level) (V(error), V(warning), V(fine)), C(code), C(text) and C(names).
  returned: success
  type: list
  elements: dict
windows:
  description: For each timeline, from when to when the server can be brought back, without a gap.
  returned: success
  type: list
  elements: dict
removed:
  description: Names that were removed, or in check mode would be, with why. Of many the first 1000.
  returned: success
  type: list
  elements: dict
removed_count:
  description: How many.
  returned: success
  type: int
looked_at:
  description: How many names were read.
  returned: success
  type: int
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
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving import audit
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.engines import silence
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FileWal
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.shipped import folder_of, wal_in
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import keeping_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Audit, and remove."""
    params, check = module.params, module.check_mode
    shelf = Shelf(open_repository(params["repository"]), params["server_name"])
    shelf.repository.check(write=not check)
    with workspace() as space:
        secrets = Secrets(params["encryption"] or {}, space)
        try:
            return _audit(module, shelf, secrets, space, warnings)
        finally:
            secrets.close()


def _audit(module: AnsibleModule, shelf: Shelf, secrets: Secrets, space: str, warnings: list[str]) -> dict[str, Any]:
    params, check = module.params, module.check_mode
    wal = wal_in(shelf.repository, shelf.name, secrets.of_wal)
    if wal is None:
        keeping = keeping_engine({**params, "engine": None})
        where = f"{folder_of(shelf.name)} in {shelf.repository.description}"
        way_out = (
            "backup_facts shows the windows of engines with a repository of their own, and they remove WAL themselves."
            if keeping
            else "Set archiving up (wal_archive), ship the WAL there (wal_ship), or check server_name."
        )
        also = f", and {keeping} keeps the WAL of {shelf.name} beside it" if keeping else ""
        raise BadOption("repository", where, f"is not there{also}", way_out)
    problems: list[str] = []
    records = [record for record in shelf.records(problems) if record.kind != "logical"]
    warnings.extend(problems)
    report = audit.inspect(wal, records, space)
    word = silence.of_archive(wal.directory, wal.names()) if isinstance(wal, FileWal) else None
    warnings.extend([word] if word else [])
    chosen = []
    if params["remove"]:
        if problems:
            warnings.append("Nothing is removed while there are manifests that cannot be read: their WAL is not known.")
        else:
            chosen = audit.removable(report, wal)
        if report.unplaced:
            warnings.append(
                f"Nothing is removed: which WAL {', '.join(report.unplaced)} need is not known, as their manifests do not say."
            )
    if chosen and not check:
        audit.remove(wal, chosen)
    errors = [finding.text for finding in report.findings if finding.level == "error"]
    if params["strict"] and errors:
        raise HoldfastError(" ".join(errors))
    plan = (
        [f"remove {len(chosen)} files, from {chosen[0].name} to {chosen[-1].name}: {chosen[-1].why}"] if chosen else []
    )
    result: dict[str, Any] = {
        "changed": bool(chosen),
        "findings": [audit.describe(finding) for finding in report.findings],
        "windows": [window.to_dict() for window in report.windows],
        "removed": [{"name": item.name, "why": item.why} for item in chosen[:1000]],
        "removed_count": len(chosen),
        "looked_at": report.looked_at,
        "plan": plan,
    }
    if module._diff:
        result["diff"] = {"prepared": "".join(f"- {item.name}\n" for item in chosen)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORY,
            **argspec.ENCRYPTION,
            "remove": {"type": "bool", "default": False},
            "strict": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
