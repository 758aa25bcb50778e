# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is made of. Kind: an archive with what only those have who work on it (tests, caches, secrets that lie about), or without what
users need (a playbook in a folder of its own, extensions, pages). integration/test_release.py installs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.galaxy_check import TOP
from tools.release import VERSION, built, copied, listed, strangers, versioned

LITTER = (
    ".env", "roles/backup/.secret", "changelogs/.plugin-cache.yaml", "plugins/modules/__pycache__/x.pyc", "tests/x", ".github/workflows/x.yml",
    "holdfast-postgres-0.1.0.tar.gz",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The sources of a release, and what its archive has; what lay about there is gone."""
    copy = copied(tmp_path_factory.mktemp("release") / "source")
    versioned(copy, "1.0.0-beta")
    for litter in LITTER:
        (copy / litter).parent.mkdir(parents=True, exist_ok=True)
        (copy / litter).touch()
    files = listed(built(copy, copy.parent / "out"))
    for litter in LITTER:
        (copy / litter).unlink()
    return copy, files


def test_it_has_what_users_need_and_nothing_else(made: tuple[Path, list[str]]) -> None:
    copy, files = made
    assert strangers(files, copy) == []
    assert not [
        name for name in files if name.startswith(("tests/", ".", "Makefile")) or "/." in name or name.endswith(".pyc")
    ]
    for needed in (
        "plugins/modules/pg_backup.py", "playbooks/restore.yml", "extensions/awx/workflows.yml", "docs/guide.md", "meta/runtime.yml",
    ):  # fmt: skip
        assert needed in files


def test_strangers_are_named(made: tuple[Path, list[str]]) -> None:
    copy, files = made
    others = [*(name for name in files if name != "README.md"), "tests/x.py"]
    assert strangers(others, copy) == ["it has tests/x.py", "it lacks README.md"]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("1.0.0", True),
        ("1.0.0-beta", True),
        ("1.0.0-rc.1", True),
        ("1.0", False),
        ("01.0.0", False),
        ("v1.0.0", False),
        ("1.0.0 ", False),
    ],
)
def test_versions(text: str, good: bool) -> None:
    assert bool(VERSION.fullmatch(text)) is good


def test_the_checkouts_own_version_is_one() -> None:
    (line,) = [line for line in (TOP / "galaxy.yml").read_text().splitlines() if line.startswith("version: ")]
    assert VERSION.fullmatch(line.removeprefix("version: "))
