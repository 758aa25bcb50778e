#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_bucket
short_description: Make and set up a bucket or container for backups
version_added: 0.1.0
description:
  - Makes the bucket or container of a repository, and sets what makes it safe. What is as wished already is left alone.
  - Only settings that are given are touched, and of the lifecycle rules only those of this collection (for O(repository.prefix)).
  - Nothing is ever deleted.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.repository.store
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  versioning:
    description: Whether versions are kept (V(s3), V(gcs)).
    type: bool
  default_encryption:
    description: How the store encrypts objects by default (V(s3)).
    type: str
    choices: [AES256, 'aws:kms']
  block_public_access:
    description: Whether public access is blocked.
    type: bool
    default: true
  object_lock:
    description: Make the bucket with object lock (V(s3)); one that is there without it is an error.
    type: bool
    default: false
  transitions:
    description:
      - After which age objects move to which storage class (V(s3), V(gcs)).
      - Lifecycle rules of this module that are not asked for again stay as they are, and those of others always do.
      - Where the store knows rules by size, as Amazon does, objects up to 1 MiB stay where they are, so that manifests can always
        be read.
    type: list
    elements: dict
    default: []
    suboptions:
      after:
        description: Age, such as V(30d).
        type: str
        required: true
      storage_class:
        description: The class, by the store's own word.
        type: str
        required: true
  expire_old_versions:
    description: How long versions stay that were deleted or overwritten, such as V(7d) (V(s3), V(gcs)).
    type: str
  abort_uploads:
    description: How long the parts of uploads stay that nobody finished, such as V(7d) (V(s3), V(gcs)).
    type: str
seealso:
  - module: holdfast.postgres.backup_check
"""

EXAMPLES = r"""
- name: A bucket with versions, which cost nothing after a month
  holdfast.postgres.backup_bucket:
    repository:
      type: s3
      bucket: backups
      prefix: production
      region: eu-central-1
    versioning: true
    default_encryption: AES256
    transitions:
      - after: 30d
        storage_class: STANDARD_IA
    expire_old_versions: 30d
    abort_uploads: 7d
"""

RETURN = r"""
plan:
  description: What is done, or in check mode would be done, step by step.
  returned: always
  type: list
  elements: str
policy:
  description: The policy of least privilege for the keys that write backups there.
  returned: for type s3
  type: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.bucket import BucketRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import OBJECT_STORES, check_store
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.s3 import bucket as s3


def days(text: Optional[str], option: str) -> Optional[int]:
    """A duration as stores want it. Raises BadOption."""
    if not text:
        return None
    seconds = parse_duration(text, option)
    if seconds % 86400:
        raise BadOption(option, text, "is not a number of days, as stores count", "Write 7d, for instance.")
    return seconds // 86400


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Plan, and unless in check mode act."""
    params = module.params
    options = check_store(params["repository"])
    if options["type"] == "file":
        raise BadOption(
            "repository.type", "file", "has no bucket", "Directories are made by the role holdfast.postgres.setup."
        )
    transitions = [
        (days(entry["after"], "transitions.after"), entry["storage_class"]) for entry in params["transitions"]
    ]
    request = BucketRequest(
        versioning=params["versioning"],
        encryption=params["default_encryption"],
        block_public_access=params["block_public_access"],
        object_lock=params["object_lock"],
        transitions=tuple((age, kind) for age, kind in transitions if age),
        expire_old_versions=days(params["expire_old_versions"], "expire_old_versions"),
        abort_uploads=days(params["abort_uploads"], "abort_uploads"),
    )
    steps = OBJECT_STORES[options["type"]].arrange(options, request)
    if not module.check_mode:
        for step in steps:
            try:
                said = step.do()
                warnings.extend([said] if isinstance(said, str) else [])
            except HoldfastError:
                raise
            except Exception as exc:
                raise OBJECT_STORES[options["type"]].explain(step.message, exc, options) from exc
    plan = [step.message for step in steps]
    result: dict[str, Any] = {"changed": bool(plan), "plan": plan}
    if options["type"] == "s3":
        result["policy"] = s3.policy(options)
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in plan)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "dict", "required": True, "options": STORE},
            "versioning": {"type": "bool"},
            "default_encryption": {"type": "str", "choices": ["AES256", "aws:kms"]},
            "block_public_access": {"type": "bool", "default": True},
            "object_lock": {"type": "bool", "default": False},
            "transitions": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "after": {"type": "str", "required": True},
                    "storage_class": {"type": "str", "required": True},
                },
            },
            "expire_old_versions": {"type": "str"},
            "abort_uploads": {"type": "str"},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
