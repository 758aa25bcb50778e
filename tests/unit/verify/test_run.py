# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run over real objects without a server: what is found is written down, whatever else goes wrong. Members: a good one, a bad one and one that cannot be
looked at in one run; a store that goes away in the middle, that fails for one object, that hides one; a backup that is deleted while it is read, one that is
pruned meanwhile; a kill after the first one; WAL that is missing, damaged, another one's; a part that another program's pipe ends early."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import delete_one
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    CatalogError,
    HoldfastError,
    Incomplete,
    RepositoryError,
    Stopped,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.content import NotEmpty
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.folder import FolderCheck
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.reading import read
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.run import VerifyRequest, VerifyRun
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.tiers import FolderVerifyTier
from lab import segments
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)
PLAIN = b"-- PostgreSQL database dump\nSELECT 1;\n-- PostgreSQL database dump complete\n\n"


class Store(FileRepository):
    """A directory that fails as a test says, by the end of a key."""

    fails: Optional[str] = None
    hides: Optional[str] = None
    away = False
    on_read: Any = None

    def blocks(self, key: str) -> Iterator[bytes]:
        if self.on_read is not None:
            self.on_read(key)
        if self.away or (self.fails and key.endswith(self.fails)):
            raise RepositoryError("the store does not answer")
        return super().blocks(key)

    def check(self, write: bool) -> None:
        if self.away:
            raise RepositoryError("the store does not answer")
        super().check(write)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "store").mkdir()
    return Shelf(Store(str(tmp_path / "store")), "main")


def dump(shelf: Shelf, name: str, days: float, data: bytes = PLAIN, **more: Any) -> Record:
    record = lay(shelf, name, NOW - datetime.timedelta(days=days), data=data, **more)
    record.databases = [{"name": "shop", "format": "plain"}]
    shelf.write(record)
    return record


def run(shelf: Shelf, tmp_path: Path, level: str = "content", check: bool = False, **more: Any) -> Any:
    """What a run finds, also where it fails in the end."""
    values = {
        "backup_id": None,
        "full": False,
        "max_age": 7 * 86400.0,
        "budget_time": None,
        "budget_bytes": None,
        **more,
    }
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    tier = FolderVerifyTier("disk", shelf, FolderCheck(shelf, Secrets({}, str(scratch)), str(scratch), None))
    warnings: list[str] = []
    made = VerifyRun([tier], VerifyRequest(level, **values), Progress(None), warnings)
    try:
        made.run(check)
    except Incomplete as exc:
        return made.result, str(exc), warnings
    return made.result, "", warnings


def ids(found: Any) -> list[str]:
    return [entry["id"] for entry in found]


def path(shelf: Shelf, record: Record) -> Path:
    assert isinstance(shelf.repository, FileRepository)
    return Path(shelf.repository.root, "main", record.id, record.artifacts[0].key)


def test_one_of_each_in_one_run(shelf: Shelf, tmp_path: Path) -> None:
    well, bad, closed = (dump(shelf, name, days) for name, days in (("b1", 3), ("b2", 2), ("b3", 1)))
    path(shelf, bad).write_bytes(PLAIN.replace(b"1", b"2"))
    Store.fails = "b3/databases/shop.dump"
    try:
        result, said, _warnings = run(shelf, tmp_path)
    finally:
        Store.fails = None
    assert (ids(result.verified), ids(result.damaged), ids(result.unknown)) == (["b1"], ["b2"], ["b3"])
    assert "b2: databases/shop.dump" in said and "nothing against them" in said and "does not answer" in said
    assert shelf.marks(anew=True).failure(bad) and not shelf.marks().failure(closed)
    assert shelf.marks().proven_at(well, "content") and not shelf.marks().proven_at(closed, "content")
    again, said, _warnings = run(shelf, tmp_path)
    assert sorted(ids(again.damaged) + ids(again.verified)) == ["b2", "b3"] and again.fresh == 1


def test_a_store_that_goes_away_in_the_middle(shelf: Shelf, tmp_path: Path) -> None:
    records = [dump(shelf, f"b{number}", number) for number in range(1, 6)]
    store: Any = shelf.repository
    store.on_read = lambda key: setattr(store, "away", "b3/" in key)
    result, said, _warnings = run(shelf, tmp_path)
    assert ids(result.verified) == ["b5", "b4"] and ids(result.unknown) == ["b3"] and ids(result.left) == ["b2", "b1"]
    assert "does not answer" in said
    store.away, store.on_read = False, None
    assert not [record for record in records if shelf.marks(anew=True).failure(record)]


def test_what_is_missing_is_asked_for_again(shelf: Shelf, tmp_path: Path) -> None:
    gone, other = dump(shelf, "b1", 2), dump(shelf, "b2", 1)
    path(shelf, gone).unlink()
    result, said, _warnings = run(shelf, tmp_path, "presence")
    assert ids(result.damaged) == ["b1"] and ids(result.verified) == ["b2"] and "is missing" in said
    # Somebody deletes one while the other one is read: that is no damage.
    store: Any = shelf.repository
    store.on_read = lambda key: shelf.remove("b2")
    result, said, warnings = run(shelf, tmp_path, full=True, backup_id="b2")
    store.on_read = None
    assert not result.damaged and not result.verified and "was deleted" in " ".join(warnings) and not said
    assert not shelf.marks(anew=True).failure(other)


def test_it_is_held_while_it_is_read(shelf: Shelf, tmp_path: Path) -> None:
    dump(shelf, "b1", 1)
    store: Any = shelf.repository
    refused: list[str] = []

    def delete(key: str) -> None:
        try:
            delete_one(shelf, "b1", False, [])
        except CatalogError as exc:
            refused.append(str(exc))

    store.on_read = delete
    result, _said, _warnings = run(shelf, tmp_path)
    store.on_read = None
    assert ids(result.verified) == ["b1"] and "is being read" in refused[0]
    assert delete_one(shelf, "b1", False, [])


def test_a_run_that_is_stopped_has_written_what_it_found(shelf: Shelf, tmp_path: Path) -> None:
    records = [dump(shelf, f"b{number}", number) for number in (1, 2)]
    store: Any = shelf.repository

    def stop(key: str) -> None:
        if "b1/" in key:
            raise Stopped("SIGTERM")

    store.on_read = stop
    with pytest.raises(Stopped) as stopped:
        run(shelf, tmp_path)
    store.on_read = None
    assert "1 backup had been verified" in " ".join(stopped.value.left)
    assert shelf.marks(anew=True).proven_at(records[1], "content")
    result, _said, _warnings = run(shelf, tmp_path)
    assert ids(result.verified) == ["b1"] and result.fresh == 1


def test_one_that_is_bad_is_told_of_whatever_is_read(shelf: Shelf, tmp_path: Path) -> None:
    """Its turn comes again, it keeps none of the others from theirs, and no run is well while it is there."""
    bad, other, third = (dump(shelf, f"b{number}", 4 - number) for number in (3, 2, 1))
    path(shelf, bad).write_bytes(PLAIN.replace(b"1", b"2"))
    first, said, _warnings = run(shelf, tmp_path, budget_bytes=1)
    assert ids(first.damaged) == ["b3"] and ids(first.left) == ["b2", "b1"]
    for expected in ("b2", "b1"):
        again, said, _warnings = run(shelf, tmp_path, budget_bytes=1)
        assert (
            ids(again.verified) == [expected]
            and ids(again.damaged) == ["b3"]
            and "not looked at so closely since" in said
        )
    assert shelf.marks(anew=True).proven_at(other, "content") and shelf.marks().proven_at(third, "content")
    path(shelf, bad).write_bytes(PLAIN)
    looked, said, _warnings = run(shelf, tmp_path, "presence")
    assert ids(looked.damaged) == ["b3"] and "b3" in ids(looked.verified)
    last, said, _warnings = run(shelf, tmp_path)
    assert ids(last.verified) == ["b3"] and last.verified[0]["cleared"] and not said


def test_marks_that_cannot_be_written_are_said(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump(shelf, "b1", 1)

    def refuse(self: Any, key: str, expected: Any, new: Any) -> bool:
        raise RepositoryError("may only read")

    monkeypatch.setattr(FileRepository, "swap", refuse)
    result, said, warnings = run(shelf, tmp_path)
    assert ids(result.verified) == ["b1"] and not said and "could not be written down" in " ".join(warnings)


def server_copy(shelf: Shelf, name: str, start: str, stop: str) -> Record:
    record = lay(shelf, name, NOW - datetime.timedelta(days=1), kind="full", engine="pg_basebackup", data=b"x" * 1024)
    record.start_lsn, record.stop_lsn = start, stop
    record.server |= {"wal_segment_size": segments.MIB, "system_id": str(segments.SYSTEM)}
    shelf.write(record)
    return record


def test_the_wal_up_to_its_end(shelf: Shelf, tmp_path: Path) -> None:
    record = server_copy(shelf, "b1", "0/200028", "0/400100")
    result, _said, _warnings = run(shelf, tmp_path, "presence")
    assert ids(result.verified) == ["b1"] and "there is no archive" in " ".join(result.proof.unproven)
    archive = tmp_path / "store/main/_wal"
    archive.mkdir()
    for number in (2, 3, 4):
        (archive / segments.name(number)).write_bytes(segments.content(number))
    result, _said, _warnings = run(shelf, tmp_path, "presence", full=True)
    assert ids(result.verified) == ["b1"] and "is in the archive" in " ".join(result.proof.proven)

    def content(words: str) -> None:
        result, said, _warnings = run(shelf, tmp_path, full=True)
        assert ids(result.damaged) == ["b1"] and words in said, said

    (archive / segments.name(3)).unlink()
    content(f"the WAL segment {segments.name(3)}, without which it is not consistent")
    for strange, words in (
        (segments.content(7), "is not that segment"),
        (segments.content(3)[:-1], "bytes of"),
        (segments.content(3, system=9), "is of another server"),
        (b"", "does not begin as one does"),
    ):
        (archive / segments.name(3)).write_bytes(strange)
        content(words)
    packed = subprocess.run(["gzip", "-c"], input=segments.content(3), capture_output=True, check=True).stdout
    (archive / segments.name(3)).unlink()
    (archive / f"{segments.name(3)}.gz").write_bytes(packed[:-20])
    content("cannot be unpacked")
    (archive / f"{segments.name(3)}.gz").write_bytes(packed)
    assert shelf.marks(anew=True).failure(record)
    result, _said, _warnings = run(shelf, tmp_path)
    assert ids(result.verified) == ["b1"] and result.verified[0]["cleared"]


def test_a_manifest_that_cannot_be_read_is_named(shelf: Shelf, tmp_path: Path) -> None:
    dump(shelf, "b1", 1)
    manifest = tmp_path / "store/main/b1/manifest.json"
    manifest.write_text(manifest.read_text()[:100])
    result, said, _warnings = run(shelf, tmp_path)
    assert ids(result.damaged) == ["b1"] and "is damaged" in said
    result, said, _warnings = run(shelf, tmp_path, backup_id="b1")
    assert ids(result.damaged) == ["b1"]
    with pytest.raises(CatalogError, match="There is no backup 'b9'"):
        run(shelf, tmp_path, backup_id="b9")


@pytest.mark.parametrize(
    ("kind", "level", "expected"),
    [
        ("whole", "content", "good"), ("dangling", "presence", "is missing"), ("other", "presence", "good"), ("other", "content", "sha256 differs"),
        ("folder", "content", "good"), ("directory", "presence", "bytes instead of"), ("loop", "content", "not known"),
        ("foreign", "content", "not known"),
    ],
)  # fmt: skip
def test_links(shelf: Shelf, tmp_path: Path, kind: str, level: str, expected: str) -> None:
    """What a link leads to is what is read; one that cannot be followed, or may not be, says nothing."""
    if kind == "foreign" and os.geteuid() != 0:
        pytest.skip("only root can lay another user's link")
    artifact, elsewhere = path(shelf, dump(shelf, "b1", 1)), tmp_path / "elsewhere"
    elsewhere.write_bytes(PLAIN if kind in ("whole", "foreign") else b"x" * len(PLAIN))
    if kind == "folder":
        artifact.parent.rename(tmp_path / "databases")
        artifact.parent.symlink_to(tmp_path / "databases")
    else:
        artifact.unlink()
        if kind == "directory":
            artifact.mkdir()
        else:
            artifact.symlink_to({"dangling": tmp_path / "nowhere", "loop": artifact}.get(kind, elsewhere))
    if kind == "foreign":
        os.lchown(artifact, 65534, 65534)
    result, said, _warnings = run(shelf, tmp_path, level)
    assert (ids(result.verified) == ["b1"]) is (expected == "good") and (ids(result.unknown) == ["b1"]) is (
        expected == "not known"
    )
    assert expected in ("good", "not known") or expected in said


def test_check_mode_reads_nothing(shelf: Shelf, tmp_path: Path) -> None:
    dump(shelf, "b1", 2)
    dump(shelf, "b2", 1)
    store: Any = shelf.repository
    read_keys: list[str] = []
    store.on_read = read_keys.append
    result, said, _warnings = run(shelf, tmp_path, check=True, budget_bytes=1)
    assert not said and not read_keys and ids(result.left) == ["b1"]
    assert result.plan == [f"verify b2 by content, {len(PLAIN)} B (last good: never before)"]


def pipe(shelf: Shelf, data: bytes, *argv: str, reader: Any = None) -> Any:
    shelf.repository.write("main/x", data)
    programs = [Command(list(argv))] if argv else []
    return read(shelf.repository, "main/x", programs, reader, lambda size: None)


def test_an_object_is_hashed_whatever_becomes_of_the_programs(shelf: Shelf) -> None:
    data = bytes(range(256)) * 20_000
    whole = hashlib.sha256(data).hexdigest()
    for argv, wrong in (
        ((), None), (("cat",), None), (("head", "-c", "10"), None), (("false",), "false"), (("zstd", "-dc"), "zstd"),
        (("sh", "-c", "cat; exit 3"), "exit code 3"),
    ):  # fmt: skip
        found = pipe(shelf, data, *argv)
        assert (found.sha256, found.size) == (whole, len(data))
        assert (wrong is None) == (found.wrong is None) and (wrong or "") in (found.wrong or ""), argv
    for argv in (("sh", "-c", "kill -9 $$"), ("sh", "-c", "echo 'write error: No space left on device' >&2; exit 1"),
                 ("sh", "-c", "echo 'decryption failed: No secret key' >&2; exit 2")):  # fmt: skip
        found = pipe(shelf, data, *argv)
        assert found.sha256 == whole and found.wrong is None and found.unclear is not None, argv
    assert pipe(shelf, b"", "cat", reader=NotEmpty()).wrong == "it is empty"
    assert pipe(shelf, b"", reader=NotEmpty()).wrong == "it is empty"
    with pytest.raises(HoldfastError):
        pipe(shelf, data, "no-such-program")


def test_a_readers_mistake_is_raised(shelf: Shelf) -> None:
    class Wrong:
        def feed(self, data: bytes) -> None:
            raise KeyError("a mistake of ours")

        def end(self) -> None:
            """Never."""

    for argv in ((), ("cat",)):
        with pytest.raises(KeyError):
            pipe(shelf, json.dumps([1] * 100_000).encode(), *argv, reader=Wrong())
