#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_questions
short_description: Ask a person at the terminal what is to be restored
version_added: 0.1.0
description:
  - Asks for what was not said before, and shows what there is to choose from. The role P(holdfast.postgres.restore#role) asks it, and hands the
    answers to M(holdfast.postgres.pg_restore).
  - With O(plan) it shows that, and asks whether it is to be done.
  - It never fails, as its result has what was typed, secrets among them; use C(no_log), and look at RV(problem).
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
    support: none
options:
  repository:
    description: Where backups are kept; asked for without.
    type: dict
  server_name:
    description: The server's name in the repository.
    type: str
  backup_id:
    description: Id of the backup, or V(latest); asked for without.
    type: str
  databases:
    description: Names of the databases; asked for without.
    type: list
    elements: str
  target_db:
    description: The name that the one database gets; asked for without.
    type: str
  encryption:
    description: How backups are encrypted. Without it the passphrase is asked for, where the backup needs one.
    type: dict
  plan:
    description: Steps to show, of a run in check mode.
    type: list
    elements: str
  consent:
    description: What the plan needs, as that run returned it.
    type: dict
"""

EXAMPLES = r"""
- name: Ask what to restore
  holdfast.postgres.restore_questions:
    server_name: db1
  register: asked
  no_log: true

- name: Ask whether to do it
  holdfast.postgres.restore_questions:
    plan: "{{ planned.plan }}"
    consent: "{{ planned.consent | default({}) }}"
  register: agreed
"""

RETURN = r"""
problem:
  description: Why it cannot go on; empty where it can.
  returned: always
  type: str
answers:
  description: What was answered, by the options of M(holdfast.postgres.pg_restore).
  returned: always
  type: dict
agreed:
  description: Whether the plan was agreed to.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """The action plugin of this name does it all."""
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "dict"},
            "server_name": {"type": "str"},
            "backup_id": {"type": "str"},
            "databases": {"type": "list", "elements": "str"},
            "target_db": {"type": "str"},
            "encryption": {"type": "dict"},
            "plan": {"type": "list", "elements": "str"},
            "consent": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    module.fail_json(
        msg="holdfast.postgres.restore_questions is done by its action plugin, and cannot be run as a module alone."
    )


if __name__ == "__main__":
    main()
