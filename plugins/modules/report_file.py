#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report_file
short_description: Make one page of what backup_report found on each host
version_added: 0.1.0
description:
  - Writes files on the controller out of what M(holdfast.postgres.backup_report) found on each host of the play, one file for all of them. A host that
    failed or could not be reached is in it, as what it is.
  - It runs on the controller alone, whose Ansible has Jinja2, so that no host needs it.
  - A file is replaced at once. While what was found is the same, it stays as it is until the next day (UTC), since how long ago something was changes
    without it.
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
  dest:
    description:
      - Files to write, on the controller. The name's end says what it is, V(.html) a page to look at, V(.md) Markdown for a ticket, V(.json) and
        V(.csv) all of it for programs and auditors.
    type: list
    elements: path
    default: [holdfast-report.html]
  variable:
    description: Name of the variable that each host's result of M(holdfast.postgres.backup_report) was registered as.
    type: str
    required: true
  title:
    description: The page's heading.
    type: str
    default: Backups and what they are worth
  since:
    description:
      - Backups, verifications and drills from then on are shown, as a time with an offset (V(2026-01-01T00:00:00Z)) or as how long back (V(90d)). What can be
        brought back, and what is wrong, is always as of now.
    type: str
  until:
    description: Those until then.
    type: str
seealso:
  - module: holdfast.postgres.backup_report
"""

EXAMPLES = r"""
- name: One page, and a table of the last year for the auditor
  holdfast.postgres.report_file:
    dest:
      - /srv/www/backups.html
      - /srv/audit/backups.csv
    variable: looked
    since: 1y
  run_once: true
"""

RETURN = r"""
files:
  description: What was, or in check mode would be, written; each with C(path), C(changed) and C(bytes).
  returned: success
  type: list
  elements: dict
summary:
  description: All of it in one line.
  returned: success
  type: str
servers:
  description: For each, the worst first, C(host), C(name), C(status) (V(ok), V(warning), V(critical), V(unknown)), C(proven) and C(sentence).
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import REPORT_FILE


def main() -> None:
    """The action plugin of this name does it all."""
    module = AnsibleModule(
        argument_spec=REPORT_FILE,
        supports_check_mode=True,
    )
    module.fail_json(
        msg="holdfast.postgres.report_file is done by its action plugin, and cannot be run as a module alone."
    )


if __name__ == "__main__":
    main()
