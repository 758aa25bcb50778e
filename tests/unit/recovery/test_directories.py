# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed recovery leaves of directories is taken back, or taken away, whole; what is another server's is never moved."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import neighbours
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.directories import Directories
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.takeover import Takeover
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import Instance
from ansible_collections.holdfast.postgres.plugins.module_utils.server.interrupted import journal

ME = getpass.getuser()


def server(path: Path, **tablespaces: Path) -> Path:
    (path / "pg_tblspc").mkdir(parents=True)
    (path / "PG_VERSION").write_text("15")
    for oid, place in tablespaces.items():
        (path / "pg_tblspc" / oid.lstrip("o")).symlink_to(place)
    return path


def test_a_tablespace_comes_back_though_replaying_has_filled_its_place(tmp_path: Path) -> None:
    """Killed while it replayed: where the old server's tablespace was lies what the replaying made. That goes, and the old one comes back."""
    place = tmp_path / "space"
    place.mkdir()
    (place / "old").write_text("rows")
    data = server(tmp_path / "data", o16400=place)
    before = Directories(str(data), {}, ".before-1", late={"16400": str(place)})
    before.begin(True, None)
    before.make_room(ME)
    (place / "PG_15").mkdir()
    (place / "PG_15" / "new").write_text("rows of the replaying")

    Directories(str(data), {}, "").take_back(ME)
    assert sorted(os.listdir(place)) == ["old"] and not (tmp_path / "space.before-1").exists()
    assert os.readlink(data / "pg_tblspc" / "16400") == str(place)


def test_what_was_unpacked_of_a_chain_goes(tmp_path: Path) -> None:
    """Killed while a chain was put together: files of another backup, of the same names, would be mixed into the next one."""
    data = tmp_path / "data"
    names = ["data.holdfast-restore", "data.holdfast-restore.part0", "data.holdfast-restore.part1.16400"]
    for name in [*names, "data.holdfast-restored", "other.holdfast-restore.part0", "data.part0"]:
        (tmp_path / name / "base").mkdir(parents=True)
    left = Directories(str(data), {}, "")
    assert left.leftovers() == [str(tmp_path / name) for name in names]
    left.clear()
    assert sorted(os.listdir(tmp_path)) == ["data.holdfast-restored", "data.part0", "other.holdfast-restore.part0"]


@pytest.mark.parametrize("ran", [True, False])
def test_a_server_that_did_not_run_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: bool) -> None:
    """Somebody had stopped it, a fenced primary perhaps; then a recovery was killed, and the next one fails."""
    data = server(tmp_path / "data")
    started: list[str] = []
    monkeypatch.setattr(Instance, "start", lambda self, log, **options: started.append(self.directory))
    Path(journal(str(data))).write_text(
        json.dumps({"ran": ran, "unit": None, "done": False, "apart": {}, "texts": {}, "late": {}, "aside": "x"})
    )
    takeover = Takeover(Directories(str(data), {}, ".x"), Instance(str(data), "", ME), ME, None, Progress(None))
    with pytest.raises(HoldfastError, match="failed"), takeover.making():
        raise BadOption("any", "thing", "failed", "")
    assert started == ([str(data)] if ran else [])


def test_a_killed_recovery_is_known_by_each_name_of_its_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert journal(str(tmp_path / "link")) == journal(str(tmp_path / "data"))


def case(tmp_path: Path, kind: str) -> Directories:
    """A live server, and the directories of another one that is to be replaced."""
    live = server(tmp_path / "live", o16400=tmp_path / "space")
    wal = tmp_path / "wal"
    wal.mkdir()
    (live / "pg_wal").symlink_to(wal)
    for place in ("space", "mine", "strange"):
        (tmp_path / place / "PG_15").mkdir(parents=True)
    data = server(tmp_path / "data", o16400=tmp_path / "mine")
    chosen = {
        "the live one's": "space",
        "its own": "mine",
        "somebody's": "strange",
        "none": "nowhere",
        "the live WAL": "mine",
    }
    return Directories(
        str(data), {"16400": str(tmp_path / chosen[kind])}, ".x", str(wal) if kind == "the live WAL" else None
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("the live one's", "is used by the server that runs in"),
        ("somebody's", "is no tablespace of the server in"),
        ("the live WAL", "which the server that runs in"),
        ("its own", None),
        ("none", None),
    ],
)
def test_what_belongs_to_others_is_not_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, told: Any
) -> None:
    """What is confirmed is a data directory: of what lies elsewhere only its own goes with it."""
    directories = case(tmp_path, kind)
    monkeypatch.setattr(neighbours, "running_servers", lambda: [str(tmp_path / "live"), str(tmp_path / "data")])
    if told is None:
        neighbours.check_tablespaces(directories, replaces=True)
    else:
        with pytest.raises(BadOption, match=told):
            neighbours.check_tablespaces(directories, replaces=True)
