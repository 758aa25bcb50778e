# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fenced blocks of a page, in order: files to write, and commands to type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# (?P<name>[\w.-]+)(?:[,:].*)?$")


@dataclass(frozen=True)
class Block:
    """One fenced block. ``name``: the file that its first line says it is, or empty."""

    page: str
    line: int
    heading: str
    language: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_commands(self) -> bool:
        """What a person types."""
        return self.language == "sh"


def blocks(page: Path) -> list[Block]:
    """All of a page, from its top."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        indent = len(match["indent"])
        body = "".join(line[indent:] if line.strip() else line for line in match["text"].splitlines(keepends=True))
        named = _NAME.match(body.partition("\n")[0])
        headings = re.findall(r"^#+ (.*)$", re.sub(_BLOCK, "", text[: match.start()]), re.MULTILINE)
        found.append(
            Block(
                page.name,
                text.count("\n", 0, match.start()) + 1,
                headings[-1] if headings else "",
                match["language"],
                named["name"] if named else "",
                body,
            )
        )
    return found
