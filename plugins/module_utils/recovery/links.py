# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links of a data directory to what lies apart from it: tablespaces, by oid, and its WAL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.users import account

WAL = "pg_wal"


def _place(data: str, key: str) -> str:
    return os.path.join(data, *((WAL,) if key == WAL else ("pg_tblspc", key)))


def is_linked(data: str, key: str) -> bool:
    """Whether a data directory has a link to what lies apart from it."""
    return os.path.islink(_place(data, key))


def relink(data: str, apart: Mapping[str, str], owner: str, texts: Optional[Mapping[str, str]] = None) -> None:
    """Make the links of a data directory lead to what lies apart from it, as far as that is there."""
    entry = account(owner)
    for key, directory in apart.items():
        link = _place(data, key)
        if not os.path.isdir(directory) or not os.path.isdir(os.path.dirname(link)):
            continue
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink((texts or {}).get(key, directory), link)
        os.lchown(link, entry.pw_uid, entry.pw_gid)
