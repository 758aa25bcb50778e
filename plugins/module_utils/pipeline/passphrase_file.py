# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a passphrase: made once, and rotated. A former passphrase is kept beside it, as the backups that it encrypted need it."""

from __future__ import annotations

import datetime
import os
import pwd
import secrets
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.passphrase import clean

_RANDOM = 32  # bytes, as many as the key of AES-256 has
_DIRECTORY = 0o750


@dataclass(frozen=True)
class Change:
    """What is done. ``passphrase``: the new one (None: nothing is changed); ``former``: where the former one is kept."""

    plan: list[str]
    passphrase: Optional[str] = None
    former: Optional[str] = None


def present(path: str, owner: Optional[str], check: bool) -> Change:
    """Make a passphrase where there is none.

    Raises:
        BadOption: what is there is no passphrase.
        ToolError: it cannot be written.
    """
    if _read(path) is not None:
        return Change([])
    plan = [f"make a passphrase of {_RANDOM} random bytes in {path}, mode 0600"]
    return Change(plan, None if check else _put(path, owner))


def rotated(path: str, owner: Optional[str], least_age: int, now: datetime.datetime, check: bool) -> Change:
    """Put a new passphrase in the place of one that is older than ``least_age`` seconds; the former is kept first.

    Raises:
        BadOption: there is none, or what is there is no passphrase, or it is another user's, who reads it for their own backups.
        ToolError: it cannot be written.
    """
    old = _read(path)
    if old is None:
        raise BadOption(
            "path", path, "is not there, so that there is nothing to rotate", "Make it first: state present."
        )
    owner = _holder(path, owner)
    if now.timestamp() - os.stat(path).st_mtime < least_age:
        return Change([])
    former = f"{path}.until-{now:%Y%m%dT%H%M%SZ}"
    plan = [f"keep the former passphrase in {former}", f"make a new one of {_RANDOM} random bytes in {path}"]
    if check:
        return Change(plan, former=former)
    files.put(former, old + b"\n", owner)
    return Change(plan, _put(path, owner), former)


def former_ones(path: str) -> list[str]:
    """Files of former passphrases beside this one, the newest first."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        return sorted(
            (os.path.join(folder, one) for one in os.listdir(folder) if one.startswith(f"{name}.until-")), reverse=True
        )
    except OSError:
        return []


def _read(path: str) -> Optional[bytes]:
    try:
        return clean(files.read(path, 4096), "path", path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise BadOption("path", path, f"cannot be read: {exc.strerror}", "Name the file of the passphrase.") from exc


def _holder(path: str, owner: Optional[str]) -> str:
    """Whose the file stays: theirs who have it now. Root's may be given to the one who is named."""
    uid = os.stat(path).st_uid
    try:
        holder = pwd.getpwuid(uid).pw_name
    except KeyError as exc:
        raise BadOption(
            "path", path, f"belongs to the user id {uid}, which is no user's here", "Give it to its user by chown."
        ) from exc
    if owner and uid != 0 and owner != holder:
        raise BadOption(
            "owner",
            owner,
            f"is not who has {path}: that is {holder}, who could not read it any more",
            "Give the backups of each user a passphrase file of their own. Nothing was changed.",
        )
    return owner or holder


def _put(path: str, owner: Optional[str]) -> str:
    made = secrets.token_urlsafe(_RANDOM)
    files.put(path, f"{made}\n", owner, folder_mode=_DIRECTORY)
    return made
