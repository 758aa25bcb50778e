# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server that was laid out can start as it is configured: asked before the old one is stopped, not found out afterwards."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance, may, run_as


def require_readable(instance: Instance) -> None:
    """PostgreSQL itself reads the configuration, without starting. Raises ServerError: it does not take it."""
    argv = [instance.program("postgres"), "-D", instance.directory, "-c", f"data_directory={instance.directory}"]
    if instance.configuration:
        argv += ["-c", f"config_file={instance.configuration}"]
    done = run_as(instance.owner, [*argv, "-C", "port"], timeout=60)
    if done.returncode:
        told = " / ".join(line.strip() for line in done.stdout.splitlines()[-8:])
        raise ServerError(
            f"The restored server would not start: PostgreSQL does not take its configuration: {told}. Nothing was stopped. Name a "
            "config_file that it takes, or another value (settings)."
        ) from ToolError.failed(done.args, done.returncode, done.stdout)


def lacking(settings: Mapping[str, str], owner: str) -> list[str]:
    """What the server needs of this host beside its files, and has not: sentences. ``settings`` are those that count."""
    value = settings.get("unix_socket_directories")
    folders = [part.strip().strip('"') for part in (value or "").split(",") if part.strip()]
    folders = [part for part in folders if os.path.isabs(part)]
    if not folders or any(may(owner, "-w", part) for part in folders):
        return []
    return [
        f"unix_socket_directories is {value}, where {owner} can make no socket (not there, or not writable): make it, or name another "
        "one: settings: {unix_socket_directories: /tmp}."
    ]


def require(missing: Sequence[str], start: bool, warnings: list[str]) -> None:
    """Raises ServerError: something is missing. Where nobody starts it here (``start``), it is told in ``warnings``."""
    if missing and start:
        raise ServerError(
            f"The restored server would not start on this host. {' '.join(missing)} Nothing was stopped. Put it there, or name a "
            "config_file of your own."
        )
    warnings += [f"The server will not start before this is mended: {text}" for text in missing]


def taken_by(port: int, socket_directories: str) -> Optional[str]:
    """Where another server listens on this port; None: nowhere. A server that only has a socket keeps its name from others too."""
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 2):
        return f"localhost:{port}"
    for folder in (part.strip().strip('"') for part in socket_directories.split(",")):
        path = os.path.join(folder, f".s.PGSQL.{port}")
        if not folder.startswith("/"):
            continue
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            probe.connect(path)
            return path
    return None
