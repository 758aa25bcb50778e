# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a passphrase that is lost by changing it. Members: made twice, rotated twice, rotated where there is none, in check mode, where what is
there is none; a former one is kept before the new one is there."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline import passphrase_file as subject

NOW = datetime.datetime(2026, 11, 26, 2, 0, tzinfo=datetime.timezone.utc)


def test_it_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "deep/passphrase"
    assert subject.present(str(path), None, check=True).plan and not path.parent.exists()
    made = subject.present(str(path), None, check=False)
    assert made.passphrase and path.read_text() == f"{made.passphrase}\n" and len(made.passphrase) >= 43
    assert path.stat().st_mode & 0o777 == 0o600
    again = subject.present(str(path), None, check=False)
    assert (again.plan, again.passphrase) == ([], None)
    assert path.read_text() == f"{made.passphrase}\n"


def test_a_rotation_keeps_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_text("the former one\n")
    path.chmod(0o600)
    os.utime(path, (NOW.timestamp() - 90000,) * 2)
    planned = subject.rotated(str(path), None, 86400, NOW, check=True)
    assert planned.plan and planned.passphrase is None and path.read_text() == "the former one\n"
    done = subject.rotated(str(path), None, 86400, NOW, check=False)
    assert done.former == f"{path}.until-20261126T020000Z" == planned.former
    assert Path(str(done.former)).read_text() == "the former one\n"
    assert Path(str(done.former)).stat().st_mode & 0o777 == 0o600
    assert path.read_text() == f"{done.passphrase}\n" != "the former one\n"
    assert subject.former_ones(str(path)) == [done.former]
    os.utime(path, (NOW.timestamp() - 60,) * 2)
    assert subject.rotated(str(path), None, 86400, NOW, check=False).plan == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be about to give it to another user")
def test_a_rotation_takes_it_from_nobody(tmp_path: Path) -> None:
    """One file, two owners: a rotation for the second one closed it to the first, whose backups failed from then on."""
    path = tmp_path / "passphrase"
    path.write_text("the former one\n")
    os.utime(path, (NOW.timestamp() - 90000,) * 2)
    os.chown(path, 65534, -1)
    for check in (True, False):
        with pytest.raises(BadOption, match="could not read it any more"):
            subject.rotated(str(path), "root", 86400, NOW, check=check)
    os.chown(path, 54321, -1)
    with pytest.raises(BadOption, match="no user's here"):
        subject.rotated(str(path), "root", 86400, NOW, check=False)
    os.chown(path, 65534, -1)
    done = subject.rotated(str(path), None, 86400, NOW, check=False)
    assert path.stat().st_uid == Path(str(done.former)).stat().st_uid == 65534  # whoever rotates it


def test_nothing_is_lost_when_it_stops_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "passphrase"
    path.write_text("the former one\n")
    written = []
    put = files.put

    def stop_at_the_second(target: str, *more: object, **options: object) -> None:
        written.append(target)
        if len(written) == 2:
            raise KeyboardInterrupt
        put(target, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "put", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        subject.rotated(str(path), None, 1, NOW + datetime.timedelta(days=3), check=False)
    assert path.read_text() == "the former one\n" and Path(written[0]).read_text() == "the former one\n"


@pytest.mark.parametrize("content", [None, "", "two\nlines\n"])
def test_what_is_no_passphrase_is_not_rotated(tmp_path: Path, content: object) -> None:
    path = tmp_path / "passphrase"
    if isinstance(content, str):
        path.write_text(content)
    with pytest.raises(BadOption):
        subject.rotated(str(path), None, 1, NOW, check=False)
    assert not subject.former_ones(str(path))
