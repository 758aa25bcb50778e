# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_rewind left by half is never where a boot would start it as it is."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.rewinding import LABEL, Rewinding

ME = getpass.getuser()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    (path / "PG_VERSION").write_text("15")
    return path


def test_it_is_aside_while_it_is_at_work(data: Path) -> None:
    rewinding = Rewinding(str(data), ME)
    with rewinding.at_work() as place:
        assert not data.exists() and os.listdir(place) == ["PG_VERSION"] and rewinding.left and rewinding.is_aside
        with rewinding.configuration("/etc/it's/postgresql.conf") as path:
            assert path and Path(path).read_text() == (
                f"include '/etc/it''s/postgresql.conf'\ndata_directory = '{place}'\n"
            )
        with rewinding.configuration(None) as none:
            assert none is None
    assert os.listdir(data) == ["PG_VERSION"] and os.listdir(data.parent) == ["data"]


def test_what_fails_comes_back_and_does_not_start(data: Path) -> None:
    rewinding = Rewinding(str(data), ME)
    with pytest.raises(KeyboardInterrupt), rewinding.at_work():
        raise KeyboardInterrupt
    assert (data / LABEL).exists() and rewinding.left and not rewinding.is_aside
    rewinding.end()
    assert not rewinding.left


def test_what_was_killed_comes_back_and_does_not_start(data: Path) -> None:
    Path(f"{data}.holdfast-rewinding").touch()
    data.rename(f"{data}.holdfast-rewound")
    rewinding = Rewinding(str(data), ME)
    assert rewinding.is_aside
    rewinding.take_back()
    assert (data / LABEL).exists() and rewinding.left and not rewinding.is_aside


def test_what_somebody_put_in_the_place_stays(data: Path) -> None:
    rewinding = Rewinding(str(data), ME)
    Path(f"{data}.holdfast-rewinding").touch()
    (data.parent / "data.holdfast-rewound").mkdir()
    with pytest.raises(ServerError, match="somebody has put another directory"):
        rewinding.take_back()
    assert os.listdir(data) == ["PG_VERSION"] and rewinding.is_aside


def test_a_mount_point_stays_where_it_is(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(data))
    rewinding = Rewinding(str(data), ME)
    with rewinding.at_work() as place:
        assert place == str(data) and rewinding.left
    assert not rewinding.left
