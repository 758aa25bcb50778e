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
  - Removes segments that no kept backup needs, when asked to. An engine with a repository of its own does that itself.
  - The archive is that of the engine V(pg_basebackup), in a directory, or in a store where M(holdfast.postgres.wal_ship) brings it.
  - Of several O(repositories) each that has WAL of the server is audited by itself, with the backups that it has, as a recovery reads from one
    alone. One that cannot be read is a finding of level V(error), and the others are audited.
    O(encryption) is needed only where that is encrypted, and a timeline's history has to be read.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository.several
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

- name: Is it complete in each tier?
  holdfast.postgres.wal_audit:
    repositories:
      - name: near
        path: /backups
      - name: far
        type: s3
        bucket: backups
        region: eu-central-1
    strict: true

- name: Remove WAL that no backup needs
  holdfast.postgres.wal_audit:
    repository:
      path: /backups
    remove: true
"""

RETURN = r"""
findings:
  description: What is to be said of the archive, the worst first, each with C(level) (V(error), V(warning), V(fine)), C(code), C(text) and C(names),
    and with O(repositories) its C(tier), which the text begins with.
  returned: success
  type: list
  elements: dict
windows:
  description: For each timeline, from when to when the server can be brought back, without a gap; with O(repositories) with its C(tier).
  returned: success
  type: list
  elements: dict
removed:
  description: Names that were removed, or in check mode would be, with why, and with O(repositories) their C(tier). Of many the first 1000.
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
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.audit_tiers import Audited, each_tier
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Audit, and remove."""
    params = module.params
    with workspace() as space:
        secrets = Secrets(params["encryption"] or {}, space)
        try:
            tiers = each_tier(params, secrets.of_wal, space, module.check_mode)
            for tier in tiers:
                warnings.extend(tier.named(word) for word in tier.warnings)
            return _answer(module, tiers, warnings)
        finally:
            secrets.close()


def _answer(module: AnsibleModule, tiers: list[Audited], warnings: list[str]) -> dict[str, Any]:
    chosen = {tier.name: tier.removable(warnings) for tier in tiers} if module.params["remove"] else {}
    findings = sorted((finding for tier in tiers for finding in tier.findings()), key=audit.worst_first)
    plan = [
        tier.named(f"remove {len(items)} files, from {items[0].name} to {items[-1].name}: {items[0].why}")
        for tier in tiers
        if (items := chosen.get(tier.name))
    ]
    if not module.check_mode:
        for tier in tiers:
            tier.remove(chosen.get(tier.name) or [])
    errors = [finding["text"] for finding in findings if finding["level"] == "error"]
    if module.params["strict"] and errors:
        raise HoldfastError(" ".join(errors))
    removed = [
        {"name": item.name, "why": item.why, **tier.label} for tier in tiers for item in chosen.get(tier.name) or ()
    ]
    result: dict[str, Any] = {
        "changed": bool(removed),
        "findings": findings,
        "windows": [{**window, **tier.label} for tier in tiers for window in tier.windows()],
        "removed": removed[:1000],
        "removed_count": len(removed),
        "looked_at": sum(tier.looked_at for tier in tiers),
        "plan": plan,
    }
    if module._diff:
        result["diff"] = {"prepared": "".join(f"- {item['name']}\n" for item in removed)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORIES,
            **argspec.ENCRYPTION,
            "remove": {"type": "bool", "default": False},
            "strict": {"type": "bool", "default": False},
        },
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
