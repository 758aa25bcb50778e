# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archiving that has ended in silence: it was set up by us, and the primary archives nothing. Whoever comes to the server, or to its
archive, says so: after a switchover, a recovery, or a restart that never came, nobody else does."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.ownership import ENDED
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import FOLDER, marker_of
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import named_repositories
from ansible_collections.holdfast.postgres.plugins.module_utils.server import facts
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import in_force
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import configuration_of
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import config_dirs
from ansible_collections.holdfast.postgres.plugins.module_utils.server.settings import configured

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_WAY_OUT = "Run wal_archive (or the playbook setup) again, restart the server where it says so, and take a backup."
# Ours is called as its slot, Barman's as barman says; a role without pg_read_all_stats sees no names. A slot of ours keeps what its receiver,
# which may be down for a moment, has not fetched.
_RECEIVERS = (
    "SELECT (SELECT count(*) FROM pg_stat_replication WHERE application_name IS NULL"
    " OR application_name IN ('pg_receivewal', 'barman_receive_wal') OR application_name LIKE 'holdfast\\_%')"
    " + (SELECT count(*) FROM pg_replication_slots s WHERE slot_type = 'physical' AND NOT temporary AND slot_name LIKE 'holdfast\\_%'"
    " AND coalesce(to_jsonb(s) ->> 'wal_status', '') <> 'lost')"
)
_MAY_READ_FILES = "SELECT has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')"


def of_connection(connection: Connection, params: Mapping[str, Any]) -> Optional[str]:
    """A warning about the server that is connected to; None: it archives, is a standby, or nothing of ours says that it should.
    ``params`` are a module's: its repositories, ``server_name`` and ``config_dir``."""
    identity = facts.identify(connection)
    if identity.in_recovery or identity.system_id is None:
        return None
    where = _set_up(params, identity.system_id, facts.setting(connection, "data_directory"))
    if where is None or _archives(connection):
        return None
    why = (
        "archive_mode is off until the server is restarted"
        if _waits(connection)
        else f"archive_mode is {facts.setting(connection, 'archive_mode')}, and no archive_command works in it"
    )
    return (
        f"This server archives nothing ({why}), though archiving was set up for it ({where}): since then it can only be brought back to a "
        f"backup's own end. {_WAY_OUT}"
    )


def _waits(connection: Connection) -> bool:
    """Whether archiving begins with the next restart, as far as this role may see that."""
    return (
        facts.setting(connection, "archive_mode") == "off"
        and bool(facts.value(connection, _MAY_READ_FILES))
        and configured(connection, "archive_mode") not in ("", "off")
    )


def _archives(connection: Connection) -> bool:
    """Whether it sends its WAL anywhere; unknown is yes, as others look at that more closely."""
    if facts.setting(connection, "archive_mode") not in ("off", None):
        command, library = facts.setting(connection, "archive_command"), facts.setting(connection, "archive_library")
        if command not in ("", "(disabled)") or library:
            return True
    return bool(facts.value(connection, _RECEIVERS))


def _set_up(params: Mapping[str, Any], system_id: str, data: Optional[str]) -> Optional[str]:
    """Where it stands that archiving was set up for this server, in this very directory (a clone has the same identifier), and was not
    taken down since; None: nowhere that can be seen from here."""
    paths = [os.path.join(directory, f"{params['server_name']}.owner.json") for directory in config_dirs(params)]
    for _name, options, _where in (
        named_repositories(params) if params.get("repository") or params.get("repositories") else ()
    ):
        if options["type"] == "file" and options.get("path"):
            paths.append(marker_of(os.path.join(options["path"], params["server_name"], FOLDER)))
    for path in paths:
        known = _known(path)
        if (
            known.get("system_id") == system_id
            and not known.get(ENDED)
            and (not data or known.get("data_directory") in (None, os.path.realpath(data)))
        ):
            return path
    return None


def of_archive(directory: str, names: Iterable[str]) -> Optional[str]:
    """A warning about the server whose WAL archive is in ``directory``, if that server lies on this host; ``names`` are the archive's."""
    known = _known(marker_of(directory))
    data = known.get("data_directory")
    if known.get(ENDED) or not isinstance(data, str) or not os.path.exists(os.path.join(data, "PG_VERSION")):
        return None
    if any(os.path.exists(os.path.join(data, name)) for name in ("standby.signal", "recovery.signal")):
        return None
    settings = in_force(
        configuration_of(data) or os.path.join(data, "postgresql.conf"), os.path.join(data, "postgresql.auto.conf")
    )
    # What pg_receivewal writes has this name until it is whole.
    if settings.get("archive_mode", "off").lower() not in ("off", "false", "no", "0") or any(
        ".partial" in name for name in names
    ):
        return None
    return f"The server in {data}, whose archive this is, has archive_mode off in its configuration: nothing comes here any more. {_WAY_OUT}"


def _known(path: str) -> dict[str, Any]:
    with contextlib.suppress(ToolError, OSError, ValueError, RecursionError):
        found = json.loads(files.read(path))
        return found if isinstance(found, dict) else {}
    return {}
