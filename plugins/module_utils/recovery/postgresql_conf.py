# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server that is to recover is told.

Source: https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.files import put
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import STEERING

SIGNAL = "recovery.signal"
AUTO = "postgresql.auto.conf"


def quoted(value: str) -> str:
    """A value as a configuration file has it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def rewrite(text: str, wanted: Mapping[str, Optional[str]]) -> str:
    """A postgresql.auto.conf in which what steers a recovery is gone, and ``wanted`` stands (None: taken out)."""
    gone = {*STEERING, *wanted}
    kept = [line for line in text.splitlines() if _name(line) not in gone]
    kept += [f"{name} = {quoted(value)}" for name, value in wanted.items() if value is not None]
    return "\n".join(kept) + "\n"


def write_auto(directory: str, wanted: Mapping[str, Optional[str]], owner: str) -> None:
    """``rewrite`` the postgresql.auto.conf of a server that does not run, or make one; it is ``owner``'s."""
    path, text = os.path.join(directory, AUTO), ""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="surrogateescape") as stream:
        text = stream.read()
    put(path, rewrite(text, wanted), owner)


def _name(line: str) -> str:
    found = _SETTING.match(line)
    return found.group(1).lower() if found else ""


_SETTING = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=?")


#: What keeps a server to itself: nobody reaches it, it archives nothing, runs no program, and no subscription of it fetches anything. Its log goes to
#: where it is read.
PRIVATE = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "archive_mode": "off",
    "max_logical_replication_workers": "0",
    "synchronous_standby_names": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "log",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "external_pid_file": "",
    "ssl": "off",
    "ssl_passphrase_command": "",
}


def private_settings(socket_directory: str, hba_file: str, keep_archiving: bool) -> dict[str, str]:
    """What keeps a server to itself while it recovers, and where it is asked.

    ``keep_archiving``: it will archive again, so it remembers what is to be archived then. The history of the timeline that it
    begins is marked in that very moment, or never, and without it the archive leads nobody there."""
    archiving = {"archive_mode": "on", "archive_command": "", "archive_library": ""} if keep_archiving else {}
    return {
        **PRIVATE,
        "unix_socket_directories": socket_directory,
        "hba_file": hba_file,
        "hot_standby": "on",
        **archiving,
    }
