# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would keep a standby from following though it was made: looked for before anything is copied, stopped or rewound."""

from __future__ import annotations

import os
import re
import shutil
import struct
import tempfile
from collections.abc import Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, run_as
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.upstream import Upstream
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.watch import AT_LEAST
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.names import history_name


def check_capacity(instance: Instance, settings: Mapping[str, str], upstream: Upstream) -> None:
    """Raises BadOption: the standby, by its own configuration and ``settings``, has less of what its primary has: it would not start, or
    stop replaying."""
    given = {name.lower(): value for name, value in settings.items()}
    for name in AT_LEAST:
        wanted, own = int(upstream.setting(name) or 0), _number(given.get(name) or _configured(instance, name))
        if own is not None and own < wanted:
            raise BadOption(
                "settings",
                f"{name}: {own}",
                f"is less than on {upstream}, which has {wanted}: no standby replays with less",
                f"Set it by settings (holdfast_standby_settings), or in {instance.configuration or instance.directory + '/postgresql.conf'}.",
            )


def _configured(instance: Instance, name: str) -> Optional[str]:
    argv = [instance.program("postgres"), "-D", instance.directory, "-C", name]
    argv += ["-c", f"config_file={instance.configuration}"] if instance.configuration else []
    done = run_as(instance.owner, argv, timeout=30)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else None


def _number(text: Optional[str]) -> Optional[int]:
    return int(text) if text is not None and re.fullmatch(r"\d+", text.strip()) else None


def check_passage(config_dir: str, owner: str) -> None:
    """Raises BadOption: the owner cannot get to a file in the directory, where the standby's password is to be."""
    if os.path.isdir(config_dir) and run_as(owner, ["test", "-x", config_dir]).returncode:
        raise BadOption(
            "config_dir",
            config_dir,
            f"cannot be entered by {owner}, so that the standby could not read the password for the primary there",
            f"chmod o+x {config_dir}, or name another directory.",
        )


def check_archive(
    restore_command: Optional[str], server_name: str, owner: str, upstream: Upstream, warnings: list[str]
) -> None:
    """The archive that the standby would read from, under ``server_name``.

    Raises:
        BadOption: it is another server's.
        ServerError: it leads the standby elsewhere: a standby asks the archive for a timeline that is newer than its primary's, and follows
            that one if there is one, such as of a clone that archived into it.
    """
    if not restore_command:
        return
    last = upstream.last_archived()
    if last is not None:
        found = _first_bytes(restore_command, last, owner)
        whose = system_id_in(found) if found else None
        if whose not in (None, upstream.system_id):
            raise BadOption(
                "server_name",
                server_name,
                f"names another server's archive: its {last} is of the system {whose}, and {upstream} is {upstream.system_id}",
                "Give the primary's (holdfast_server_name), which is not this host's where they differ.",
            )
        if found is None:
            warnings.append(
                f"The archive of {server_name!r} does not have {last}, which {upstream} archived last: is that its server_name, and this its "
                "repository? Otherwise the standby finds nothing there."
            )
    name = history_name(upstream.position().timeline + 1)
    if _first_bytes(restore_command, name, owner):
        raise ServerError(
            f"The WAL archive has {name}, a timeline that {upstream} is not on: another server, such as a clone or one that was promoted, "
            "archived there. A standby with this archive would take that way, and never follow. Name that server as the primary if it is one; "
            "else take its files out of the archive, or leave the repository out."
        )


def _first_bytes(restore_command: str, name: str, owner: str) -> Optional[bytes]:
    """The beginning of a file of the archive, fetched as PostgreSQL does; None: it has none of that name."""
    with tempfile.TemporaryDirectory(prefix="holdfast-", dir="/tmp") as space:
        shutil.chown(space, owner)
        path = os.path.join(space, "fetched")
        done = run_as(owner, ["sh", "-c", filled_in(restore_command, name, path)], timeout=60)
        if done.returncode or not os.path.exists(path):
            return None
        with open(path, "rb") as stream:
            return stream.read(64) or None


def system_id_in(segment: bytes) -> Optional[str]:
    """Which server wrote a WAL segment, by the long header of its first page; None: there is none. Pure.
    Source: src/include/access/xlog_internal.h (XLogLongPageHeaderData)"""
    if len(segment) < 32:
        return None
    _magic, info, _timeline, _address, _rest, system = struct.unpack_from("=HHIQI4xQ", segment)
    return str(system) if info & 2 else None


def filled_in(command: str, name: str, path: str) -> str:
    """A restore_command with a file's name and where to put it. Pure.
    Source: https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-RESTORE-COMMAND"""
    values = {"%f": name, "%p": path, "%r": "0" * 24, "%%": "%"}
    return re.sub("%[fpr%]", lambda found: values[found[0]], command)
