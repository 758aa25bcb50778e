# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a setting that no file can overrule, as it stands on the command line.

Members: -c with the setting as the next word, in one word, with two dashes, with a hyphen; within a shell's text, quoted or not; what only sounds so.
"""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.arguments import in_text, overruled


@pytest.mark.parametrize(
    "words, made",
    [
        (["postgres", "-c", "archive_mode=on"], ["postgres", "-c", "archive_mode=off"]),
        (["-carchive_mode=always"], ["-carchive_mode=off"]),
        (["--archive-mode=on", "--work-mem=4MB"], ["--archive-mode=off", "--work-mem=4MB"]),
        (["-c", "archive_command=cp %p /a/%f"], ["-c", "archive_command=cp %p /a/%f"]),
        (["-c", "synchronous_standby_names=ANY 1 (a, b)"], ["-c", "synchronous_standby_names="]),
        (
            ["-c", "shared_preload_libraries=pg_cron, pg_stat_statements"],
            ["-c", "shared_preload_libraries=pg_stat_statements"],
        ),
        (["archive_mode=on"], ["archive_mode=on"]),
        (
            ["bash", "-c", "exec postgres -c archive_mode=on -c work_mem=4MB"],
            ["bash", "-c", "exec postgres -c archive_mode=off -c work_mem=4MB"],
        ),
    ],
)
def test_a_command(words: list[str], made: list[str]) -> None:
    assert overruled(words) == made


@pytest.mark.parametrize(
    "text, made",
    [
        ("-c 'archive_mode=on'", "-c 'archive_mode=off'"),
        ("-c archive_mode='on' -D /d", "-c archive_mode='off' -D /d"),
        ('postgres -c "shared_preload_libraries=pg_cron"; x', 'postgres -c "shared_preload_libraries="; x'),
        ("-c synchronous_standby_names=a -D /d", "-c synchronous_standby_names='' -D /d"),
        ("archive_mode = on", "archive_mode = on"),
        ("--my-archive_mode=on", "--my-archive_mode=on"),
    ],
)
def test_a_text(text: str, made: str) -> None:
    assert in_text(text) == made
