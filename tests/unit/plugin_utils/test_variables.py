# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A misspelt variable is noticed, and what was meant is said; others' variables are left alone."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import (
    in_variables,
    known_names,
    meant,
    option_names,
    unknown,
)

KNOWN, OPTIONS = known_names(), option_names()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("holdfast_encription", "holdfast_encryption"),
        ("holdfast_databases", "holdfast_backup_databases"),
        ("holdfast_backup_retention", "holdfast_retention"),
        ("holdfast_restore_data_directory", "holdfast_data_directory"),
        ("holdfast_Engine", "holdfast_engine"),
        ("holdfast_archive_engine", "holdfast_engine"),
        ("holfast_encryption", "holdfast_encryption"),
        ("holdfast_restore_target", "holdfast_restore_target_db"),
    ],
)
def test_misspelt(name: str, other: str) -> None:
    (sentence,) = unknown([name], KNOWN, OPTIONS)
    assert f"no variable {name}." in sentence and other in meant(name, OPTIONS) and other in sentence


@pytest.mark.parametrize(
    "name",
    [
        "holdfast_encryption",
        "holdfast_hosts",
        "holdfast_restore",
        "holdfast_backups",
        "hostvars",
        "hold",
        "my_encription",
        "home",
    ],
)
def test_fine(name: str) -> None:
    assert unknown([name], KNOWN, OPTIONS) == []


def test_one_of_the_users_own() -> None:
    assert unknown(["holdfast_our_bucket"], KNOWN, OPTIONS, ["holdfast_our_bucket"]) == []
    assert "ignore_variables" in unknown(["holdfast_our_bucket"], KNOWN, OPTIONS)[0]


@pytest.mark.parametrize(
    ("role", "message", "read"),
    [
        ("restore", "force: True needs confirm. Name it: confirm: [shop].", "holdfast_restore_force: True needs confirm. "
         "Name it: holdfast_restore_confirm: [shop]."),
        ("recover", "data_directory: '/a' is not empty. force: true", "holdfast_data_directory: '/a' is not empty. holdfast_recover_force: true"),
        ("backup", "repository.bucket: 'x' is no name", "holdfast_repository.bucket: 'x' is no name"),
        ("promote", "see state: verified; /force: no-force: my.force: ", "see state: verified; /force: no-force: my.force: "),
    ],
)  # fmt: skip
def test_a_modules_message_in_a_role(role: str, message: str, read: str) -> None:
    arguments = ["force", "confirm", "data_directory", "repository", "state"]
    assert in_variables(message, role, arguments, OPTIONS) == read
