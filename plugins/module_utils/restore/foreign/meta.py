# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands to psql itself: which of them a script may hold, as they can be left out. Pure.

Source: https://www.postgresql.org/docs/current/app-psql.html
"""

from __future__ import annotations

import re
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import Meta

_CONNECT = re.compile(
    r'(?:-reuse-previous=\w+\s+)?(?:"dbname=\'((?:[^\'\\]|\\.)*)\'"|"((?:[^"]|"")+)"|\'((?:[^\'\\]|\'\')+)\''
    r"|([^\s'\"`\\:=-][^\s'\"`\\:=]*?);*)(?:\s+-){0,3}[\s;]*"
)
_CONNINFO = re.compile(r"dbname=([^\s'=\\]+)")
_KEY = re.compile(r"[A-Za-z0-9]+\s*")
# What steers how psql shows things, or ends at errors, which we decide. A backtick would run a program, a backslash begin another command.
_SHOWS = ("echo", "qecho", "warn", "timing", "pset", "x", "t", "a", "unset")
_STEERS = re.compile(
    r"(ON_ERROR_STOP|ON_ERROR_ROLLBACK|ECHO|ECHO_HIDDEN|QUIET|VERBOSITY|SHOW_CONTEXT|HISTCONTROL)(\s+\w+)?\s*"
)


def database_of(item: Meta) -> Optional[str]:
    """Where ``\\connect`` leads, by the same user and server; None: it is another command, or leads elsewhere."""
    if not item.alone or item.name not in ("connect", "c"):
        return None
    found = _CONNECT.fullmatch(item.argument)
    if found is None:
        return None
    text, quoted, single, plain = found.groups()
    if text is not None:
        return re.sub(r"\\(.)", r"\1", text.replace('""', '"'))
    name = quoted.replace('""', '"') if quoted else single.replace("''", "'") if single else plain
    if "=" not in name:
        return str(name)
    conninfo = _CONNINFO.fullmatch(name)  # psql takes it for a connection string
    return conninfo.group(1) if conninfo else None


def can_be_left_out(item: Meta) -> bool:
    """Whether a command means nothing to what is restored."""
    if not item.alone or re.search(r"[`\\]", item.argument):
        return False
    if item.name in ("restrict", "unrestrict"):  # ours stand in their place
        return _KEY.fullmatch(item.argument) is not None
    if item.name == "encoding":
        return re.fullmatch(r"\w+\s*", item.argument) is not None
    return item.name in _SHOWS or (item.name == "set" and _STEERS.fullmatch(item.argument) is not None)
