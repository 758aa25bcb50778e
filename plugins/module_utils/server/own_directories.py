# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories of this host that are a server's owner's, below ones that are root's.

What archives runs as the owner of its server, and reads a configuration; what root's schedules run lies beside it. Who owns a directory can
put another in the place of anything in it. So ``/etc/holdfast`` is root's, and in it each owner of servers has a directory of its own: nobody
can replace what root runs, or what archives another owner's server.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.users import account, name_of

#: of configurations and secrets; in it one by the name of each owner. The role archive makes them as root (its tasks/directories.yml).
CONFIGURATIONS = "/etc/holdfast/servers"
#: of what engines run in the background with, and of what they log, in the same way
SPOOLS, LOGS = "/var/spool/holdfast", "/var/log/holdfast"


def config_dir(params: Mapping[str, Any], owner: str) -> str:
    """The directory of the configurations of ``owner``'s servers: the option ``config_dir``, else the owner's own."""
    return str(params.get("config_dir") or os.path.join(CONFIGURATIONS, owner))


def config_dirs(params: Mapping[str, Any]) -> list[str]:
    """The same where the owner is not known: the option, else those of all owners that are there."""
    given = params.get("config_dir")
    return [str(given)] if given else sorted(glob.glob(os.path.join(glob.escape(CONFIGURATIONS), "*")))


def make_config_dir(path: str, owner: str, check: bool = False) -> None:
    """Make the directory the owner's, and those above it that are missing ours, unless ``check``. One that is there stays as it is.

    Raises:
        BadOption: it is missing, and we may not make it, or is there, and we may not write into it; in check mode too.
    """
    refused = _refused(path, owner)
    if refused is None and not check:
        try:
            files.make_directory(path, owner, 0o755, ours_above=True)
        except ToolError as exc:
            refused = f"is not there, and cannot be made ({exc.__cause__})"
    if refused is not None:
        raise BadOption(
            "config_dir",
            path,
            refused,
            f"Nothing was changed. Run the play as root (-b, or holdfast_become_user: root), which makes it for {owner}; or name a directory "
            f"of {owner}'s own by holdfast_config_dir.",
        )


def plan_config_dir(path: str, owner: str) -> str:
    """What a plan adds to what is to be written into the directory: that a run would be refused, unless root makes the directory before, as the
    roles do where they are root. Empty: nothing is in the way."""
    refused = _refused(path, owner)
    return (
        ""
        if refused is None
        else f"; as it is now a run would be refused, unless root makes it before: config_dir {path} {refused}"
    )


def _refused(path: str, owner: str) -> Optional[str]:
    """Why nothing can be written into a directory, or it cannot be made, as far as that is seen without trying; None: nothing is in the way."""
    me = name_of(os.geteuid())
    above = os.path.abspath(path)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        return f"is not there, and cannot be made: {above} is no directory"
    writable = os.access(above, os.W_OK | os.X_OK, effective_ids=True)
    if os.path.isdir(path):
        return None if writable else f"is there, and {me} cannot write into it"
    if not writable:
        return f"is not there, and {me} cannot make it (permission denied in {above})"
    if os.geteuid() not in (0, account(owner).pw_uid):
        return f"is not there, and {me} cannot make it for {owner}"
    return None
