# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shipping into a store that misbehaves: what it says it has, and has not, never leaves the directory; what it has although it said no is ours.

Public reports of the kind: wal-g#619 (an object of no bytes, said to be archived), wal-g#1578 and #62 (a segment that failed, and those behind it
went on), pgrwl#219 (gone here, and not there), plugin-barman-cloud#263 (overwritten by another cluster of the name).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship import Shipper, ShipRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_directory import WalDirectory
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_state import shipping_of
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_store import Packed, ShippingStore
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, LockHeld, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab import segments


class Odd(FileRepository):
    """A store of which ``create`` does something else first, by how often it was asked; None: as ever."""

    def __init__(self, path: str, odd: Callable[[int, str, bytes], Optional[bool]]) -> None:
        super().__init__(path)
        self._odd, self.asked = odd, 0
        self.order: list[str] = []

    def create(self, key: str, data: bytes) -> bool:
        self.asked += 1
        done = self._odd(self.asked, key, data)
        self.order.append(key.rpartition("/")[2])
        return super().create(key, data) if done is None else done


class Place:
    """A directory with five segments, and what ships it into a store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wal = root / "here" / "shop" / "_wal"
        self.wal.mkdir(parents=True)
        (root / "there").mkdir()
        (root / "scratch").mkdir()
        self.names = segments.write(self.wal, range(3, 8))

    def shipper(self, repository: FileRepository, keep: Optional[int] = 1, jobs: int = 3) -> Shipper:
        encryption = Encryption(None, str(self.root))
        store = ShippingStore("far", repository, "shop", encryption, str(self.root / "scratch"))
        request = ShipRequest(Compression("none"), encryption, jobs, keep, False)
        return Shipper(WalDirectory(str(self.root / "here"), "shop"), [store], request, Progress(None))

    def here(self) -> list[str]:
        return sorted(path.name for path in self.wal.iterdir() if not path.name.startswith("."))

    def there(self) -> list[str]:
        return sorted(path.name for path in (self.root / "there" / "shop" / "_wal").glob("0*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_in_order_and_each_once(place: Place) -> None:
    repository = Odd(str(place.root / "there"), lambda asked, key, data: None)
    done = place.shipper(repository).once()
    assert repository.order == place.names and done.shipped == 5 and place.here() == place.names[-1:]
    assert not place.shipper(repository).once().changed and repository.asked == 5


@pytest.mark.parametrize("cut", [lambda data: b"", lambda data: data[:-1], lambda data: bytes(len(data))])
def test_what_was_swallowed_on_its_way_is_seen(place: Place, cut: Callable[[bytes], bytes]) -> None:
    """An object of no bytes, a short one, other bytes of the right size, each said to be fine."""

    def odd(asked: int, key: str, data: bytes) -> Optional[bool]:
        return FileRepository.create(repository, key, cut(data)) if asked == 2 else None

    repository = Odd(str(place.root / "there"), odd)
    with pytest.raises(HoldfastError, match="reads back as other bytes"):
        place.shipper(repository).once()
    assert place.names[1] in place.here()
    # What is there now is not taken for it by the next run either.
    with pytest.raises(HoldfastError):
        place.shipper(FileRepository(str(place.root / "there"))).once()
    assert place.names[1] in place.here()


def test_said_and_not_done(place: Place) -> None:
    """It says that it has it, and has nothing."""
    repository = Odd(str(place.root / "there"), lambda asked, key, data: True if asked == 3 else None)
    with pytest.raises(HoldfastError):
        place.shipper(repository).once()
    assert place.names[2] in place.here()
    assert place.shipper(FileRepository(str(place.root / "there"))).once().shipped
    assert place.there() == place.names


def test_done_and_nobody_hears_of_it(place: Place) -> None:
    """The answer is lost, and the second attempt finds the name taken: by ourselves."""

    def odd(asked: int, key: str, data: bytes) -> Optional[bool]:
        if asked != 2:
            return None
        FileRepository.create(repository, key, data)
        return False

    repository = Odd(str(place.root / "there"), odd)
    place.shipper(repository).once()
    assert place.there() == place.names and place.here() == place.names[-1:]


def test_what_fails_holds_up_what_follows(place: Place) -> None:
    """And what came before has left; the next run goes on there."""

    def odd(asked: int, key: str, data: bytes) -> Optional[bool]:
        if key.endswith(place.names[2]):
            raise RepositoryError("away")
        return None

    with pytest.raises(HoldfastError, match="away"):
        place.shipper(Odd(str(place.root / "there"), odd)).once()
    assert place.there() == place.names[:2] and place.here() == place.names
    state = json.loads((place.wal / ".shipped.json").read_text())["stores"]
    assert [entry["error"] for entry in state.values()] == ["away"]
    told = shipping_of(str(place.root / "here"), "shop", 2e9)
    assert (
        told
        and told["stores"][0]["waiting"] == 3
        and told["stores"][0]["seconds"] > 0
        and told["stores"][0]["error"] == "away"
    )
    place.shipper(FileRepository(str(place.root / "there"))).once()
    assert place.there() == place.names and place.here() == place.names[-1:]
    told = shipping_of(str(place.root / "here"), "shop", 2e9)
    assert told and told["stores"][0]["waiting"] == 0 and told["stores"][0]["error"] is None


def test_what_was_sent_before_a_failure_is_known_to_be_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read back only when the third has failed already."""
    failed = threading.Event()
    fail, verify, send = ShippingStore.fail, ShippingStore.verify, Shipper._send

    def all_at_once(self: Shipper, underway: Any, *rest: Any) -> None:
        for entry in underway:
            entry.packing.exception()
        send(self, underway, *rest)

    def failing(self: ShippingStore, exc: HoldfastError) -> None:
        fail(self, exc)
        failed.set()

    def late(self: ShippingStore, packed: Packed) -> None:
        assert failed.wait(10)
        verify(self, packed)

    def odd(asked: int, key: str, data: bytes) -> Optional[bool]:
        if key.endswith(place.names[2]):
            raise RepositoryError("away")
        return None

    monkeypatch.setattr(Shipper, "_send", all_at_once)
    monkeypatch.setattr(ShippingStore, "fail", failing)
    monkeypatch.setattr(ShippingStore, "verify", late)
    with pytest.raises(HoldfastError, match="away"):
        place.shipper(Odd(str(place.root / "there"), odd)).once()
    told = shipping_of(str(place.root / "here"), "shop", 2e9)
    assert told and told["stores"][0]["waiting"] == 3


def test_a_file_that_comes_again_with_other_content(place: Place) -> None:
    """A volume that was set back to a snapshot, without a new timeline: the names are the same, and what is in them is not."""
    repository = FileRepository(str(place.root / "there"))
    place.shipper(repository, keep=5).once()
    segments.write(place.wal, range(6, 7), seed=1)
    with pytest.raises(HoldfastError, match="one name with two contents"):
        place.shipper(repository, keep=1).once()
    assert place.names[3] in place.here()


def test_a_store_that_is_back_after_a_while(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service waits for it; what comes meanwhile is there when it is back."""
    slept: list[float] = []

    def odd(asked: int, key: str, data: bytes) -> Optional[bool]:
        if len(slept) < 3:
            raise RepositoryError("away")
        return None

    class Enough(Exception):
        pass

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            segments.write(place.wal, range(8, 10))
        if len(slept) == 6:
            raise Enough

    monkeypatch.setattr("ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship.time.sleep", sleep)
    with pytest.raises(Enough):
        place.shipper(Odd(str(place.root / "there"), odd)).follow()
    assert slept[:3] == [2.0, 4.0, 8.0] and slept[3] == 1.0
    assert place.there() == [segments.name(number) for number in range(3, 10)] and place.here() == [segments.name(9)]


def test_a_disk_that_is_smaller_than_what_is_to_stay(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver stood still for ever, with nothing left to ship: what is in all stores makes room, and the newest stays, behind which it goes on."""
    repository = FileRepository(str(place.root / "there"))
    assert place.shipper(repository, keep=16).once().removed == 0
    monkeypatch.setattr(WalDirectory, "room", lambda self: 2 * self.size().bytes - 1)
    assert place.shipper(repository, keep=16).plan().plan and place.shipper(repository, keep=16).once().removed == 4
    assert place.here() == place.names[-1:] and place.there() == place.names


def test_a_store_that_stays_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster nobody sees a process that waits: after its time it ends, with the reason."""

    def odd(asked: int, key: str, data: bytes) -> Optional[bool]:
        raise RepositoryError("away")

    began, slept = time.monotonic(), [0.0]
    module = "ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship.time"
    monkeypatch.setattr(f"{module}.sleep", slept.append)
    monkeypatch.setattr(f"{module}.monotonic", lambda: began + sum(slept))
    with pytest.raises(HoldfastError, match="away"):
        place.shipper(Odd(str(place.root / "there"), odd)).follow(patience=20)
    assert slept[1:] == [2.0, 4.0, 8.0, 16.0] and len(place.here()) == len(place.names)


def test_two_at_once(place: Place) -> None:
    directory = WalDirectory(str(place.root / "here"), "shop")
    with directory.lock(0), pytest.raises(LockHeld, match="Another process ships"), directory.lock(0):
        pass


def test_a_state_that_is_damaged_is_asked_for_anew(place: Place) -> None:
    repository = FileRepository(str(place.root / "there"))
    place.shipper(repository, keep=5).once()
    for text in ("", "{", "[]", '{"format": 9}', '{"format": 1, "stores": 3}'):
        (place.wal / ".shipped.json").write_text(text)
        done: Any = place.shipper(repository, keep=5).once()
        assert done.shipped == 5 and place.there() == place.names
