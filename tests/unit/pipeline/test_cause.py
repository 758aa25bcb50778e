# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of a program's panic the cause is told, which is its first line, and not the end of a stack (CASES 2.20)."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.cause import cause

STACK = "\n\ngoroutine 1 [running]:\nmain.main()\n" + "\n".join(f"\t/go/src/x.go:{line} +0x1" for line in range(400))
KEY = "panic: openpgp encryption error: cannot encrypt a message to key id 1 because it has no valid encryption keys"
ERROR = "ERROR: 2026/11/25 20:32:27.249507 Access denied"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (KEY + STACK, KEY),
        (f"INFO: begins\n{ERROR}\n{KEY}{STACK}", f"{ERROR}\n{KEY}"),
        ("panic: runtime error: index out of range\n[signal SIGSEGV]" + STACK, "panic: runtime error: index out of range\n[signal SIGSEGV]"),
        ("fatal error: out of memory" + STACK, "fatal error: out of memory"),
        ("one\ntwo", "one\ntwo"),
        ("", ""),
        (ERROR + "\nafter" * 30, ERROR + "\n…" + "\nafter" * 12),
        ("x\n" * 30 + ERROR, "x\n" * 11 + ERROR),
    ],
)  # fmt: skip
def test_cause(said: str, told: str) -> None:
    assert cause(said) == told
