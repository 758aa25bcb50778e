# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For how long WAL is waited for, by a clock of our own and a server that says what a table has; real ones are in
tests/integration/test_backup_wal_arrives.py.

The kind: a wait without an end, or one that ends too soon. Its members: an archiver that hangs, one that fails, one that is slow, one
that goes on elsewhere, and the time between two waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines import wal_arrival
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import WalArchive
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_arrival import Archiving
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress

QUIET = Progress(None)
MB16 = 16 * 1024 * 1024


def segment(number: int) -> str:
    return f"{1:08X}{0:08X}{number:08X}"


class World:
    """The clock, the archiver and the archive. ``archived``: the number of the last segment archived, by the seconds that passed."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.began = self.now
        self.archived: Callable[[float], int] = lambda seconds: 4
        self.failing = False
        self.elsewhere = False

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def last(self) -> int:
        return self.archived(self.now - self.began)

    def state(self, _connection: object) -> dict[str, Any]:
        first = segment(self.last + 1)
        return {
            "failing": self.failing,
            "failing_segment": first if self.failing else None,
            "failing_since": "then" if self.failing else None,
            "last_archived": segment(self.last),
            "last_archived_at": self.last,
            "ready": 3,
            "oldest_ready": first,
            "waiting_age": 1.0,
        }


class Archive(WalArchive):
    description = "the archive"

    def __init__(self, world: World) -> None:
        self._world = world

    def archive_command(self) -> str:
        return "ours"

    def restore_command(self) -> str:
        return "theirs"

    def names(self, after: Optional[str] = None) -> Iterator[str]:
        last = 0 if self._world.elsewhere else self._world.last
        return (segment(number) for number in range(1, last + 1) if after is None or segment(number) > after)

    def fetch(self, name: str, path: str) -> bool:
        return False


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(wal_arrival, "time", found)
    monkeypatch.setattr(wal_arrival, "archiver_state", found.state)
    monkeypatch.setattr(wal_arrival, "archiver_words", lambda connection: "The archiver is as it is.")
    monkeypatch.setattr(Archiving, "_standby", lambda archiving: False)
    monkeypatch.setattr(wal_arrival.facts, "wal_segment_size", lambda connection: MB16)
    monkeypatch.setattr(wal_arrival.facts, "setting", lambda connection, name: "")
    return found


def asked(world: World, timeout: float = 600) -> Archiving:
    return Archiving(None, Archive(world), timeout=timeout)  # type: ignore[arg-type]


def waits(archiving: Archiving, world: World, seconds: float) -> None:
    """As a program waits that has PostgreSQL wait."""
    end = world.now + seconds
    while world.now < end:
        archiving.watch()
        world.sleep(0.5)


def test_one_that_hangs_is_given_up(world: World) -> None:
    archiving = asked(world)
    waits(archiving, world, 599)
    with pytest.raises(ServerError, match=rf"nothing for 6\d\d seconds .*wal_timeout: 600.*{segment(5)} waits first"):
        waits(archiving, world, 20)


def test_one_that_is_slow_is_not(world: World) -> None:
    world.archived = lambda seconds: 4 + int(seconds // 500)
    waits(asked(world), world, 5000)


def test_one_that_fails_is_given_up_sooner(world: World) -> None:
    archiving = asked(world)
    world.failing = True
    with pytest.raises(ServerError, match="failed to archive for 60 seconds"):
        waits(archiving, world, 80)


def test_a_wait_begins_anew_after_a_while(world: World) -> None:
    """The start of a backup waits too, and its end comes hours later."""
    archiving = asked(world)
    waits(archiving, world, 500)
    world.sleep(7200)
    waits(archiving, world, 500)


def test_a_short_timeout_is_looked_at_often(world: World) -> None:
    with pytest.raises(ServerError, match="nothing for 1 seconds"):
        waits(asked(world, 1), world, 3)


def test_what_arrives_after_a_long_queue_is_waited_for(world: World) -> None:
    world.archived = lambda seconds: 4 + int(seconds // 400)
    asked(world).arrived(1, "0/8000000", "0/9000000", QUIET)
    assert world.now - world.began >= 1600


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_does_not_arrive_ends_the_wait(world: World, elsewhere: bool) -> None:
    """Also where the archiver goes on: past the segment it says nothing of this archive."""
    world.elsewhere = elsewhere
    world.archived = (lambda seconds: 9 + int(seconds)) if elsewhere else (lambda seconds: 4)
    with pytest.raises(
        ServerError, match=rf"{segment(8)}, which the backup needs, was not in the archive after 60\d seconds"
    ):
        asked(world).arrived(1, "0/8000000", "0/9000000", QUIET)


@pytest.mark.parametrize(("age", "refused"), [(None, False), (599.0, False), (601.0, True)])
def test_one_that_has_hung_since_before(
    world: World, monkeypatch: pytest.MonkeyPatch, age: Optional[float], refused: bool
) -> None:
    archiving = asked(world)
    monkeypatch.setattr(
        wal_arrival, "archiver_state", lambda connection: {**world.state(connection), "waiting_age": age}
    )
    if refused:
        with pytest.raises(ServerError, match=r"could not be restored.*does not come back"):
            archiving._check_hanging()
    else:
        archiving._check_hanging()
