# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would keep a standby from following though it was made: looked for before anything is copied, stopped or rewound."""

from __future__ import annotations

import os
import re
import shutil
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


def check_archive(restore_command: Optional[str], owner: str, upstream: Upstream) -> None:
    """A standby asks the archive for a timeline that is newer than its primary's, and follows that one if there is one: a clone's, say, that
    archived into it. Raises ServerError."""
    if not restore_command:
        return
    name = history_name(upstream.position().timeline + 1)
    with tempfile.TemporaryDirectory(prefix="holdfast-", dir="/tmp") as space:
        shutil.chown(space, owner)
        path = os.path.join(space, "history")
        done = run_as(owner, ["sh", "-c", filled_in(restore_command, name, path)], timeout=60)
        found = done.returncode == 0 and os.path.exists(path) and os.path.getsize(path) > 0
    if found:
        raise ServerError(
            f"The WAL archive has {name}, a timeline that {upstream} is not on: another server, such as a clone or one that was promoted, "
            "archived there. A standby with this archive would take that way, and never follow. Name that server as the primary if it is one; "
            "else take its files out of the archive, or leave the repository out."
        )


def filled_in(command: str, name: str, path: str) -> str:
    """A restore_command with a file's name and where to put it. Pure.
    Source: https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-RESTORE-COMMAND"""
    values = {"%f": name, "%p": path, "%r": "0" * 24, "%%": "%"}
    return re.sub("%[fpr%]", lambda found: values[found[0]], command)
