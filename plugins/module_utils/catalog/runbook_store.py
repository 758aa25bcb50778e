# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of runbooks, beside a server's backups: ``<server>/_dr/<id>.json``, each with its own sha256. Who writes holds a lock for that
moment; who is at a run for longer is in its record, as a run is many modules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded, evidence, runbook
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.lock import Lock
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.runbook import Run
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf, check_name
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError, HoldfastError, ObjectMissing

FOLDER = "_dr"  # no backup's id: that begins with a letter or digit
LOCK = "lock.json"
LOCK_WAIT = 60  # seconds that another one may take to write a record
KEPT = 100  # records stay, the newest; one that is open always does
_LARGEST = 1024 * 1024  # bytes of one


def key_of(shelf: Shelf, run_id: str) -> str:
    """Where a record lies."""
    return f"{shelf.name}/{FOLDER}/{check_name('run_id', run_id)}.json"


@contextmanager
def writing(shelf: Shelf, warnings: list[str]) -> Iterator[None]:
    """While nobody else writes records of this server. Raises HoldfastError."""
    lock = Lock(shelf.repository, f"{shelf.name}/{FOLDER}/{LOCK}", "the record of a runbook", warnings)
    lock.acquire(LOCK_WAIT)
    try:
        yield
    finally:
        lock.release()


def name_of(stamp: str, mode: str, scenario: str, chance: str) -> str:
    """A run's id, which tells when it began (20261126T120102Z), and in which mode."""
    return f"{stamp}-{mode}-{scenario}-{chance}"


def ids(shelf: Shelf) -> list[str]:
    """The runs that there are, the oldest first: an id begins with its time. Raises RepositoryError."""
    prefix = f"{shelf.name}/{FOLDER}"
    names = [info.key[len(prefix) + 1 :] for info in shelf.repository.list(prefix)]
    return sorted(
        name[: -len(".json")] for name in names if name.endswith(".json") and name != LOCK and "/" not in name
    )


def read(shelf: Shelf, run_id: str) -> Run:
    """A run's record.

    Raises:
        ObjectMissing: there is none.
        CatalogError: it is not what a run wrote.
    """
    key = key_of(shelf, run_id)
    where = f"The record {key} in {shelf.repository.description}"
    try:
        content = bounded.loads(bounded.read(shelf.repository, key, _LARGEST))
    except ValueError as exc:
        raise CatalogError(f"{where} is damaged ({exc}). {_DAMAGED}") from exc
    wrong = runbook.damage(content, run_id)
    if wrong is None and content.get("sha256") != evidence.digest(content):
        wrong = "was changed after it was written (its sha256 differs)"
    if wrong is not None:
        raise CatalogError(f"{where} {wrong}. {_DAMAGED}")
    return {name: value for name, value in content.items() if name != "sha256"}


_DAMAGED = (
    "How far that run came, nobody can say by it: look at the server, at what was kept of the old one, and at whether applications are still kept "
    "away. Then move the record out of the repository, and start the runbook anew. Nothing was done."
)


def find_open(shelf: Shelf, mode: str) -> Optional[Run]:
    """The newest run of this mode that has not come to its end; None: there is none.

    Raises:
        CatalogError: a record is damaged: whether that run is open is not known.
    """
    for run_id in reversed(ids(shelf)):
        if f"-{mode}-" not in run_id:
            continue
        try:
            run = read(shelf, run_id)
        except ObjectMissing:
            continue
        if runbook.is_open(run) and run["mode"] == mode:
            return run
    return None


def write(shelf: Shelf, run: Mapping[str, Any]) -> None:
    """Write a record, for who is ``writing``. Raises HoldfastError."""
    sealed = {**run, "sha256": evidence.digest(run)}
    data = (json.dumps(sealed, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
    shelf.repository.write(key_of(shelf, run["id"]), data)


def forget(shelf: Shelf, warnings: list[str]) -> None:
    """Delete the oldest records that have ended, beyond ``KEPT``, for who is ``writing``. What cannot be read, or may not be deleted, stays, and is
    no reason not to begin. Raises RepositoryError: they cannot be listed."""
    left = []
    for run_id in ids(shelf)[:-KEPT]:
        try:
            if not runbook.is_open(read(shelf, run_id)):
                shelf.repository.delete(key_of(shelf, run_id))
        except HoldfastError:
            left.append(run_id)
    if left:
        warnings.append(
            f"{len(left)} old records of runbooks stay, {left[0]} among them: they could not be read or deleted."
        )
