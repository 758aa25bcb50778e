# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pg_receivewal goes on: a segment that is whole is gone past, even where the server left it in its middle. What is in its way then, and how that is
set aside with nothing lost."""

from __future__ import annotations

import gzip
import os
import pwd
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.receiver import goes_on_at
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.set_aside import (
    in_the_way,
    set_aside,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.lsn import Lsn
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import MEGABYTE, SegmentSize

NAME = "000000020000000000000005"


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        (NAME, "0/600000"),
        (f"{NAME}.gz", "0/600000"),
        (f"{NAME}.lz4", "0/600000"),
        (f"{NAME}.partial", "0/500000"),
        (f"{NAME}.gz.partial", "0/500000"),
        (f"{NAME}.zst", None),
        (".server.json", None),
        ("00000002.history", None),
        (f"{NAME}.00000028.backup", None),
    ],
)
def test_where_it_goes_on(name: str, begin: str | None) -> None:
    found = goes_on_at(name, SegmentSize(MEGABYTE))
    assert (found and (found[0].timeline, str(found[1]))) == (begin and (2, begin))


@pytest.mark.parametrize(
    ("names", "timeline", "left", "past"),
    [
        # the segment in which the server left, whole and begun
        (["1:4", "1:5"], 2, {1: "0/580000"}, ["1:5"]),
        (["1:4", "1:5.partial"], 2, {1: "0/580000"}, []),
        (["1:4", "1:5", "1:6.partial"], 2, {1: "0/580000"}, ["1:5", "1:6.partial"]),
        # each by where its own timeline was left
        (["1:4", "1:6", "2:6", "2:7"], 3, {1: "0/580000", 2: "0/680000"}, ["1:6", "2:6", "2:7"]),
        # the server went on already
        (["1:5", "2:6.partial"], 2, {1: "0/580000"}, []),
        # a recovery that was taken back, and a timeline beside this one's
        (["1:4", "1:5", "2:5.partial"], 1, {}, ["2:5.partial"]),
        (["1:4", "2:5"], 3, {1: "0/580000"}, ["2:5"]),
        # of this timeline alone, or nothing
        (["1:4", "1:5.partial"], 1, {}, []),
        ([], 2, {1: "0/580000"}, []),
    ],
)
def test_what_is_in_its_way(names: list[str], timeline: int, left: dict[int, str], past: list[str]) -> None:
    size = SegmentSize(MEGABYTE)

    def name(short: str) -> str:
        number, dot, rest = short.partition(".")
        return f"0000000{number[0]}000000000000000{number[2]}{dot}{rest}"

    places = {name(one): goes_on_at(name(one), size) for one in names}
    found = in_the_way(places, timeline, {key: Lsn.parse(value, "lsn") for key, value in left.items()})  # type: ignore[arg-type]
    assert found == sorted(map(name, past))


@pytest.fixture
def received(tmp_path: Path) -> Path:
    (tmp_path / NAME).write_bytes(b"whole" * 1000)
    (tmp_path / f"{NAME[:-1]}6.gz").write_bytes(gzip.compress(b"packed" * 1000))
    (tmp_path / f"{NAME[:-1]}7.partial").write_bytes(b"begun")
    return tmp_path


def ours(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def content(path: Path) -> bytes:
    return subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True).stdout


def test_what_is_set_aside_is_all_there(received: Path) -> None:
    names, user = ours(received), pwd.getpwuid(os.geteuid()).pw_name
    assert all(goes_on_at(name, SegmentSize(MEGABYTE)) for name in names)
    set_aside(str(received), names, user)
    assert ours(received) == [f".left.{NAME[:-1]}7.partial", f"{NAME}.zst", f"{NAME[:-1]}6.zst"]
    assert not any(goes_on_at(name, SegmentSize(MEGABYTE)) for name in ours(received))
    assert content(received / f"{NAME}.zst") == b"whole" * 1000
    assert content(received / f"{NAME[:-1]}6.zst") == b"packed" * 1000
    # Once more, of another life: nothing is written over.
    (received / f"{NAME[:-1]}7.partial").write_bytes(b"another")
    set_aside(str(received), [f"{NAME[:-1]}7.partial"], user)
    assert (received / f".left.{NAME[:-1]}7.partial").read_bytes() == b"begun"
    assert (received / f".left.{NAME[:-1]}7.partial.1").read_bytes() == b"another"


def test_killed_between_it_goes_on(received: Path) -> None:
    """Packed, and not yet gone; half packed."""
    subprocess.run(["zstd", "-q", str(received / NAME)], check=True)
    (received / f".{NAME[:-1]}6.zst.new").write_bytes(b"half")
    set_aside(str(received), [NAME, f"{NAME[:-1]}6.gz"], pwd.getpwuid(os.geteuid()).pw_name)
    assert [one for one in ours(received) if "partial" not in one] == [f"{NAME}.zst", f"{NAME[:-1]}6.zst"]


@pytest.mark.parametrize("wrong", ["another content", "damaged"])
def test_what_cannot_be_set_aside_stays(received: Path, wrong: str) -> None:
    user, name = pwd.getpwuid(os.geteuid()).pw_name, f"{NAME[:-1]}6.gz"
    if wrong == "damaged":
        (received / name).write_bytes((received / name).read_bytes()[:20])
    else:
        subprocess.run(["zstd", "-q", "-o", str(received / f"{NAME[:-1]}6.zst")], input=b"other", check=True)
    before = {one: (received / one).read_bytes() for one in ours(received)}
    with pytest.raises(HoldfastError):
        set_aside(str(received), [name], user)
    assert {one: (received / one).read_bytes() for one in ours(received)} == before
