# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of this host, and running programs as another one. In a container a user id need not have a name: its number stands for it then."""

from __future__ import annotations

import os
import pwd
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption


def as_user(name: Optional[str]) -> dict[str, Any]:
    """Arguments of ``subprocess`` that run a program as a user; none when that is who we are.

    Raises:
        BadOption: there is no such user, or we are not root and may not become it.
    """
    if name is None:
        return {}
    try:
        entry = account(name)
    except KeyError as exc:
        raise BadOption("owner", name, "is no user of this host", "Name the one who owns the data directory.") from exc
    if entry.pw_uid == os.geteuid():
        return {}
    if os.geteuid() != 0:
        raise BadOption(
            "owner", name, "is not who runs this module", f"Use become: true with become_user: {name}, or root."
        )
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}


def account(name: str) -> pwd.struct_passwd:
    """A user's entry; of a number that no name belongs to one with our group and HOME. Raises KeyError: there is no such user."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        if not (name.isascii() and name.isdigit()):
            raise
    try:
        return pwd.getpwuid(int(name))
    except KeyError:
        home = os.environ.get("HOME", "/") if int(name) == os.geteuid() else "/"
        return pwd.struct_passwd((name, "x", int(name), os.getegid(), "", home, "/bin/sh"))


def name_of(uid: int) -> str:
    """The name of a user (the number where it has none)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def owner_of(path: str) -> str:
    """The name of the user who owns a file (its number where it has none)."""
    return name_of(os.stat(path).st_uid)
