# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an ``archive_command`` keeps WAL safe, as far as its text tells. Pure.

Source: https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-ARCHIVING-WAL
"""

from __future__ import annotations

import re

from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import ENGINES

_NOTHING = r"^\s*(/bin/|/usr/bin/)?(true|:|exit\s+0|cd\s+\.|echo\b[^|>;&]*)\s*$"


def engine_of(command: str) -> str:
    """The engine that a command belongs to, by its row in engine_table.py; nothing where it is none's."""
    for name, row in ENGINES.items():
        if row.pushes and re.search(rf"\b({row.pushes})", command):
            return name
    return ""


def keeps_nothing(command: str) -> bool:
    """Whether a command is there that archives nothing at all: to replace it loses nothing."""
    return not command.strip() or re.match(_NOTHING, command.strip()) is not None


def judge(command: str) -> list[str]:
    """What is wrong with a command; nothing when all that can be seen is right."""
    text = command.strip()
    if not text:
        return ["it is empty: WAL piles up until the disk is full"]
    if re.match(_NOTHING, text):
        return [
            "it archives nothing and says that it did: WAL is lost, and no moment after the last backup can be reached"
        ]
    problems = []
    if re.search(r"(\|\|\s*(true|:|exit\s+0)|;\s*(true|:|exit\s+0))\s*$", text):
        problems.append("it reports success whatever happened, so a segment that was not archived is removed")
    if engine_of(text):
        return problems
    if "%p" not in text:
        problems.append("it has no %p, so it does not read the segment")
    if "%f" not in text:
        problems.append("it has no %f, so every segment would get the same name")
    guarded = re.search(
        r"(test|\[)\s+!\s+-[ef]|\[\s+-e|--ignore-existing|\bmv\s+-n|\bln\s|set\s+-C|--if-none-match", text
    )
    writes = re.search(r"\b(cp|mv|scp|rsync|dd|gzip|zstd|lz4|xz|install|tar|aws|az|gsutil|gcloud|mc|rclone)\b|>", text)
    if re.search(r"\bcp\s+(-\w*[in]\w*\s)", text) and not re.search(r"\[\s+!|test\s+!|\bcmp\b", text):
        problems.append("cp -i and cp -n report success when the file is there already with other content")
    elif writes and not guarded:
        problems.append(
            "it overwrites a segment that is there already: that of another server, or another timeline's history"
        )
    local = re.search(r"\b(cp|mv|dd|gzip|zstd|lz4|xz|install|rsync)\b|>", text)
    if local and not re.search(r"\bsync\b|fsync|--fsync", text):
        problems.append(
            "it does not flush to the disk (sync, dd conv=fsync), so a crash loses what was reported as archived"
        )
    return problems
