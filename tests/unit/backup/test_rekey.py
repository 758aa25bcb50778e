# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind: copies that are encrypted anew, where other bytes of the same size are what is right. Members: a folder of parts, a chain, one that is
pinned, moves, kills, a lock that is lost, a damaged copy. Found: a damaged copy that was being made anew had its former manifest still, and when that
run was killed, it was taken for whole by the next; who made the source was not compared."""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy import CopyRun
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.rekey import Rekey
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact, Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, LockHeld, Stopped, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline import signature
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.chain import Command, run
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.records import lay

NOW = datetime.datetime.now(datetime.timezone.utc)
PARTS = {
    "databases/shop/toc.dat.gpg": b"contents",
    "databases/shop/1.dat.gpg": b"rows" * 1000,
    "cluster.json.gpg": b"{}",
}
_OPENSSL = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "1", "-pass", "fd:{secret_fd}"]
PARENTS = {"dump": None, "full": None, "incremental": "full"}


class Quick(Encryption):
    """By openssl, as gpg takes a third of a second to start (copies by gpg: test_backup_encryption). As there, no two have the same bytes."""

    def encrypt(self) -> list[Command]:
        return [Command([*_OPENSSL, "-e"], secret=self.secret)]

    def decrypt(self) -> list[Command]:
        return [Command([*_OPENSSL, "-d"], secret=self.secret)]


class Site(NamedTuple):
    source: Shelf
    target: Shelf
    former: Encryption
    new: Encryption

    def copy(self, delete: bool = False, check: bool = False) -> Any:
        return CopyRun(self.source, self.target, [], 2, 1 << 26, delete, 0, Rekey(self.former, self.new)).run(check)

    def opened(self, shelf: Shelf, name: str, by: Encryption) -> dict[str, bytes]:
        return {item.key: _through(by.decrypt(), _read(shelf, name, item.key)) for item in shelf.get(name).artifacts}

    def stands(self, name: str) -> None:
        record = self.target.get(name)
        self.target.verify(record)
        assert self.opened(self.target, name, self.new) == PARTS and record.parent == PARENTS[name]
        assert signature.check_signature(record, self.new, {"method": "aes256"}) is None
        with pytest.raises(ToolError):
            self.opened(self.target, name, self.former)


def _read(shelf: Shelf, name: str, key: str) -> bytes:
    return shelf.repository.read(shelf.key(name, key))


def _through(commands: Any, data: bytes) -> bytes:
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.seek(0)
        return run(commands, stream)


def _lay(shelf: Shelf, name: str, by: Encryption, days: int) -> Record:
    """One that is encrypted and signed, whose parts lie in a folder."""
    kind = "logical" if name == "dump" else name
    at = NOW - datetime.timedelta(days=days)
    record = lay(
        shelf,
        name,
        at,
        lsn=f"0/{9 - days}0",
        kind=kind,
        engine="pg_dump" if kind == "logical" else "pg_basebackup",
        encryption="aes256",
    )
    for item in record.artifacts:
        shelf.repository.delete(shelf.key(name, item.key))
    artifacts = []
    for key, plain in PARTS.items():
        data = _through(by.encrypt(), plain)
        shelf.repository.write(shelf.key(name, key), data)
        artifacts.append(Artifact(key, "database", len(data), hashlib.sha256(data).hexdigest(), len(plain)))
    record = replace(record, artifacts=artifacts, parent=PARENTS[name])
    record.signature = signature.sign(record, by)
    shelf.write(record)
    return record


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(signature, "_ROUNDS", 1000)
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    source, target = (Shelf(FileRepository(str(tmp_path / name)), "main") for name in ("from", "to"))
    former, new = (Quick({"method": "aes256", "passphrase": word}, "nowhere") for word in ("former", "newer!"))
    for days, name in ((3, "dump"), (2, "full"), (1, "incremental")):
        _lay(source, name, former, days)
    return Site(source, target, former, new)


def stop_at(monkeypatch: pytest.MonkeyPatch, kind: type, method: str, text: str) -> None:
    """A stop comes when a method is called with a first argument that has this in it."""
    true = getattr(kind, method)

    def stopped(self: Any, first: Any, *more: Any, **named: Any) -> Any:
        if text in str(getattr(first, "id", first)):
            raise Stopped("SIGTERM")
        return true(self, first, *more, **named)

    monkeypatch.setattr(kind, method, stopped)


def test_a_folder_of_parts_and_a_chain(site: Site) -> None:
    planned = site.copy(check=True)
    assert list(PARENTS) == planned.names and not list(site.target.ids())
    assert site.copy().plan == planned.plan
    for name in PARENTS:
        site.stands(name)
    assert not site.copy().plan and not site.copy(check=True).plan


def test_a_move_takes_what_is_there_under_the_new_passphrase_and_leaves_what_is_pinned(site: Site) -> None:
    """The full one is pinned, so nothing that is based on it has to stay."""
    record = site.source.get("full")
    record.pinned = True
    site.source.write(record)
    site.copy()
    moved = site.copy(delete=True)
    assert [found.id for found in site.source.records([])] == ["full"] and "full stays" in " ".join(moved.warnings)
    for name in PARENTS:
        site.stands(name)
    assert site.target.get("full").pinned
    assert not site.copy(delete=True).plan


@pytest.mark.parametrize(
    ("method", "text"), [("sink", "full/cluster.json"), ("read_to_verify", ""), ("write", "main/full/manifest")]
)
def test_one_that_was_killed(site: Site, monkeypatch: pytest.MonkeyPatch, method: str, text: str) -> None:
    """In the middle of one, after all of it was written, at its manifest."""
    if method == "read_to_verify":
        stop_at(monkeypatch, Shelf, "write", "full")
    else:
        stop_at(monkeypatch, FileRepository, method, text)
    with pytest.raises(Stopped):
        site.copy(delete=True)
    assert len(list(site.source.records([]))) == 3 and site.target.read("full") is None
    monkeypatch.undo()
    monkeypatch.setattr(signature, "_ROUNDS", 1000)
    assert site.copy(delete=True).names == ["full", "incremental"]
    for name in PARENTS:
        site.stands(name)
    assert not list(site.source.records([]))


def test_a_damaged_copy_whose_mending_was_killed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.copy()
    key = site.target.key("full", "cluster.json.gpg")
    whole = site.target.repository.read(key)
    site.target.repository.delete(key)
    stop_at(monkeypatch, FileRepository, "sink", "full/cluster.json")
    with pytest.raises(Stopped):
        site.copy()
    monkeypatch.undo()
    monkeypatch.setattr(signature, "_ROUNDS", 1000)
    # Somebody puts back what was missing: all sizes are right now, and the other parts are of the run that was killed.
    site.target.repository.write(key, whole)
    assert site.copy().names == ["full"]
    site.stands("full")


def test_a_source_that_went_bad_costs_the_copy_nothing(site: Site) -> None:
    """Found: the copy had lost one part and its source another, and the copy lost its manifest as well before anybody looked at the source."""
    site.copy()
    site.target.repository.delete(site.target.key("dump", "cluster.json.gpg"))
    key = site.source.key("dump", "databases/shop/1.dat.gpg")
    site.source.repository.write(key, bytes(len(site.source.repository.read(key))))
    with pytest.raises(CatalogError, match="sha256 differs"):
        site.copy()
    assert site.target.read("dump") is not None


def test_a_lock_that_is_lost_while_one_is_encrypted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: nobody looked at the lock before all of a backup was encrypted."""
    beats: list[int] = []

    def beat(self: Lock) -> None:
        beats.append(1)
        if len(beats) > len(PARTS):  # all was read in the source
            raise LockHeld("The lock was taken from this run.")

    monkeypatch.setattr(Lock, "beat", beat)
    with pytest.raises(LockHeld):
        site.copy()
    assert not list(site.target.repository.list("main/dump"))


def test_one_of_another_server_is_not_taken_for_it(site: Site) -> None:
    site.copy()
    record = site.source.get("dump")
    record.server["system_id"] = "8"
    record.signature = signature.sign(record, site.former)
    site.source.write(record)
    with pytest.raises(CatalogError, match="another backup dump"):
        site.copy()
