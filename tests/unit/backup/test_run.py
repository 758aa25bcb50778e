# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds: a look that is acted upon later, when another run had the lock meanwhile; one place proven, all promised; deleting without the
lock. Found: with two repositories, a backup that another run made in one of them was enough for ok; of a backup that was deleted while we
waited, the manifest was written anew by a change of its pin; with two repositories, a lock that was lost did not stop the retention."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.making import Each, Maker, MakingPlan
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupRequest, BackupResult
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.run import BackupRun
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.tier import FolderTier
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import Present
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, HoldfastError, LockHeld
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.decide import Candidate
from ansible_collections.holdfast.postgres.plugins.module_utils.retention.policy import Policy
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)


class Stub(Maker[FolderTier]):
    """Lays a backup into each tier; ``after_plan`` is what happens while the run waits for its locks."""

    def __init__(self, after_plan: Callable[[], Any] = lambda: None) -> None:
        self.after_plan, self.made = after_plan, 0

    def check(self) -> None:
        return

    def present(self) -> Present:
        return Present("7", 1)

    def plan(self, backup_id: str, tiers: Sequence[FolderTier], each: Each[FolderTier], check: bool) -> MakingPlan:
        self.after_plan()
        return MakingPlan(["back up"], "7", Candidate(backup_id, NOW, True, new=True))

    def make(
        self, backup_id: str, tiers: Sequence[FolderTier], each: Each[FolderTier], beat: Callable[[], None]
    ) -> Record:
        self.made += 1
        for tier in tiers:
            tier.record = lay(tier.shelf, backup_id, NOW)
        assert tiers[0].record is not None
        return tiers[0].record


def tiers(path: Path, names: str = "ab", **policy: Any) -> list[FolderTier]:
    found = []
    for name in names:
        (path / name).mkdir(exist_ok=True)
        shelf = Shelf(FileRepository(str(path / name)), "main")
        found.append(FolderTier(name, shelf, Policy.from_option(policy), []))
    return found


def run(places: list[FolderTier], maker: Stub, **wish: Any) -> BackupResult:
    scope = {"databases": None, "tables": []}
    encryption = wish.pop("encryption", {"method": "none"})
    request = BackupRequest("pg_dump", scope, encryption, ("logical",), "a test", **wish)
    return BackupRun(places, maker, request, Progress(None), BackupResult()).run(False)


def test_what_another_run_made_in_one_place_is_copied_to_the_others(tmp_path: Path) -> None:
    both = tiers(tmp_path)
    maker = Stub(lambda: lay(both[0].shelf, "theirs", NOW))
    done = run(both, maker, max_age=3600)
    assert maker.made == 0
    assert done.changed
    assert both[1].shelf.read("theirs") is not None
    again = run(tiers(tmp_path), maker, max_age=3600)
    assert not again.changed


def test_a_pin_makes_no_backup_of_what_was_deleted_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = tiers(tmp_path, "a")
    lay(one.shelf, "mine", NOW)
    true = Lock.acquire

    def acquire(self: Lock, wait: int) -> None:
        true(self, wait)
        one.shelf.remove("mine")

    monkeypatch.setattr(Lock, "acquire", acquire)
    with pytest.raises(CatalogError, match="no backup 'mine'"):
        run([one], Stub(), id="mine", pinned=True)
    assert one.shelf.read("mine") is None


@pytest.mark.parametrize("names", ["a", "ab"])
def test_without_the_lock_nothing_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    places = tiers(tmp_path, names, keep_last=1, keep_within="1h")
    for tier in places:
        lay(tier.shelf, "old", NOW - datetime.timedelta(days=9))

    def lost(self: Lock) -> None:
        raise LockHeld("The lock was taken from this run.")

    monkeypatch.setattr(Lock, "beat", lost)
    with pytest.raises(HoldfastError, match="was taken from this run"):
        run(places, Stub())
    assert all(tier.shelf.read("old") is not None for tier in places)


@pytest.mark.parametrize(
    ("had", "wanted", "made"),
    [
        (("A",), ("A",), 0),
        (("A", "B"), ("B", "A"), 0),
        (("A", "B"), ("A",), 0),
        (("A",), ("B",), 1),
        (("A",), ("A", "B"), 1),
        ((), ("A",), 1),
    ],
)
def test_a_fresh_backup_that_only_former_keys_open_is_not_enough(
    tmp_path: Path, had: tuple[str, ...], wanted: tuple[str, ...], made: int
) -> None:
    """Kind: fresh that is not restorable. Found: after a change of keys, what only the former one opens counted as fresh. Retention sees one
    scope as ever."""
    (place,) = tiers(tmp_path, "a", keep_last=1)
    lay(place.shelf, "old", NOW, encryption="pgp", fingerprints=had)
    maker, encryption = Stub(), {"method": "pgp", "fingerprints": list(wanted)}
    run([place], maker, max_age=3600, encryption=encryption)
    assert maker.made == made
    assert any("not encrypted for" in warning for warning in place.warnings) == bool(made)
    if made:
        with pytest.raises(CatalogError, match="not encrypted for"):
            run(tiers(tmp_path, "a"), maker, id="old", encryption=encryption)


@pytest.mark.parametrize("harm", ["lost", "damaged", "hidden"])
def test_no_backup_is_made_over_one_whose_manifest_cannot_be_read(
    tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found: with its backup_id asked for, its artifacts were written over, and removed where that failed."""
    (place,) = tiers(tmp_path, "a")
    lay(place.shelf, "mine", NOW)
    place.shelf.repository.write("main/mine/RESTORE.txt", b"how")
    manifest = tmp_path / "a" / "main" / "mine" / "manifest.json"
    if harm == "lost":
        manifest.unlink()
    elif harm == "damaged":
        manifest.write_bytes(b"{")
    else:
        monkeypatch.setattr(Shelf, "_read_each", lambda self: iter([("mine", None)]))
    maker = Stub()
    with pytest.raises(CatalogError, match="No backup was made over it"):
        run([place], maker, id="mine")
    assert maker.made == 0


def test_whose_backups_they_are_is_not_told_by_one_that_does_not_say(tmp_path: Path) -> None:
    """Found: objects of a cluster, or snapshots of a server that was not asked, have no system identifier; as the newest they hid that all
    before them are another server's."""
    (tier,) = tiers(tmp_path, "a")
    lay(tier.shelf, "old", NOW - datetime.timedelta(days=1), system="8")
    lay(
        tier.shelf,
        "objects",
        NOW - datetime.timedelta(hours=1),
        system=None,
        kind="objects",
        engine="kubernetes_objects",
    )
    with pytest.raises(CatalogError, match="backups of another server"):
        run([tier], Stub())
