# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: the exchange of two data directories, entry by entry, ends by half, and which is which is not known any more.

Members: killed before each rename, on the way forward and on the way back; run again; the way back from wherever it stands; with what ext4 has
at a volume's top; with files whose names begin with a dot or a dash; removal while the old data is still away; a server that was started in the
middle; what was kept, or what says how far it came, is gone or cannot be read; the volume is another one. The scripts are the real ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import scripts

OLD = ("PG_VERSION", "base", "global", ".hidden", "-dash", "old only")
NEW = ("PG_VERSION", "base", "global", ".hidden", "new only")


class Volume:
    """A volume with a data directory; ``root``: it is mounted at PGDATA itself."""

    def __init__(self, path: Path, root: bool) -> None:
        self.data = path if root else path / "pgdata"
        self.data.mkdir(exist_ok=True)
        (self.data / "lost+found").mkdir()
        self.hidden = path / ".holdfast" / "one"
        self.bin = path.parent / "bin"
        self.bin.mkdir()
        self.fill(self.data, OLD, "old")
        self.run(scripts.MAKE)
        self.fill(self.hidden / "new" / self.data.name, NEW, "new")

    @staticmethod
    def fill(directory: Path, names: tuple[str, ...], content: str) -> None:
        directory.mkdir(exist_ok=True)
        for name in names:
            if name in ("base", "global"):
                (directory / name).mkdir()
                (directory / name / "pg_control").write_text(content)
            else:
                (directory / name).write_text(content)

    def run(self, script: str, renames: int | None = None, own: bool = False) -> int:
        """``renames``: so many entries are moved, then all is killed; ``own``: with the mv that a test has put there."""
        if renames is not None:
            # mv moves one after the other, and the kill comes between.
            text = (
                f'#!/bin/sh\nlast="$3"; shift 4\nfor one; do n=$(cat "{self.bin}/n"); [ "$n" -ge {renames} ] && kill -9 $PPID && kill -9 $(cat "{self.bin}/sh")'
                f' && exit 1; /bin/mv -t "$last" -- "$one"; echo $((n + 1)) > "{self.bin}/n"; done\n'
            )
            whole = f'#!/bin/sh\nif [ "$1" = -n ]; then exec "{self.bin}/slow" "$@"; fi\nexec /bin/mv "$@"\n'
            for name, content in (("slow", text), ("mv", whole)):
                (self.bin / name).write_text(content)
                (self.bin / name).chmod(0o755)
            (self.bin / "n").write_text("0")
        elif (self.bin / "mv").exists() and not own:
            (self.bin / "mv").unlink()
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PGDATA": str(self.data),
            "HIDDEN": str(self.hidden),
            "NEW": str(self.hidden / "new" / self.data.name),
        }
        script = script.replace("/dev/termination-log", str(self.bin / "said"))
        script = f'echo $$ > "{self.bin}/sh"\n{script}'
        return subprocess.run(["sh", "-c", script], env=environment, check=False, capture_output=True).returncode

    @property
    def said(self) -> str:
        return (self.bin / "said").read_text()

    def serves(self) -> str:
        """Whose data is complete in its place; empty: nobody's."""
        for name, names in (("old", OLD), ("new", NEW)):
            there = {one.name for one in self.data.iterdir()} - {"lost+found", ".holdfast"}
            if there == set(names) and all(
                (self.data / one).read_text() == name for one in names if one not in ("base", "global")
            ):
                return name if (self.data / "base" / "pg_control").read_text() == name else ""
        return ""


@pytest.fixture(params=[False, True], ids=["below the mount", "the mount itself"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    (tmp_path / "volume").mkdir()
    return Volume(tmp_path / "volume", request.param)


def test_the_new_takes_the_place_of_the_old_and_the_old_comes_back(volume: Volume) -> None:
    assert volume.serves() == "old"
    assert volume.run(scripts.SWAP) == 0 and volume.serves() == "new"
    assert volume.run(scripts.SWAP) == 0 and volume.serves() == "new"
    assert volume.run(scripts.BACK) == 0 and volume.serves() == "old"
    assert volume.run(scripts.BACK) == 0 and volume.serves() == "old"
    assert volume.run(scripts.SWAP) == 4, "what was taken back is not brought in again"
    assert volume.run(scripts.REMOVE) == 0 and not volume.hidden.exists() and volume.serves() == "old"
    assert volume.run(scripts.REMOVE) == 0
    assert volume.run(scripts.BACK) == 7, "nothing is called back that is not there"


@pytest.mark.parametrize("renames", range(len(OLD) + len(NEW)))
def test_killed_anywhere_it_goes_forward_or_back(volume: Volume, renames: int) -> None:
    assert volume.run(scripts.SWAP, renames) != 0
    assert volume.serves() != "new" and volume.run(scripts.REMOVE) == 4
    assert volume.run(scripts.SWAP) == 0 and volume.serves() == "new"


@pytest.mark.parametrize("renames", range(len(OLD) + len(NEW)))
def test_killed_anywhere_it_comes_back(volume: Volume, renames: int) -> None:
    assert volume.run(scripts.SWAP, renames) != 0
    assert volume.run(scripts.BACK, 2) != 0 or volume.serves() == "old"
    assert volume.run(scripts.BACK) == 0 and volume.serves() == "old"


@pytest.mark.parametrize("renames", range(len(OLD) + len(NEW)))
def test_killed_on_the_way_back_it_goes_on(volume: Volume, renames: int) -> None:
    assert volume.run(scripts.SWAP) == 0
    assert volume.run(scripts.BACK, renames) != 0
    assert volume.run(scripts.SWAP) == 4
    assert volume.run(scripts.BACK) == 0 and volume.serves() == "old"


def test_confirmed_the_old_is_gone(volume: Volume) -> None:
    assert volume.run(scripts.SWAP) == 0 and volume.run(scripts.REMOVE) == 0
    assert volume.serves() == "new" and not volume.hidden.parent.exists()


def test_killed_while_the_old_is_removed_it_can_be_ended(volume: Volume) -> None:
    """Found: what says that it may go went first, and then nothing was removed any more."""
    killed = 'rm() { [ "$2" = "$HIDDEN" ] || { command rm "$@"; return; }; command rm "$HIDDEN/phase"; kill -9 $$; }\n'
    assert volume.run(scripts.SWAP) == 0
    assert volume.run(killed + scripts.REMOVE) != 0
    assert volume.run(scripts.REMOVE) == 0 and not volume.hidden.exists() and volume.serves() == "new"


def test_what_was_not_recovered_takes_no_place(volume: Volume) -> None:
    (volume.hidden / "new" / volume.data.name / "PG_VERSION").unlink()
    assert volume.run(scripts.SWAP) == 3 and volume.serves() == "old"


@pytest.mark.parametrize("gone", [True, False], ids=["no directory", "an empty one"])
def test_where_nothing_is_to_be_kept(volume: Volume, gone: bool) -> None:
    """A clone has no data yet, and a replica may have lost its own; of any other server that is an error."""
    for name in OLD:
        path = volume.data / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if gone and not list(volume.data.iterdir()):
        volume.data.rmdir()
    assert volume.run(scripts.SWAP) == 3 and "which was to be kept" in volume.said
    assert volume.run(f"ANEW=yes\n{scripts.SWAP}") == 0 and volume.serves() == "new"
    assert volume.run(scripts.BACK) == 0 and volume.serves() == ""
    assert volume.run(scripts.REMOVE) == 0


@pytest.mark.parametrize("renames", range(1, len(OLD)))
def test_a_server_that_was_started_in_the_middle_overwrites_nothing(volume: Volume, renames: int) -> None:
    """Found: the entrypoint of its image made a new cluster in what was half empty, and going on moved that over the old one's files."""
    assert volume.run(scripts.SWAP, renames) != 0
    kept = tuple(one.name for one in (volume.hidden / "old").iterdir())
    assert len(kept) == renames
    volume.fill(volume.data, kept, "made meanwhile")
    for script in (scripts.SWAP, scripts.BACK, scripts.SWAP, scripts.BACK):
        assert volume.run(script) in (4, 6)
        assert "there already" in volume.said or "already being moved back" in volume.said
        for name in kept:
            path = volume.hidden / "old" / name
            assert (path / "pg_control" if path.is_dir() else path).read_text() == "old"
    assert volume.run(scripts.REMOVE) == 4


#: no byte can be written any more once the first phase was, until something is removed
FULL = """
printf() { [ ! -e "$HIDDEN/phase" ] || [ -e "$HIDDEN/../given" ] || return 1; command printf "$@"; }
rm() { : > "$HIDDEN/../given"; command rm "$@"; }
"""


@pytest.mark.parametrize("goes", ["on", "back"])
def test_a_volume_that_is_full_in_the_middle(volume: Volume, goes: str) -> None:
    """Found on a full tmpfs: the next phase could not be written, on the way forward or on the way back, and nobody's data was in its place."""
    if goes == "on":
        assert volume.run(FULL + scripts.SWAP) == 0 and volume.serves() == "new"
    else:
        assert volume.run(scripts.SWAP, 2) != 0
        assert volume.run(FULL + scripts.BACK) == 0 and volume.serves() == "old"


def test_what_mv_cannot_move_is_told_from_what_is_there_already(volume: Volume) -> None:
    """By its exit code nothing is told: with -n it is 0 or 1 by the version. And what failed once is gone on with."""
    (volume.bin / "mv").write_text('#!/bin/sh\n[ "$1" != -n ] || exit 1\nexec /bin/mv "$@"\n')
    (volume.bin / "mv").chmod(0o755)
    assert volume.run(scripts.SWAP, own=True) == 6 and "see what mv said" in volume.said and volume.serves() == "old"
    assert volume.run(scripts.SWAP) == 0 and volume.serves() == "new"


@pytest.mark.parametrize("said", ["", "elsewhere", None])
@pytest.mark.parametrize("renames", [2, len(OLD) + 2])
def test_how_far_it_came_is_not_known_and_nothing_is_removed(volume: Volume, said: str | None, renames: int) -> None:
    """Found: of a word that it did not know REMOVE made that all could go, and BACK that all was well."""
    assert volume.run(scripts.SWAP, renames) != 0
    (volume.hidden / "phase").unlink()
    if said is not None:
        (volume.hidden / "phase").write_text(said)
    before = sorted(one.name for one in (volume.hidden / "old").iterdir())
    assert volume.run(scripts.REMOVE) == 4
    assert said is None or volume.run(scripts.SWAP) == 4 and volume.run(scripts.BACK) == 4
    assert sorted(one.name for one in (volume.hidden / "old").iterdir()) == before


def test_what_was_kept_is_gone_and_it_is_said(volume: Volume) -> None:
    """Found: BACK ended well where there was nothing to bring back, and what was recovered was said to be the old data."""
    assert volume.run(scripts.SWAP) == 0
    shutil.rmtree(volume.hidden)
    assert volume.run(scripts.BACK) == 7 and volume.serves() == "new"


def test_a_volume_without_the_old_server_keeps_nothing(volume: Volume) -> None:
    (volume.data / "PG_VERSION").unlink()
    assert volume.run(scripts.SWAP) == 3 and (volume.data / "base").is_dir()
