# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where configurations lie, by defaults: each owner's in a directory of its own, below ones that are root's.

The kind: who owns a directory can put something else in the place of all that is in it. Members: the directory of all configurations made the
owner's by the first standby, recovery or setup of a host, so that root's schedules below it were the owner's to replace, and a second owner's
server could not be set up; not there, and not ours to make (a raw PermissionError).
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.server import own_directories

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes other users' directories")
OWNERS = ("nobody", "daemon")


@root
def test_each_owner_has_its_own_and_what_is_above_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_directories, "CONFIGURATIONS", str(tmp_path / "etc" / "servers"))
    assert own_directories.config_dirs({}) == []
    for owner in OWNERS:
        path = own_directories.config_dir({"config_dir": None}, owner)
        for _again in range(2):
            own_directories.make_config_dir(path, owner)
        assert os.stat(path).st_uid == pwd.getpwnam(owner).pw_uid
    for above in (tmp_path / "etc", tmp_path / "etc" / "servers"):
        assert above.stat().st_uid == 0 and stat.S_IMODE(above.stat().st_mode) == 0o755
    assert own_directories.config_dirs({}) == [str(tmp_path / "etc" / "servers" / owner) for owner in sorted(OWNERS)]


def test_one_that_is_named_is_taken(tmp_path: Path) -> None:
    given = {"config_dir": str(tmp_path)}
    assert own_directories.config_dir(given, "postgres") == str(tmp_path)
    assert own_directories.config_dirs(given) == [str(tmp_path)]


@root
@pytest.mark.parametrize("check", [True, False])
def test_who_may_not_make_it_is_told_in_words(check: bool) -> None:
    """In check mode too."""
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        with pytest.raises(BadOption) as told:
            own_directories.make_config_dir("/etc/holdfast-of-a-test/servers/nobody", "nobody", check)
    finally:
        os.seteuid(0)
    said = str(told.value)
    assert said.startswith("config_dir: ") and "nobody cannot make it" in said and "ermission denied" in said
    assert "holdfast_config_dir" in said and "holdfast_become_user" in said


@root
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("inner", "owner", "told"),
    [
        ("there", "nobody", "cannot write into it"),
        ("file/below", "nobody", "is no directory"),
        ("open/made", "daemon", "cannot make it for daemon"),
    ],
)
def test_what_is_in_the_way_is_told_before(tmp_path: Path, inner: str, owner: str, told: str, check: bool) -> None:
    """One that is there and closed, a file in its way, another owner's: said in a plan as in a run, and nothing is made."""
    for name in ("there", "open"):
        (tmp_path / name).mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").touch()
    for path in (tmp_path, *list(tmp_path.parents)[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    before = sorted(tmp_path.rglob("*"))
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        with pytest.raises(BadOption, match=told):
            own_directories.make_config_dir(str(tmp_path / inner), owner, check)
        assert told in own_directories.plan_config_dir(str(tmp_path / inner), owner)
        assert own_directories.plan_config_dir(str(tmp_path / "open" / "mine"), "nobody") == ""
    finally:
        os.seteuid(0)
    assert sorted(tmp_path.rglob("*")) == before
