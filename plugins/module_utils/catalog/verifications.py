# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verifying found since the backups were made: one small object beside them, for all of a server's, since one for each of 10,000 would take
minutes to read. A manifest never changes for it.

A mark is of one content: an id that was used again for another backup has none. What was good at a level takes a failure of that level, or of
a lower one, away; an absence of marks says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    ObjectMissing,
    RepositoryError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_time, parse_time

OBJECT = "_verified.json"  # no backup's id: that begins with a letter or digit
#: how closely a backup is looked at, each level with all that the ones before it look at
LEVELS = ("presence", "checksum", "content", "engine")
#: from here on all of it was read back
READ_BACK = "checksum"
_LARGEST = 64 * bounded.MIB  # 100,000 marks have 30
_ATTEMPTS = 20


@dataclass(frozen=True)
class Failure:
    """What was wrong with a backup, at which level it was seen, and when (ISO 8601)."""

    at: str
    level: str
    text: str

    def describe(self) -> str:
        """As the end of a sentence."""
        return f"it failed its verification of {self.at} ({self.level}): {self.text.rstrip('.')}"


@dataclass(frozen=True)
class Mark:
    """``content`` tells which backup of its id is meant; ``proofs`` has for a level when a backup was last good at it (ISO 8601)."""

    content: str
    engine: str
    proofs: Mapping[str, str] = field(default_factory=dict)
    failure: Optional[Failure] = None

    def proven_at(self, level: str) -> Optional[str]:
        """When it was last good at a level, or a higher one."""
        return max((self.proofs[name] for name in at_least(level) if name in self.proofs), default=None)


def at_least(level: str) -> tuple[str, ...]:
    """A level and those above it."""
    return LEVELS[LEVELS.index(level) :]


def content_of(record: Record) -> str:
    """What tells a backup from another one of its id."""
    parts = [
        record.id,
        record.engine,
        record.stopped_at,
        *sorted(f"{item.key} {item.sha256}" for item in record.artifacts),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def good(mark: Optional[Mark], record: Record, level: str, at: str) -> Mark:
    """The mark of a backup that was found good."""
    before = _of(mark, record)
    failure = before.failure
    if failure is not None and LEVELS.index(level) >= LEVELS.index(failure.level):
        failure = None
    return replace(before, proofs={**before.proofs, level: at}, failure=failure)


def bad(mark: Optional[Mark], record: Record, level: str, at: str, text: str) -> Mark:
    """The mark of one that was not. What it was proven to be before at that level holds no more."""
    before = _of(mark, record)
    proofs = {name: when for name, when in before.proofs.items() if name not in at_least(level)}
    return replace(before, proofs=proofs, failure=Failure(at, level, text))


def _of(mark: Optional[Mark], record: Record) -> Mark:
    content = content_of(record)
    return mark if mark is not None and mark.content == content else Mark(content, record.engine)


class Marks:
    """The marks of a server's backups in a repository, as they were read. ``problem``: why none are known, as a sentence."""

    def __init__(self, known: Mapping[str, Mark], problem: Optional[str] = None) -> None:
        self.known, self.problem = known, problem

    def of(self, record: Record) -> Optional[Mark]:
        """A backup's own mark."""
        mark = self.known.get(record.id)
        return mark if mark is not None and mark.content == content_of(record) else None

    def failure(self, record: Record) -> Optional[str]:
        """What was wrong with it when it was looked at last, as the end of a sentence; None: nothing, or nobody has looked."""
        mark = self.of(record)
        return None if mark is None or mark.failure is None else mark.failure.describe()

    def proven_at(self, record: Record, level: str) -> Optional[str]:
        """When it was last good at a level. Who made it has read it back; whether all is still there, a look tells that takes no time."""
        mark = self.of(record)
        found = [mark.proven_at(level)] if mark else []
        failed = mark is not None and mark.failure is not None
        if level == READ_BACK and not failed:
            found.append(record.verified_at)
        return max((at for at in found if at), default=None)

    def apply(self, record: Record) -> Record:
        """The record as it is to be seen: ``verified_at`` is when it was last read back and good; null, where it was found bad since."""
        mark = self.of(record)
        if mark is None:
            return record
        if mark.failure is not None:
            return replace(record, verified_at=None)
        at = max((when for when in (record.verified_at, mark.proven_at(READ_BACK)) if when), default=None)
        return record if at == record.verified_at else replace(record, verified_at=at)


NONE = Marks({})


def read(repository: Repository, server: str) -> Marks:
    """Raises RepositoryError: the store does not answer."""
    return _decode(_bytes(repository, server), f"{server}/{OBJECT} in {repository.description}")


def change(
    repository: Repository,
    server: str,
    changes: Mapping[str, Callable[[Optional[Mark]], Mark]],
    gone: Callable[[str, Mark], bool] = lambda name, mark: False,
) -> None:
    """Replace the marks of some backups by what ``changes`` makes of them, whatever others write at the same moment; those that are ``gone`` are
    forgotten.

    Raises:
        RepositoryError: it cannot be written.
    """
    for _attempt in range(_ATTEMPTS):
        before = _bytes(repository, server)
        known = {name: mark for name, mark in _decode(before, "").known.items() if not gone(name, mark)}
        for name, make in changes.items():
            known[name] = make(known.get(name))
        if repository.swap(f"{server}/{OBJECT}", before, _encode(known)):
            return
    raise RepositoryError(
        f"What was verified could not be written to {server}/{OBJECT} in {repository.description}: others write there all the time."
    )


def _bytes(repository: Repository, server: str) -> Optional[bytes]:
    try:
        return bounded.read(repository, f"{server}/{OBJECT}", _LARGEST)
    except ObjectMissing:
        return None
    except CatalogError as exc:  # of no such object's size
        raise RepositoryError(str(exc)) from exc


def _encode(known: Mapping[str, Mark]) -> bytes:
    rows = {name: asdict(mark) for name, mark in sorted(known.items())}
    return (json.dumps({"format": 1, "backups": rows}, indent=0, ensure_ascii=False) + "\n").encode()


def _decode(data: Optional[bytes], where: str) -> Marks:
    if data is None:
        return NONE
    try:
        content = bounded.loads(data, 6)
        if content["format"] != 1:
            raise ValueError(f"its format is {content['format']!r}")
        return Marks({str(name): _mark(row) for name, row in content["backups"].items()})
    except (BadOption, ValueError, KeyError, TypeError, AttributeError) as exc:
        return Marks(
            {},
            f"{where} cannot be read ({exc}), so that nobody knows what verifying found. The module backup_verify writes it anew.",
        )


def _mark(row: Mapping[str, Any]) -> Mark:
    proofs = {level: _time(at) for level, at in row["proofs"].items() if level in LEVELS}
    failed = row["failure"]
    failure = None
    if failed is not None:
        if failed["level"] not in LEVELS:
            raise ValueError(f"there is no level {failed['level']!r}")
        failure = Failure(_time(failed["at"]), failed["level"], str(failed["text"]))
    return Mark(str(row["content"]), str(row["engine"]), proofs, failure)


def _time(text: Any) -> str:
    return format_time(parse_time(str(text), "time"))


def forgotten(there: Collection[str], engines: Collection[str]) -> Callable[[str, Mark], bool]:
    """What tells marks of backups that are not ``there`` any more, among those of these engines."""
    return lambda name, mark: mark.engine in engines and name not in there
