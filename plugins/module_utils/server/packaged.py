# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers as Debian's packages lay them out: the configuration in ``/etc/postgresql/VERSION/NAME``, which says where the data is. One that was
never started, or whose data is gone, is found there all the same (pg_createcluster(1))."""

from __future__ import annotations

import glob
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import LocalFiles, read_settings

#: the user as whom packages run servers
USER = "postgres"


@dataclass(frozen=True)
class Packaged:
    """One of them: its data directory, its postgresql.conf and its port."""

    data_directory: str
    configuration: str
    port: int


def packaged(root: str = "") -> list[Packaged]:
    """Those of this host; with a ``root``, those below it. What cannot be read is left out."""
    found = []
    for path in sorted(glob.glob(f"{glob.escape(root)}/etc/postgresql/*/*/postgresql.conf")):
        configuration = path[len(root) :]
        settings = read_settings(LocalFiles(root), [configuration]).settings
        data, port = settings.get("data_directory", ""), settings.get("port", "5432")
        if os.path.isabs(data) and port.isdigit():
            found.append(Packaged(data, configuration, int(port)))
    return found


def data_directory_of(found: Sequence[Packaged], port: Optional[int]) -> str:
    """Where a host's one server has its data, or the one at that port.

    Raises:
        BadOption: there is none, or there are several.
    """
    meant = [one for one in found if one.port == port] if port is not None and len(found) > 1 else list(found)
    if len(meant) == 1:
        return meant[0].data_directory
    if not found:
        raise BadOption(
            "data_directory",
            None,
            "is missing, and this host has no server in /etc/postgresql that would tell",
            "Name the directory that the server's data is in, or is to be put into.",
        )
    there = ", ".join(f"{one.data_directory} (port {one.port})" for one in found)
    raise BadOption(
        "data_directory", None, f"is missing, and this host has several: {there}", "Name the one that is meant."
    )


def configuration_for(found: Sequence[Packaged], data_directory: str) -> Optional[str]:
    """The postgresql.conf outside that is this directory's; None: there is none."""
    same = os.path.realpath(data_directory)
    return next((one.configuration for one in found if os.path.realpath(one.data_directory) == same), None)


def package_user() -> Optional[str]:
    """The user of the packages' servers, where there is one."""
    try:
        return pwd.getpwnam(USER).pw_name
    except KeyError:
        return None
