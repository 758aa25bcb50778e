# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a user id that has no name, as containers have them (OpenShift gives each namespace its own). Members: who we are, whose a directory is,
as whom a program runs, who owns a file that is written. Found: `KeyError: getpwuid(): uid not found`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils import files, users
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.server import own_directories
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import data_owner

NOBODY = 1000730000  # as OpenShift counts


@pytest.fixture
def nameless(tmp_path: Path) -> Path:
    os.chown(tmp_path, NOBODY, 0)
    for above in tmp_path.parents:
        if above != Path("/tmp") and above.is_relative_to("/tmp"):
            above.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which root alone can")
def test_a_user_without_a_name(nameless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(nameless))
    assert users.owner_of(str(nameless)) == str(NOBODY)
    os.seteuid(NOBODY)
    try:
        assert users.name_of(os.geteuid()) == str(NOBODY) == data_owner(str(nameless / "data"))
        assert users.account(str(NOBODY)).pw_dir == str(nameless) and users.as_user(str(NOBODY)) == {}
        assert own_directories.plan_config_dir(str(nameless / "etc"), str(NOBODY)) == ""
        assert "cannot write into it" in own_directories.plan_config_dir("/etc", str(NOBODY))
    finally:
        os.seteuid(0)
    made = nameless / "made"
    files.mkdir(str(made), owner=str(NOBODY))
    assert made.stat().st_uid == NOBODY
    as_them = users.as_user(str(NOBODY))
    assert as_them["user"] == NOBODY


@pytest.mark.parametrize("name", ["no-such-user", "-5", "²"])
def test_a_name_that_is_nobodys(name: str) -> None:
    with pytest.raises(BadOption, match="no user of this host"):
        users.as_user(name)
