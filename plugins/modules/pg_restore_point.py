#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore_point
short_description: Make a named restore point in a PostgreSQL server
version_added: 0.1.0
description:
  - Makes a named point in the write-ahead log, to which the server can be brought back. Made before risky work, it is the best
    target of a recovery.
  - With O(switch) the segment is closed, so that it is archived at once.
  - PostgreSQL keeps no list of its restore points. Of two with the same name, a recovery stops at the first.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details: A point is made each time.
options:
  name:
    description: Its name, of up to 63 bytes.
    type: str
    required: true
  switch:
    description: Whether the segment is closed after it.
    type: bool
    default: true
seealso:
  - module: holdfast.postgres.pg_restore
"""

EXAMPLES = r"""
- name: A point to come back to
  holdfast.postgres.pg_restore_point:
    login_unix_socket: /var/run/postgresql
    name: before_release_42
"""

RETURN = r"""
restore_point:
  description: The point.
  returned: when it was made
  type: dict
  contains:
    name:
      description: Its name.
      returned: always
      type: str
    lsn:
      description: Its position.
      returned: always
      type: str
    segment:
      description: The segment that has it.
      returned: always
      type: str
    time:
      description: When it was made.
      returned: always
      type: str
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Make it."""
    import psycopg2

    name = module.params["name"]
    if not name.strip() or len(name.encode()) > 63:
        raise BadOption("name", name, "is not a name of 1 to 63 bytes", "Use a shorter one.")
    with workspace() as space:
        connection = Address(module.params, space).connect()
        if facts.identify(connection).in_recovery:
            raise ServerError("The server is a standby: restore points are made on its primary.")
        level = facts.setting(connection, "wal_level")
        if level == "minimal":
            raise ServerError(
                "wal_level is minimal, so nothing can be recovered. Set up archiving first (wal_archive)."
            )
        if facts.setting(connection, "archive_mode") == "off":
            warnings.append("archive_mode is off: only the WAL that is in pg_wal now leads to this point.")
        if module.check_mode:
            return {"changed": True}
        try:
            point = facts.rows(
                connection,
                "SELECT lsn::text AS lsn, pg_walfile_name(lsn) AS segment, clock_timestamp() AS time"
                " FROM pg_create_restore_point(%s) AS lsn",
                [name],
            )[0]
            if module.params["switch"]:
                facts.value(connection, "SELECT pg_switch_wal()::text")
        except psycopg2.Error as exc:
            raise ServerError(f"The restore point could not be made: {str(exc).splitlines()[0]}") from exc
    return {"changed": True, "restore_point": {"name": name, **point, "time": format_time(point["time"])}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            "name": {"type": "str", "required": True},
            "switch": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=True)


if __name__ == "__main__":
    main()
