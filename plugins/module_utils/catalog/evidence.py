# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What drills proved, beside a server's backups: ``<server>/_drills/<id>.json``, each with the sha256 of the one before.

Who may write into a repository may write there too. The chain shows what was changed afterwards, and what was taken out of its middle;
that the newest ones were taken away shows only where the store keeps them (object lock), or somebody else knows of them. A signature
(``<id>.json.asc``, by gpg) shows who wrote one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, HoldfastError

FOLDER = "_drills"  # no backup's id: that begins with a letter or digit
FORMAT = 1
PASS, MISSED, PARTIAL, FAIL = VERDICTS = ("pass", "missed", "partial", "fail")
#: verdicts that say that the data came back whole, as far as it was looked at to the end
PROVING = (PASS, MISSED)
LOCK = "lock.json"
LOCK_WAIT = 60  # seconds that another drill may take to write its own

_LARGEST = 4 * 1024 * 1024  # bytes of one
_READ = 500  # of many, so many of the newest are read; the numbers of all are looked at
_ID = re.compile(r"(\d{6,})-(\d{8}T\d{6}Z)\.(pass|missed|partial|fail)\.([A-Za-z0-9][A-Za-z0-9._-]{0,127}|-)")


@dataclass(frozen=True)
class Drill:
    """What a piece of evidence tells by its name: its ``number`` in the chain, when it ended (ISO 8601), its verdict, and the id of the
    backup; None: the drill did not come to choose one."""

    id: str
    number: int
    at: str
    verdict: str
    backup: Optional[str]


def name_of(number: int, stamp: str, verdict: str, backup: Optional[str]) -> str:
    """An id. ``stamp``: when it ended, as 20261126T120102Z."""
    return f"{number:06d}-{stamp}.{verdict}.{backup or '-'}"


def understand(name: str) -> Optional[Drill]:
    """What an id tells; None: it is none."""
    found = _ID.fullmatch(name)
    if found is None:
        return None
    stamp = found[2]
    at = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z"
    return Drill(name, int(found[1]), at, found[3], None if found[4] == "-" else found[4])


def drills(shelf: Shelf) -> list[Drill]:
    """All that there are, in the order of the chain, by their names alone. Raises RepositoryError."""
    prefix = f"{shelf.name}/{FOLDER}"
    names = (info.key[len(prefix) + 1 :] for info in shelf.repository.list(prefix))
    found = [understand(name[: -len(".json")]) for name in names if name.endswith(".json")]
    return sorted((drill for drill in found if drill is not None), key=lambda drill: (drill.number, drill.id))


def in_order(chains: Mapping[str, Sequence[Drill]]) -> list[tuple[str, Drill]]:
    """The drills of several chains, by name, the last one at the end. Within a chain its numbers say what came later, as a clock may have been set
    back, or was ahead for a while; between chains times do: a drill is not later than any that follow it. Pure."""
    timed: list[tuple[str, str, Drill]] = []
    for name, known in chains.items():
        at = "9"
        own = []
        for drill in reversed(sorted(known, key=lambda drill: drill.number)):
            at = min(at, drill.at)
            own.append((at, name, drill))
        timed += reversed(own)
    return [(name, drill) for _at, name, drill in sorted(timed, key=lambda entry: entry[0])]


def last_of_each(known: Sequence[Drill]) -> dict[str, Drill]:
    """The last drill of each backup, by its id. Pure."""
    return {drill.backup: drill for drill in known if drill.backup is not None}


def proven(known: Sequence[Drill]) -> dict[str, Drill]:
    """The last drill of each backup that proved it. Pure."""
    return last_of_each([drill for drill in known if drill.verdict in PROVING])


def key_of(shelf: Shelf, drill_id: str, suffix: str = ".json") -> str:
    """Where a piece of evidence lies."""
    return f"{shelf.name}/{FOLDER}/{drill_id}{suffix}"


def digest(content: Mapping[str, Any]) -> str:
    """The sha256 of a piece of evidence: of its JSON without the field ``sha256``, keys sorted, no spaces, in UTF-8."""
    plain = {name: value for name, value in content.items() if name != "sha256"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def seal(content: Mapping[str, Any], previous: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    """The evidence as it is written, chained to the one before. Pure."""
    before = None if previous is None else {"id": previous["id"], "sha256": previous["sha256"]}
    sealed = {**content, "previous": before}
    return {**sealed, "sha256": digest(sealed)}


def read(shelf: Shelf, drill_id: str) -> dict[str, Any]:
    """A piece of evidence, which is what was written.

    Raises:
        CatalogError: it was changed since, or is none.
        ObjectMissing: there is none.
    """
    key = key_of(shelf, drill_id)
    where = f"The evidence {key} in {shelf.repository.description}"
    try:
        content = bounded.loads(bounded.read(shelf.repository, key, _LARGEST))
    except ValueError as exc:
        raise CatalogError(f"{where} is damaged ({exc}): nothing that it says can be relied on.") from exc
    wrong = damage(content, drill_id)
    if wrong is not None:
        raise CatalogError(f"{where} {wrong}: nothing that it says can be relied on.")
    found: dict[str, Any] = content
    return found


def damage(content: Any, drill_id: str) -> Optional[str]:
    """What is wrong with a piece of evidence by itself; None: nothing. Pure."""
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        return "is no evidence"
    if content["format"] > FORMAT:
        return f"has format {content['format']}, and this version of holdfast.postgres reads up to {FORMAT}"
    if content.get("sha256") != digest(content):
        return "was changed after it was written (its sha256 differs)"
    told = understand(drill_id)
    said = (content.get("id"), content.get("verdict"), (content.get("backup") or {}).get("id"))
    if told is None or said != (drill_id, told.verdict, told.backup):
        return f"says of itself that it is {said[0]!r}, of the backup {said[2]!r}, with the verdict {said[1]!r}"
    return None


def missing_numbers(known: Sequence[Drill]) -> list[str]:
    """What the numbers of a chain show: sentences. Pure."""
    told: list[str] = []
    expected = 1
    for drill in known:
        if drill.number > expected:
            last = f" to {drill.number - 1}" if drill.number - 1 > expected else ""
            told.append(f"The evidence number {expected}{last}, before {drill.id}, was removed.")
        elif drill.number < expected:
            told.append(f"There are two pieces of evidence with the number {drill.number}: one of them was put there.")
        expected = drill.number + 1
    return told


def broken_links(contents: Sequence[tuple[str, Optional[Mapping[str, Any]], Optional[str]]]) -> list[str]:
    """What is wrong with pieces of evidence that follow each other, as (id, content, why it cannot be used): sentences. Pure."""
    told: list[str] = []
    before: Optional[Mapping[str, Any]] = None
    for number, (name, content, wrong) in enumerate(contents):
        if content is None:
            told.append(str(wrong))
        elif (
            number
            and before is not None
            and content.get("previous") != {"id": before["id"], "sha256": before["sha256"]}
        ):
            said = (content.get("previous") or {}).get("id")
            told.append(
                f"The evidence {name} was written after {said!r}, and {before['id']} is before it now: what was between was removed, or "
                "what is there was replaced."
            )
        before = content
    return told


#: of one drill: its id, what it says (None: it cannot be believed), and why not
Content = tuple[str, Optional[dict[str, Any]], Optional[str]]


def contents(shelf: Shelf, known: Sequence[Drill]) -> list[Content]:
    """What drills say, read side by side, in the same order."""

    def look(drill: Drill) -> Content:
        try:
            return drill.id, read(shelf, drill.id), None
        except HoldfastError as exc:
            return drill.id, None, str(exc)

    with threads(8) as pool:
        return list(pool.map(look, known))


def audit(shelf: Shelf) -> list[str]:
    """Read the chain, and say what is wrong with it. Raises RepositoryError: it cannot be listed."""
    known = drills(shelf)
    return missing_numbers(known) + broken_links(contents(shelf, known[-_READ:]))


Sign = Callable[[bytes], bytes]


def write(
    shelf: Shelf,
    content: Mapping[str, Any],
    stamp: str,
    tell: Callable[[Mapping[str, Any]], str],
    sign: Optional[Sign],
    warnings: list[str],
) -> dict[str, Any]:
    """Write a piece of evidence behind those that are there, as JSON, and as ``tell`` tells it in Markdown; returns it as it was written.

    Raises:
        HoldfastError: it could not be written.
    """
    lock = Lock(shelf.repository, f"{shelf.name}/{FOLDER}/{LOCK}", "evidence of a drill", warnings)
    lock.acquire(LOCK_WAIT)
    try:
        known = drills(shelf)
        last = known[-1] if known else None
        name = name_of(
            last.number + 1 if last else 1, stamp, content["verdict"], (content.get("backup") or {}).get("id")
        )
        sealed = seal({**content, "id": name}, _as_previous(shelf, last, warnings))
        data = (json.dumps(sealed, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
        shelf.repository.write(
            key_of(shelf, name, ".md"), tell(sealed).encode("utf-8", "surrogateescape"), lasting=True
        )
        if sign is not None:
            shelf.repository.write(key_of(shelf, name, ".json.asc"), sign(data), lasting=True)
        if not shelf.repository.create(key_of(shelf, name), data):
            raise CatalogError(
                f"There is an evidence {key_of(shelf, name)} in {shelf.repository.description} already: somebody else wrote it meanwhile."
            )
        return sealed
    finally:
        lock.release()


def _as_previous(shelf: Shelf, last: Optional[Drill], warnings: list[str]) -> Optional[Mapping[str, Any]]:
    """The one before, by the sum of what is there now. One that was changed breaks the chain, and stays what it is."""
    if last is None:
        return None
    try:
        return read(shelf, last.id)
    except CatalogError as exc:
        warnings.append(f"The chain of evidence is broken before this drill: {exc}")
        return {"id": last.id, "sha256": None}
