# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server is told on its command line takes precedence over every file: what would let a clone reach the server that it comes from is
overruled there (pure).

https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-SHELL
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.isolation import without_acting

_NAMES = r"archive[-_]mode|synchronous[-_]standby[-_]names|shared[-_]preload[-_]libraries"
# In a longer text, such as a shell's: -c name=value, -cname=value, --name=value, with quotes around the value or all of it.
_IN_TEXT = re.compile(
    rf"(?P<head>(?<!\S)(?:-c\s*|--)(?P<around>[\"']?)(?P<name>{_NAMES})=)(?P<value>\"[^\"]*\"|'[^']*'|[^\s;&|\"']*)"
)
_WHOLE = re.compile(rf"(?P<head>(?:-c\s*|--)?(?P<name>{_NAMES})=)(?P<value>.*)", re.S)


def overruled(words: Sequence[str]) -> list[str]:
    """The words of a command, with its arguments, in which the server archives nothing, waits for nobody, and has no library that acts by itself."""
    made: list[str] = []
    for word in words:
        whole = _WHOLE.fullmatch(word)
        after_c = bool(made) and made[-1] == "-c"
        if whole and (after_c or word.startswith(("-c", "--"))):
            made.append(whole["head"] + _value(whole["name"], whole["value"]))
        else:
            made.append(in_text(word))
    return made


def in_text(text: str) -> str:
    """A text that may be a command line, such as a variable or a script."""

    def new(match: re.Match[str]) -> str:
        value = match["value"]
        quote = value[:1] if value[:1] in "\"'" and len(value) > 1 else ""
        inner = _value(match["name"], value[1:-1] if quote else value)
        if not inner and not quote and not match["around"]:
            quote = "'"
        return f"{match['head']}{quote}{inner}{quote}"

    return _IN_TEXT.sub(new, text)


def _value(name: str, value: str) -> str:
    name = name.replace("-", "_")
    if name == "archive_mode":
        return "off"
    if name == "synchronous_standby_names":
        return ""
    return without_acting(value)[0]
