# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed recovery leaves of directories is taken back, or taken away, whole; what is another server's is never moved."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, HoldfastError, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery import directories, late, neighbours
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
    server(tmp_path / "data.holdfast-restore", o16400=place)
    (place / "PG_15_202209061").mkdir()
    (place / "PG_15_202209061" / "new").write_text("rows of the replaying")

    Directories(str(data), {}, "").take_back(ME)
    assert sorted(os.listdir(place)) == ["old"] and not (tmp_path / "space.before-1").exists()
    assert os.readlink(data / "pg_tblspc" / "16400") == str(place)


def replaying(tmp_path: Path) -> tuple[Path, Path, Directories]:
    """A server with a tablespace, and a recovery of it that is about to replay that tablespace's making: both, and its directories."""
    place = tmp_path / "space"
    place.mkdir()
    (place / "old").write_text("rows")
    data = server(tmp_path / "data", o16400=place)
    server(tmp_path / "data.holdfast-restore")
    before = Directories(str(data), {}, ".before-1", late={"16400": str(place)})
    before.begin(True, None)
    before.make_room(ME)
    return data, place, before


def replayed(tmp_path: Path, place: Path) -> None:
    """What replaying CREATE TABLESPACE does."""
    (place / "PG_15_202209061").mkdir()
    (place / "PG_15_202209061" / "new").write_text("rows of the replaying")
    (tmp_path / "data.holdfast-restore" / "pg_tblspc" / "16400").symlink_to(place)


def somebodys(tmp_path: Path, place: Path, kind: str) -> None:
    """What somebody did with the place since the kill."""
    if kind == "a tablespace, before anything was replayed":
        (place / "PG_15_202209061" / "5").mkdir(parents=True)
        return
    replayed(tmp_path, place)
    if kind == "files beside":
        (place / "dump.sql").write_text("theirs")
    elif kind == "another version's tablespace":
        (place / "PG_18_202506291").mkdir()
        (tmp_path / "data" / "pg_tblspc" / "16999").symlink_to(place)
    elif kind == "another directory":
        place.rename(tmp_path / "elsewhere")
        place.mkdir()
        (place / "PG_15_202209061").mkdir()
    elif kind == "a running server's":
        live = server(tmp_path / "live", o17000=place)
        (live / "postmaster.pid").write_text("1")


SOMEBODYS = [
    "a tablespace, before anything was replayed",
    "files beside",
    "another version's tablespace",
    "another directory",
    "a running server's",
]


@pytest.mark.parametrize("kind", SOMEBODYS)
def test_what_somebody_made_since_the_kill_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Where replaying was to make a tablespace, what is not by it stays, the old one stays aside, and it is said; the next run is refused
    until somebody has looked. Before, all that was there was removed."""
    data, place, _before = replaying(tmp_path)
    somebodys(tmp_path, place, kind)
    monkeypatch.setattr(late, "running_servers", lambda: [str(tmp_path / "live")])
    found = sorted(path for path in place.rglob("*"))
    for _again in range(2):
        with pytest.raises(ServerError, match=f"{place}.*space.before-1"):
            Directories(str(data), {}, "").take_back(ME)
        assert sorted(path for path in place.rglob("*")) == found
        assert (tmp_path / "space.before-1" / "old").read_text() == "rows"
    # Once it is out of the way, the old one comes back.
    monkeypatch.setattr(late, "running_servers", list)
    place.rename(tmp_path / "moved away")
    Directories(str(data), {}, "").take_back(ME)
    assert os.listdir(place) == ["old"] and os.readlink(data / "pg_tblspc" / "16400") == str(place)


@pytest.mark.parametrize("kind", SOMEBODYS[:3])
def test_what_somebody_made_meanwhile_is_not_removed(tmp_path: Path, kind: str) -> None:
    """The same by the run itself, when it fails: what is not as it was is said."""
    _data, place, before = replaying(tmp_path)
    somebodys(tmp_path, place, kind)
    found = sorted(path for path in place.rglob("*"))
    told = before.undo(ME)
    assert len(told) == 1 and str(place) in told[0] and "space.before-1" in told[0]
    assert sorted(path for path in place.rglob("*")) == found and (tmp_path / "space.before-1" / "old").exists()


def test_the_old_tablespace_that_somebody_put_back_stays(tmp_path: Path) -> None:
    """They removed what was half made, and gave the old one its name: that was taken for what replaying had made, and removed."""
    data, place, _before = replaying(tmp_path)
    place.rmdir()
    (tmp_path / "space.before-1").rename(place)
    Directories(str(data), {}, "").take_back(ME)
    assert os.listdir(place) == ["old"] and os.readlink(data / "pg_tblspc" / "16400") == str(place)


def test_a_boot_while_it_replays_finds_the_old_tablespace(tmp_path: Path) -> None:
    """The old server's link leads to where its tablespace is, not to what is being replayed in its place."""
    data, place, before = replaying(tmp_path)
    replayed(tmp_path, place)
    assert os.listdir(data / "pg_tblspc" / "16400") == ["old"]
    assert before.undo(ME) == []
    assert os.readlink(data / "pg_tblspc" / "16400") == str(place) and os.listdir(place) == ["old"]


def test_moves_under_a_running_server_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, place, _before = replaying(tmp_path)
    monkeypatch.setattr(directories, "running_servers", lambda: [str(data)])
    with pytest.raises(ServerError, match="stop it"):
        Directories(str(data), {}, "").take_back(ME)
    assert (tmp_path / "space.before-1" / "old").exists() and not os.listdir(place)


@pytest.mark.parametrize("at", range(1, 9))
def test_killed_at_each_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Before and after each rename of a swap: what was written down and not done, and what was done and the last word not written. All of the
    old server comes back. Before, what was killed after the last rename lost its old directories' names."""
    made, old = tmp_path / "made", tmp_path / "space"
    for path, text in ((old, "old"), (tmp_path / "space.holdfast-restore", "new")):
        path.mkdir()
        (path / "rows").write_text(text)
    data = server(tmp_path / "data", o16400=old)
    server(tmp_path / "data.holdfast-restore", o16400=tmp_path / "space.holdfast-restore")
    (data / "whose").write_text("old")
    swapping = Directories(str(data), {"16400": str(old)}, ".before-1")
    swapping.begin(True, None)
    steps, rename = [0], os.rename

    def killed(source: str, target: str) -> None:
        if not str(source).startswith(str(tmp_path)) or "journal" in str(source):
            rename(source, target)
            return
        steps[0] += 1
        if steps[0] == at:
            raise KeyboardInterrupt
        rename(source, target)
        steps[0] += 1
        if steps[0] == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", killed)
    with contextlib.suppress(KeyboardInterrupt):
        swapping.swap(ME)
    monkeypatch.setattr(os, "rename", rename)
    assert steps[0] == at, "there are fewer steps than that"
    Directories(str(data), {}, "").take_back(ME)
    assert (data / "whose").read_text() == "old" and (old / "rows").read_text() == "old"
    assert os.readlink(data / "pg_tblspc" / "16400") == str(old)
    assert not made.exists() and not list(tmp_path.glob("*.before-1"))


def test_a_directory_that_somebody_put_in_the_place_stays(tmp_path: Path) -> None:
    """Killed when the old data directory was aside; somebody restored another one to its name. It was said that all was taken back."""
    data = server(tmp_path / "data")
    (data / "whose").write_text("old")
    swapping = Directories(str(data), {}, ".before-1")
    swapping.begin(True, None)
    swapping._rename(str(data), f"{data}.before-1")
    (server(data) / "whose").write_text("theirs")
    with pytest.raises(ServerError, match="data.before-1"):
        Directories(str(data), {}, "").take_back(ME)
    assert (data / "whose").read_text() == "theirs" and (tmp_path / "data.before-1" / "whose").read_text() == "old"


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
