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
  - PostgreSQL keeps no list of its restore points. With O(repository) the point is written down beside the backups, with its time,
    position and timeline, so that a recovery by its name finds it at once, tells two of one name apart, and knows on which timeline
    it is.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.connection
  - holdfast.postgres.repository
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.server
      - holdfast.postgres.repository
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
  repository:
    description: The store in which the point is written down. Without it, only the write-ahead log has it.
    required: false
seealso:
  - module: holdfast.postgres.pg_recover
"""

EXAMPLES = r"""
- name: A point to come back to
  holdfast.postgres.pg_restore_point:
    login_unix_socket: /var/run/postgresql
    name: before_release_42
    repository:
      path: /backups
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
    timeline:
      description: The timeline that it is on.
      returned: always
      type: int
    recorded:
      description: Whether it was written down in the repository.
      returned: always
      type: bool
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

from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.points import RestorePoint, known, remember
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts, interrupted, wal_end
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Make it."""
    import psycopg2

    name = module.params["name"]
    if not name.strip() or len(name.encode()) > 63:
        raise BadOption("name", name, "is not a name of 1 to 63 bytes", "Use a shorter one.")
    shelf = None
    if module.params["repository"] is not None:
        shelf = Shelf(open_repository(module.params["repository"]), module.params["server_name"])
        shelf.repository.check(write=not module.check_mode)
    with workspace() as space:
        connection = Address(module.params, space).connect()
        word = interrupted.of_connection(connection)
        warnings.extend([word] if word else [])
        identity = facts.identify(connection)
        if identity.in_recovery:
            raise ServerError("The server is a standby: restore points are made on its primary.")
        level = facts.setting(connection, "wal_level")
        if level == "minimal":
            raise ServerError(
                "wal_level is minimal, so nothing can be recovered. Set up archiving first (wal_archive)."
            )
        if facts.setting(connection, "archive_mode") == "off":
            warnings.append("archive_mode is off: only the WAL that is in pg_wal now leads to this point.")
        for earlier in known(shelf, name, identity.system_id) if shelf else ():
            warnings.append(
                f"There is a restore point {name!r} already: {earlier.describe()}. A recovery by this name is refused, and says the positions "
                "of both."
            )
        _check_rights(connection, module.params["switch"])
        if module.check_mode:
            return {"changed": True}
        try:
            made = wal_end.restore_point(connection, name)
        except psycopg2.Error as exc:
            raise ServerError(f"The restore point could not be made: {str(exc).splitlines()[0]}") from exc
        try:
            if module.params["switch"]:
                wal_end.switch(connection)
        except psycopg2.Error as exc:
            warnings.append(
                f"The restore point is made, at {made.lsn}, and its segment could not be closed, so that it is archived when that is full: "
                f"{str(exc).splitlines()[0]}"
            )
    point = RestorePoint(name, Lsn.parse(made.lsn, "lsn"), made.time, made.timeline, identity.system_id)
    result = {
        "name": name,
        "lsn": made.lsn,
        "segment": made.segment,
        "timeline": made.timeline,
        "time": format_time(made.time),
    }
    return {"changed": True, "restore_point": {**result, "recorded": _recorded(shelf, point, warnings)}}


def _check_rights(connection: Any, switch: bool) -> None:
    """Raises ServerError: the role may not do what is asked for."""
    wanted = ["pg_create_restore_point(text)", *(["pg_switch_wal()"] if switch else [])]
    lacking = [
        name for name in wanted if not facts.value(connection, "SELECT has_function_privilege(%s, 'EXECUTE')", [name])
    ]
    if lacking:
        raise ServerError(
            f"The role may not call {' and '.join(lacking)}. Log in as a superuser, or GRANT EXECUTE ON FUNCTION to it (for pg_switch_wal "
            "switch: false will do too). Nothing was made."
        )


def _recorded(shelf: Optional[Shelf], point: RestorePoint, warnings: list[str]) -> bool:
    """Write it down. The point itself is made, whatever becomes of this."""
    if shelf is None:
        return False
    try:
        remember(shelf, point)
    except HoldfastError as exc:
        warnings.append(f"The restore point is made, at {point.describe()}, and could not be written down: {exc}")
        return False
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.CONNECTION,
            **argspec.REPOSITORY,
            "repository": {"type": "dict", "options": STORE},
            "name": {"type": "str", "required": True},
            "switch": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=True)


if __name__ == "__main__":
    main()
