# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server that is to recover is told, and what its configuration says already.

Source: https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Optional

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


def _name(line: str) -> str:
    found = _SETTING.match(line)
    return found.group(1).lower() if found else ""


# A name, perhaps an equals sign, and a value: quoted, or without blanks.
_SETTING = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=?\s*('(?:[^'\\]|''|\\.)*'|[^\s#']*)")
_INCLUDES = ("include", "include_if_exists", "include_dir")
_DEPTH = 10  # as PostgreSQL has it


def parsed(text: str) -> Iterator[tuple[str, str]]:
    """The settings of a configuration file, in order: names in small letters, values without their quotes. Pure."""
    for line in text.splitlines():
        found = _SETTING.match(line)
        if found:
            value = found.group(2)
            if value.startswith("'"):
                value = re.sub(r"''|\\(.)", lambda pair: pair[1] or "'", value[1:-1])
            yield found.group(1).lower(), value


def in_force(*paths: str) -> dict[str, str]:
    """What configuration files say, with all that they include, in the order in which the server reads them: the last one of a name
    counts. What cannot be read is not told."""
    found: dict[str, str] = {}
    for path in paths:
        for name, value in _read(path, 0):
            found.pop(name, None)
            found[name] = value
    return found


def _read(path: str, depth: int) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except OSError:
        return
    for name, value in parsed(text):
        if name not in _INCLUDES:
            yield name, value
            continue
        inner = os.path.join(os.path.dirname(path), value)
        if depth >= _DEPTH:
            continue
        if name != "include_dir":
            yield from _read(inner, depth + 1)
        elif os.path.isdir(inner):
            for entry in sorted(os.listdir(inner)):
                if entry.endswith(".conf") and not entry.startswith("."):
                    yield from _read(os.path.join(inner, entry), depth + 1)


def included_directories(text: str) -> list[str]:
    """The relative directories that a postgresql.conf includes: the server does not start without them."""
    found = re.findall(r"^\s*include_dir(?:\s*=\s*|\s+)'?([^'#\n]+?)'?\s*(?:#.*)?$", text, re.MULTILINE | re.IGNORECASE)
    return [name for name in found if not name.startswith("/")]


def private_settings(socket_directory: str, hba_file: str, keep_archiving: bool) -> dict[str, str]:
    """What keeps a server to itself while it recovers: nobody reaches it, and it reaches nobody: it archives nothing, runs no
    program, and no subscription of it fetches anything. Its log goes to where it is read.

    ``keep_archiving``: it will archive again, so it remembers what is to be archived then. The history of the timeline that it
    begins is marked in that very moment, or never, and without it the archive leads nobody there."""
    archiving = {"archive_mode": "on", "archive_command": "", "archive_library": ""} if keep_archiving else {}
    return {
        "listen_addresses": "",
        "unix_socket_directories": socket_directory,
        "unix_socket_permissions": "0700",
        "hba_file": hba_file,
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
        "hot_standby": "on",
        "ssl": "off",
        "ssl_passphrase_command": "",
        **archiving,
    }
