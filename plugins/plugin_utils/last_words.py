# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program, most often ansible-playbook, said when it failed: of all its lines those that tell why. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_FAILED_TASK = re.compile(r"^(?:fatal|failed): .*? => (?:\(item=.*?\) => )?(\{.*\})$", re.MULTILINE)
_ERROR = re.compile(r"\s*\[?(?:ERROR\b|error:)")
_MOST = 5  # lines of one that does not say which are its errors


def last_words(result: Mapping[str, Any]) -> str:
    """One sentence or several, of a result of the module command."""
    text = f"{result.get('stdout') or ''}\n{result.get('stderr') or ''}"
    found = [_message(match[1]) for match in _FAILED_TASK.finditer(text)]
    if not any(found):
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        found = [line for line in lines if _ERROR.match(line)] or lines[-_MOST:] or [str(result.get("msg") or "")]
    said = " ".join(dict.fromkeys(words for words in found if words)) or "It said nothing."
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _message(answer: str) -> str:
    try:
        found = json.loads(answer)
    except ValueError:
        return ""
    return " ".join(str(found.get("msg") or found.get("stderr") or "").split()) if isinstance(found, dict) else ""
