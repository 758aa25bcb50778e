# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that a person typed for a plan, as the one that carries it out (pure)."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

# Flags of ansible-playbook that are written together, and take nothing.
_FLAGS = frozenset("bCDvkKJ")
_LOOKING = {"--check", "--diff"}
_SECRET = re.compile(r"pass|secret|token|key|credential|sas|sig=|://[^/\s]*:[^/\s]*@", re.IGNORECASE)


def command_line(argv: Sequence[str], consent: Mapping[str, Any]) -> str:
    """A line to paste. ``argv``: what was typed; ``consent``: variables that say that it is meant.

    Check mode goes, consent comes. What was typed as a variable and reads like a secret is an ellipsis: this line goes into logs.
    """
    line, value_of = [os.path.basename(argv[0])], ""
    for word in argv[1:]:
        if value_of or word.startswith("--extra-vars="):
            line.append(
                "…"
                if _SECRET.search(word) and not word.startswith("@") and value_of in ("-e", "--extra-vars", "")
                else word
            )
            value_of = ""
            continue
        if word in _LOOKING:
            continue
        if re.fullmatch(r"-[A-Za-z]+", word) and set(word[1:]) <= _FLAGS:
            word = "-" + "".join(letter for letter in word[1:] if letter not in "CD")
        elif re.fullmatch(r"-[A-Za-z]|--(extra-vars|inventory|limit|user|private-key)", word):
            value_of = word
        if word != "-":
            line.append(word)
    return f"{shlex.join(line)} -e {shlex.quote(json.dumps(dict(consent)))}"
