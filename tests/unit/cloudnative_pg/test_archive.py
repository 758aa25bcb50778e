# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a store, by its objects alone."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.archive import StoreArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.cloudnative_pg.store_source import StoreWal
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import WalError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.wal.segment import SegmentSize

ONE, TWO, THREE = (f"00000001000000000000000{number}" for number in (1, 2, 3))
LAST, NEXT = "0000000100000000000000FF", "000000010000000100000000"


def put(root: Path, *names: str) -> StoreArchive:
    for name in names:
        path = root / "shop/wals" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return StoreArchive(FileRepository(str(root)), "shop")


@pytest.mark.parametrize(
    ("there", "wanted", "missing"),
    [
        ((), [ONE], [ONE]),
        ((f"{ONE[:16]}/{ONE}.gz",), [ONE], []),
        ((f"{ONE[:16]}/{ONE}", f"{TWO[:16]}/{TWO}.zst"), [THREE, TWO, ONE], [THREE]),
        ((f"{ONE[:16]}/{ONE}.partial", f"{ONE[:16]}/{ONE}.00000028.backup.gz"), [ONE], [ONE]),
        ((f"{LAST[:16]}/{LAST}.snappy", f"{NEXT[:16]}/{NEXT}.gz"), [LAST, NEXT], []),
        ((f"{ONE[:16]}/{ONE}.gz",), [ONE.replace("00000001", "00000002", 1)], [ONE.replace("00000001", "00000002", 1)]),
    ],
)
def test_segments(tmp_path: Path, there: tuple[str, ...], wanted: list[str], missing: list[str]) -> None:
    """Whatever they are compressed by, in whichever folder; a partial one, a note, another timeline's are none."""
    assert put(tmp_path, *there).missing(wanted, SegmentSize()) == missing


TEXT = b"1\t0/3000000\tno recovery target specified\n"


@pytest.mark.parametrize(
    ("stored", "content", "there"),
    [
        ("00000002.history", TEXT, True),
        ("00000002.history.gz", gzip.compress(TEXT), True),
        ("00000002.history.bz2", bz2.compress(TEXT), True),
        ("00000002.history.xz", lzma.compress(TEXT), True),
        ("00000003.history", TEXT, False),
    ],
)
def test_a_history_is_fetched_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str, content: bytes, there: bool
) -> None:
    """However it is compressed; the archive, which has as many files as a month of WAL, is not listed for it."""
    archive = put(tmp_path, stored)
    (tmp_path / "shop/wals" / stored).write_bytes(content)
    monkeypatch.setattr(FileRepository, "list", lambda *_given: pytest.fail("it was listed"))
    path = tmp_path / "fetched"
    assert StoreWal(archive).fetch("00000002.history", str(path)) is there
    assert not there or path.read_bytes() == TEXT


@pytest.mark.parametrize(("stored", "said"), [("snappy", "packed by snappy"), ("gz", "cannot be unpacked")])
def test_what_cannot_be_unpacked(tmp_path: Path, stored: str, said: str) -> None:
    with pytest.raises(WalError, match=said):
        StoreWal(put(tmp_path, f"{ONE[:16]}/{ONE}.{stored}")).fetch(ONE, str(tmp_path / "fetched"))


def test_an_archive_that_is_empty(tmp_path: Path) -> None:
    assert put(tmp_path).is_empty()
    assert not put(tmp_path, "00000002.history").is_empty()
