# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: good because the last program ended with 0. Members: one that ends before its input does, in what is stored and in what is read;
one that failed by itself behind such a one. Found: what was stored was cut, and the first failure was forgotten with the broken pipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, run, store
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository

ENDLESS = Command(["cat", "/dev/zero"])
EARLY = Command(["head", "-c", "10"])
FAILS = Command(["sh", "-c", "head -c 1000000 /dev/zero; exit 3"])


def test_what_is_stored_was_read_to_its_end(tmp_path: Path) -> None:
    repository = FileRepository(str(tmp_path))
    with pytest.raises(ToolError):
        store([ENDLESS, EARLY], repository.sink("dump"), lambda made, out: None)
    assert repository.stat("dump") is None


def test_who_reads_may_end_early() -> None:
    assert run([ENDLESS, EARLY]) == bytes(10)


def test_a_failure_is_not_forgotten_with_a_broken_pipe() -> None:
    with pytest.raises(ToolError, match="3"):
        run([FAILS, Command(["cat", "-", "/dev/zero"]), Command(["head", "-c", "2000000"])])
