# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that is being recovered, or a standby is made of, is taken away by no retention: it says that it is read, and for how long."""

from __future__ import annotations

import datetime
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.prune import delete_one
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.readers import readers
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline import signature
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.layout import Layout
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import (
    NewDirectory,
    ShelfSource,
    Unsigned,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.records import lay


def test_what_is_being_laid_out_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(FileRepository(str(tmp_path)), "main")
    lay(shelf, "b1", datetime.datetime.now(datetime.timezone.utc), engine="pg_basebackup", kind="full")
    source = ShelfSource(shelf, Secrets({}, str(tmp_path)), None)
    (record,) = source.records([])
    met: list[str] = []

    def lay_out(*given: Any) -> None:
        with pytest.raises(CatalogError) as refused:
            delete_one(shelf, "b1", False, [])
        met.append(str(refused.value))

    monkeypatch.setattr(Layout, "lay_out", lay_out)
    monkeypatch.setattr(Layout, "check_files", lambda *given: None)
    warnings: list[str] = []
    with source.reading(record, warnings):
        source.lay_out(record, NewDirectory(str(tmp_path / "data"), {}, "root", "/nowhere"), Progress(None))
    assert "a recovery" in met[0] and not warnings
    assert readers(shelf) == {} and delete_one(shelf, "b1", False, [])


def test_a_server_that_is_not_there_is_told_which_are(tmp_path: Path) -> None:
    """Kind: a name that was misspelt, and an error that does not say which there are."""
    repository = FileRepository(str(tmp_path))
    lay(
        Shelf(repository, "main"),
        "b1",
        datetime.datetime.now(datetime.timezone.utc),
        engine="pg_basebackup",
        kind="full",
    )
    for name, told in (("mian", "There is main."), ("main", "")):
        problems: list[str] = []
        ShelfSource(Shelf(repository, name), Secrets({}, str(tmp_path)), None).records(problems)
        assert told in " ".join(problems) and bool(told) == bool(problems)


WORD = {"passphrase": "sesame"}


@pytest.fixture(scope="module")
def packed() -> list[bytes]:
    """What gpg made of a few bytes each, by the passphrase."""
    quick = ("--s2k-count", "1024")
    argv = ["gpg", "--batch", "--pinentry-mode", "loopback", *quick, "--passphrase", WORD["passphrase"], "--symmetric"]
    pages = (b"older pages", b"pages")
    return [subprocess.run(argv, input=data, capture_output=True, check=True).stdout for data in pages]


@pytest.fixture
def signed(tmp_path: Path, packed: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A full backup and two upon it, each signed; and an older full one."""
    monkeypatch.setattr(signature, "_ROUNDS", 10)
    shelf = Shelf(FileRepository(str(tmp_path)), "main")
    secret = Encryption({"method": "aes256", **WORD}, str(tmp_path))
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=4)
    for number, parent in enumerate((None, None, "b1", "b2")):
        kind = "incremental" if parent else "full"
        record = lay(shelf, f"b{number}", at + datetime.timedelta(hours=number), engine="pg_basebackup", kind=kind,
                     parent=parent, encryption="aes256", lsn=f"0/{number}000028")  # fmt: skip
        data = packed[bool(number)]
        shelf.repository.write(shelf.key(record.id, "base.tar.gpg"), data)
        record.artifacts = [Artifact("base.tar.gpg", "base", len(data), hashlib.sha256(data).hexdigest(), None)]
        record.signature = signature.sign(record, secret)
        shelf.write(record)
    return shelf


def proven(shelf: Shelf, home: Path, backup_id: str = "b3") -> tuple[list[Unsigned], list[str]]:
    """What of a backup is not signed, and why others, or itself, cannot be used."""
    problems: list[str] = []
    secrets = Secrets(WORD, str(home))
    try:
        source = ShelfSource(shelf, secrets, None)
        record = next((found for found in source.records(problems) if found.id == backup_id), None)
        return source.prove(record) if record else [], problems
    finally:
        secrets.close()


def changed(shelf: Shelf, backup_id: str, **fields: Any) -> None:
    shelf.write(replace(shelf.get(backup_id), **fields))


def of_another(shelf: Shelf) -> None:
    """The older backup's artifact in the place of a parent's own, with its sum in that one's manifest."""
    other = shelf.get("b0").artifacts
    shelf.repository.write(shelf.key("b1", other[0].key), shelf.repository.read(shelf.key("b0", other[0].key)))
    changed(shelf, "b1", artifacts=other)


FORGED: dict[str, Callable[[Shelf], None]] = {
    "another's artifact in the full one": of_another,
    "what the full one is of": lambda shelf: changed(shelf, "b1", server={**shelf.get("b1").server, "timeline": 2}),
    "what the middle one is based on": lambda shelf: changed(shelf, "b2", parent="b0"),
    "what the last one is based on": lambda shelf: changed(shelf, "b3", parent="b1"),
    "where the last one ends": lambda shelf: changed(shelf, "b3", stop_lsn="0/3000100"),
    "another's signature": lambda shelf: changed(shelf, "b1", signature=shelf.get("b0").signature),
}


@pytest.mark.parametrize("forged", FORGED)
def test_each_backup_of_a_chain_is_what_was_signed(signed: Shelf, tmp_path: Path, forged: str) -> None:
    """The kind: who may write into a repository decides what a recovery lays out (CASES 3.2), through any backup that the chosen one is based
    on. Members: an artifact, the server, a link of the chain, a position, a signature of another one."""
    FORGED[forged](signed)
    with pytest.raises(CatalogError, match=r"is not what was signed .*Nothing was touched"):
        proven(signed, tmp_path)


def test_a_link_of_a_chain_whose_signature_was_taken_away_is_found(signed: Shelf, tmp_path: Path) -> None:
    assert proven(signed, tmp_path) == ([], [])
    changed(signed, "b2", signature=None)
    ((name, refusal),), problems = proven(signed, tmp_path)
    assert name == "b2" and "The manifest of b2 is not signed" in str(refusal) and not problems
    # The whole folder of another one, with its valid manifest, in a link's place: it says whose it is.
    shutil.rmtree(tmp_path / "main" / "b1")
    shutil.copytree(tmp_path / "main" / "b0", tmp_path / "main" / "b1")
    assert any("b1" in problem for problem in proven(signed, tmp_path)[1])
