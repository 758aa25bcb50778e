# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a program failed, out of what it said. Pure."""

from __future__ import annotations

import re

_MOST = 12  # lines
# Go's panics begin with their cause, and end with a stack that may have hundreds of lines.
_PANIC = re.compile(r"(panic|fatal error): ")
_STACK = re.compile(r"goroutine \d+ |\s*$|\t|runtime\.|main\.|created by ")
_TELLING = re.compile(r"\b(ERROR|FATAL|PANIC|CRITICAL)\b|\berror: ")


def cause(said: str) -> str:
    """The lines that tell why: of a panic its beginning, with the error before it; else the end, with the first error where that is
    not in it."""
    lines = said.splitlines()
    panic = next((number for number, line in enumerate(lines) if _PANIC.match(line)), None)
    if panic is not None:
        told = [line for line in lines[:panic] if _TELLING.search(line)][-1:]
        for line in lines[panic : panic + 4]:
            if _STACK.match(line):
                break
            told.append(line)
        return "\n".join(told)
    end = lines[-_MOST:]
    first = next((line for line in lines if _TELLING.search(line)), None)
    return "\n".join(end if first is None or first in end else [first, "…", *end])
