# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds: retention trusts a manifest; an absence is believed. Members: an artifact deleted, cut to nothing, cut by a byte, grown, in the
newest, in a link of a chain, in all; a listing that hides manifests, or artifacts; folders that were backups once; more of them than
runs leave; what is not ours; a damaged manifest."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import delete_one, plan_prune, prune
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.listing import Listing, look
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import readers
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, LockHeld
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import ObjectInfo
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)


def held() -> None:
    """The lock is ours still."""


def ago(**age: float) -> datetime.datetime:
    return NOW - datetime.timedelta(**age)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(FileRepository(str(tmp_path)), "main")


def path(shelf: Shelf, *names: str) -> Path:
    assert isinstance(shelf.repository, FileRepository)
    return Path(shelf.repository.root, shelf.name, *names)


def decided(shelf: Shelf, **option: Any) -> tuple[set[str], str]:
    """What would stay, and what is warned of."""
    warnings: list[str] = []
    decisions = plan_prune(look(shelf), Policy.from_option(option), warnings)
    return {item.id for item in decisions if item.keep}, " ".join(warnings)


def three(shelf: Shelf) -> None:
    for number in (1, 2, 3):
        lay(shelf, f"b{number}", ago(days=10 - number), lsn=f"0/{number}0")


DAMAGES: dict[str, Any] = {
    "missing": os.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(b"row"),
    "grown": lambda file: file.write_bytes(b"rows and more"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "option", [{"keep_last": 1}, {"count": 1}, {"keep_daily": 1}, {"keep_within": "8d", "min_keep": 1}], ids=str
)
def test_what_is_damaged_displaces_nothing(shelf: Shelf, damage: str, option: dict[str, Any]) -> None:
    three(shelf)
    DAMAGES[damage](path(shelf, "b3", "databases", "shop.dump"))
    kept, warned = decided(shelf, **option)
    assert "b2" in kept
    assert "b3" in warned
    assert "shop.dump" in warned


def test_all_that_is_damaged_leaves_the_last_good_one(shelf: Shelf) -> None:
    three(shelf)
    for name in ("b3", "b2"):
        os.unlink(path(shelf, name, "databases", "shop.dump"))
    assert "b1" in decided(shelf, keep_last=1)[0]
    os.unlink(path(shelf, "b1", "databases", "shop.dump"))
    assert decided(shelf, keep_last=1)[0]  # nothing is left that one could lose for


def test_a_chain_is_as_good_as_each_of_its_links(shelf: Shelf) -> None:
    lay(shelf, "full1", ago(days=9), lsn="0/10", kind="full")
    lay(shelf, "full2", ago(days=5), lsn="0/20", kind="full")
    lay(shelf, "link", ago(days=4), lsn="0/30", kind="incremental", parent="full2")
    assert decided(shelf, keep_last=1)[0] == {"full2", "link"}
    os.unlink(path(shelf, "full2", "base.tar"))
    assert "full1" in decided(shelf, keep_last=1)[0]


def test_nothing_is_looked_at_where_nothing_goes(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    three(shelf)
    listing = look(shelf)
    monkeypatch.setattr(FileRepository, "list", lambda *given: pytest.fail("a listing of an artifact"))
    assert all(item.keep for item in plan_prune(listing, Policy.from_option({"keep_last": 3}), []))


def test_the_servers_position_orders_what_clocks_confuse(shelf: Shelf) -> None:
    lay(shelf, "old", ago(days=1), lsn="0/10")  # its clock was ahead
    lay(shelf, "new", ago(days=3), lsn="0/20")
    assert decided(shelf, keep_last=1)[0] == {"new"}


def test_another_encryption_or_engine_is_another_scope(shelf: Shelf) -> None:
    lay(shelf, "encrypted", ago(days=3), encryption="aes256")
    lay(shelf, "plain", ago(days=2))
    lay(shelf, "physical", ago(days=1), kind="full", engine="pg_basebackup")
    assert decided(shelf, keep_last=1)[0] == {"encrypted", "plain", "physical"}
    lay(shelf, "other order", ago(days=1), tables=["b", "a"])  # a name no run would make: it is not looked at
    lay(shelf, "ab", ago(days=1), tables=["a", "b"])
    lay(shelf, "ba", ago(hours=1), tables=["b", "a"])
    kept, _gone = decided(shelf, keep_last=1)
    assert "ba" in kept
    assert "ab" not in kept


class Hiding(FileRepository):
    """Its listings lack what is asked to be hidden."""

    hidden = ""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return (info for info in super().list(prefix) if not (self.hidden and info.key.endswith(self.hidden)))


def test_a_listing_that_hides_a_manifest_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(FileRepository(str(tmp_path)), "main")
    three(shelf)
    real = Shelf._read_each

    def hide(self: Shelf) -> Iterator[tuple[str, Any]]:
        return ((name, None if name == "b2" else data) for name, data in real(self))

    monkeypatch.setattr(Shelf, "_read_each", hide)
    found = look(shelf)
    assert found.leftovers == []
    assert "b2" in found.problems[0]
    assert "not complete" in found.problems[0]


def test_a_listing_that_hides_an_artifact_makes_nobody_damaged(tmp_path: Path) -> None:
    repository = Hiding(str(tmp_path))
    shelf = Shelf(repository, "main")
    three(shelf)
    repository.hidden = "shop.dump"
    assert decided(shelf, keep_last=1) == ({"b3"}, "")


def leave(shelf: Shelf, name: str) -> None:
    shelf.repository.write(shelf.key(name, "databases/shop.dump"), b"half")


def test_what_interrupted_runs_leave_goes_and_what_is_too_much_stays(shelf: Shelf) -> None:
    three(shelf)
    for number in range(3):
        leave(shelf, f"left{number}")
    assert look(shelf).leftovers == ["left0", "left1", "left2"]
    for number in range(12):
        leave(shelf, f"left{number}")
    found = look(shelf)
    assert found.leftovers == []
    assert "12 folders" in found.problems[0]
    # By its name each may be deleted.
    assert delete_one(shelf, "left3", True, [])
    assert path(shelf, "left3").exists()
    assert delete_one(shelf, "left3", False, [])
    assert not path(shelf, "left3").exists()
    assert not delete_one(shelf, "left3", False, [])


def test_what_is_not_ours_is_nobodys_leftover(shelf: Shelf) -> None:
    shelf.repository.write("main/base/20260101T000000/data.tar", b"Barman's")
    assert look(shelf).leftovers == []
    assert not delete_one(shelf, "base", False, [])
    assert path(shelf, "base").exists()


def test_a_damaged_manifest_is_a_problem_in_a_list(shelf: Shelf) -> None:
    three(shelf)
    path(shelf, "b2", "manifest.json").write_bytes(b"[" * 100_000)
    kept, warned = decided(shelf, keep_last=1)
    assert kept == {"b3"}
    assert "b2" in warned
    gone = prune(shelf, plan_prune(look(shelf), Policy.from_option({"keep_last": 1}), []), [], held)
    assert [entry["id"] for entry in gone] == ["b1"]
    assert path(shelf, "b2", "manifest.json").exists()


def test_nothing_there_is_nothing_found(shelf: Shelf) -> None:
    assert look(shelf) == Listing(shelf)


def test_what_is_locked_keeps_what_it_is_based_on(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(shelf, "full", ago(days=9), lsn="0/10", kind="full")
    lay(shelf, "link", ago(days=8), lsn="0/20", kind="incremental", parent="full")
    lay(shelf, "new", ago(days=1), lsn="0/30", kind="full")
    locked = "2999-01-01T00:00:00Z"
    monkeypatch.setattr(FileRepository, "locked_until", lambda _self, key: locked if "/link/" in key else None)
    warnings: list[str] = []
    assert prune(shelf, plan_prune(look(shelf), Policy.from_option({"keep_last": 1}), []), warnings, held) == []
    assert shelf.read("full") is not None
    assert "full is to be deleted" in warnings[1]
    assert "link, which stays, is based on it" in warnings[1]


def test_a_lock_that_was_lost_ends_the_deleting(shelf: Shelf) -> None:
    three(shelf)
    beats = iter([None])

    def beat() -> None:
        if next(beats, "lost"):
            raise LockHeld("The lock was taken from this run.")

    with pytest.raises(LockHeld):
        prune(shelf, plan_prune(look(shelf), Policy.from_option({"keep_last": 1}), []), [], beat)
    assert shelf.read("b2") is None
    assert shelf.read("b1") is not None


def lose_manifest(shelf: Shelf, name: str) -> None:
    shelf.repository.write(shelf.key(name, "RESTORE.txt"), b"how")
    path(shelf, name, "manifest.json").unlink()


def test_a_backup_whose_manifest_alone_is_lost_is_no_leftover(shelf: Shelf) -> None:
    """Kind: an absence is believed. Members: in a directory, with a leftover beside it, one that retention's parents hang on; by its name it
    goes. Found: it was removed as what an interrupted run left, with its rows."""
    three(shelf)
    leave(shelf, "left")
    lose_manifest(shelf, "b2")
    found = look(shelf)
    assert (found.leftovers, found.lost) == (["left"], ["b2"])
    assert "b2" in found.problems[0]
    assert "complete once" in found.problems[0]
    assert delete_one(shelf, "b2", False, [])
    assert not path(shelf, "b2").exists()


def test_a_deletion_that_ends_after_manifest_and_instructions_leaves_a_leftover(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(shelf)
    shelf.repository.write(shelf.key("b2", "RESTORE.txt"), b"how")
    monkeypatch.setattr(FileRepository, "delete_folder", lambda *given: None)
    shelf.remove("b2")
    assert look(shelf).leftovers == ["b2"]


@pytest.mark.parametrize("harm", ["damaged", "newer", "large", "lost"])
def test_what_an_unreadable_manifest_may_be_based_on_stays(shelf: Shelf, harm: str) -> None:
    """Kind: what cannot be read is taken for what is not there. Members: a child whose manifest is damaged, newer, of no manifest's size, gone;
    deleted by retention and by name. Found: its parent went."""
    lay(shelf, "full1", ago(days=9), lsn="0/10", kind="full", engine="pg_basebackup")
    lay(shelf, "child", ago(days=8), lsn="0/20", kind="incremental", engine="pg_basebackup", parent="full1")
    lay(shelf, "full2", ago(days=5), lsn="0/30", kind="full", engine="pg_basebackup")
    three(shelf)
    manifest = path(shelf, "child", "manifest.json")
    if harm == "lost":
        lose_manifest(shelf, "child")
    else:
        newer = manifest.read_text().replace('"format": 1', '"format": 99')
        manifest.write_text({"damaged": "{", "newer": newer, "large": " " * 20_000_000}[harm])
    kept, warned = decided(shelf, keep_last=1)
    assert kept == {"full1", "full2", "b3"}  # dumps are based on nothing
    assert "full1 would go by the retention, and stays: child may be based on it" in warned
    if harm != "lost":
        with pytest.raises(CatalogError, match="may be needed by child"):
            delete_one(shelf, "full1", False, [])
    assert path(shelf, "full1", "manifest.json").exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b" " * 20_000_000], ids=["cut", "other", "large"])
def test_what_has_a_damaged_manifest_goes_by_its_name(shelf: Shelf, content: bytes) -> None:
    """Found: "is damaged" was all that a deletion said, and nothing removed it."""
    three(shelf)
    path(shelf, "b2", "manifest.json").write_bytes(content)
    warnings: list[str] = []
    assert delete_one(shelf, "b2", True, warnings)
    assert path(shelf, "b2").exists()
    assert delete_one(shelf, "b2", False, warnings)
    assert "whether it was pinned" in warnings[0]
    assert not path(shelf, "b2").exists()


def test_what_has_a_newer_manifest_does_not_go_by_its_name(shelf: Shelf) -> None:
    three(shelf)
    manifest = path(shelf, "b2", "manifest.json")
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(CatalogError, match="Update the collection"):
        delete_one(shelf, "b2", False, [])


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"ids": "b1"}', b"\xff\xfe"], ids=repr)
def test_a_note_that_cannot_be_read_is_a_reader(shelf: Shelf, note: bytes) -> None:
    """Kind: what cannot be parsed is taken for nothing. Found: who wrote the note counted as no reader, and its backup could go. An old note is
    nobody's, as others are."""
    three(shelf)
    shelf.repository.write("main/_readers/0.json", note)
    warnings: list[str] = []
    assert prune(shelf, plan_prune(look(shelf), Policy.from_option({"keep_last": 1}), []), warnings, held) == []
    assert "_readers/0.json" in warnings[0]
    with pytest.raises(CatalogError, match="Nothing was deleted"):
        delete_one(shelf, "b1", False, [])
    old = NOW.timestamp() - 3600
    os.utime(path(shelf, "_readers", "0.json"), (old, old))
    assert delete_one(shelf, "b1", False, [])
    assert not path(shelf, "_readers", "0.json").exists()


def test_what_a_notes_age_is_measured_by_is_no_reader(shelf: Shelf) -> None:
    shelf.repository.write("main/_readers/0.json.clock", b"what time is it?")
    assert readers(shelf) == {}
