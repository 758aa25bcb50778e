#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_metrics
short_description: Keep a file of metrics for Prometheus' node_exporter
version_added: 0.1.0
description:
  - Writes what M(holdfast.postgres.backup_health) returns as C(metrics) into a file for the textfile collector of node_exporter, one for each server, at
    once. Where it cannot be written, the old file stays as it is, and its C(holdfast_scrape_timestamp_seconds) grows old.
  - It runs as who may write into that directory, most often root; what looks at backups runs as the server's owner.
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
    details: The file is written each time, as it has the time of the look. C(changed) is whether it says something else than that, and than what
      moves by itself (how long the look took, room on disks, how long WAL waits).
options:
  textfile_dir:
    description:
      - The directory that node_exporter was told by C(--collector.textfile.directory). It has to be there.
      - "Of Debian's package prometheus-node-exporter it is V(/var/lib/prometheus/node-exporter)."
    type: path
    required: true
  server_name:
    description: The server's name; the file is C(holdfast_NAME.prom).
    type: str
    default: main
  metrics:
    description: What the file is to have.
    type: str
  state:
    description: V(absent) takes the file of a server away that is no more, so that nobody is alerted of it.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: holdfast.postgres.backup_health
"""

EXAMPLES = r"""
- name: Look
  holdfast.postgres.backup_health:
    repository:
      path: /backups
    server_name: db1
    metrics: true
  register: health

- name: Hand it to Prometheus
  holdfast.postgres.backup_metrics:
    textfile_dir: /var/lib/prometheus/node-exporter
    server_name: db1
    metrics: "{{ health.metrics }}"

- name: A server that is no more
  holdfast.postgres.backup_metrics:
    textfile_dir: /var/lib/prometheus/node-exporter
    server_name: db0
    state: absent
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
written:
  description: Whether the file is there when this is done.
  returned: success
  type: bool
plan:
  description: In check mode, what would change, a sentence each.
  returned: in check mode
  type: list
  elements: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.status.textfile import keep, remove


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Write the file, or take it away."""
    params = module.params
    if params["state"] == "absent":
        path, changed = remove(params["textfile_dir"], params["server_name"], module.check_mode)
    else:
        path, changed = keep(params["textfile_dir"], params["server_name"], params["metrics"], module.check_mode)
    present = params["state"] == "present"
    result: dict[str, Any] = {"changed": changed, "path": path, "written": present and not module.check_mode}
    if module.check_mode:
        result["plan"] = [f"{'write' if present else 'remove'} {path}"] if changed else []
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "textfile_dir": {"type": "path", "required": True},
            "server_name": {"type": "str", "default": "main"},
            "metrics": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["metrics"])],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
