# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind: who may write into a repository, and has no passphrase, decides what is restored (CASES 3.2). Members: an artifact of another
backup, with its sum in the manifest; another field; the signature of another backup; none; one of a method that is not known. Found: restored."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Artifact, Record, decode, encode
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline import signature
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import check_signature, sign
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.records import lay

SECRET = {"method": "aes256", "passphrase": "sesame"}
NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signature, "_ROUNDS", 10)


@pytest.fixture
def secret(tmp_path: Path) -> Encryption:
    return Encryption(SECRET, str(tmp_path))


@pytest.fixture
def record(tmp_path: Path, secret: Encryption) -> Record:
    made = lay(Shelf(FileRepository(str(tmp_path)), "main"), "b1", NOW, encryption="aes256", lsn="0/10")
    made.signature = sign(made, secret)
    return decode(encode(made), "a manifest")


def test_what_was_signed_is_what_is_read(record: Record, secret: Encryption) -> None:
    assert check_signature(record, secret, SECRET) is None
    # What changes later is not of it.
    later = replace(
        record, pinned=True, annotations={"a": "b"}, verified_at=None, warnings=["x"], drilled_at="2026-01-01T00:00:00Z"
    )
    assert check_signature(later, secret, SECRET) is None
    # By it a passphrase could be guessed: it stays in the repository, where artifacts let it be guessed already.
    assert "signature" not in record.to_dict()


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "b2"},
        {"artifacts": [Artifact("databases/shop.dump", "database", 4, "0" * 64, 4)]},
        {"artifacts": []},
        {"server": {"name": "main", "system_id": "8", "timeline": 1}},
        {"parent": "b0"},
        {"scope": {"tables": ["a"]}},
        {"databases": [{"name": "other"}]},
        {"encryption": {"method": "aes256", "recipients": [], "fingerprints": ["A"]}},
        {"stopped_at": "2026-01-01T00:00:00.000Z"},
        {"start_lsn": "0/20"},
        {"kind": "full"},
    ],
    ids=str,
)
def test_whatever_was_changed_is_seen(record: Record, secret: Encryption, changed: dict[str, Any]) -> None:
    with pytest.raises(CatalogError, match="is not what was signed"):
        check_signature(replace(record, **changed), secret, SECRET)


def test_the_signature_of_another_one(tmp_path: Path, record: Record, secret: Encryption) -> None:
    other = lay(Shelf(FileRepository(str(tmp_path)), "main"), "b2", NOW, encryption="aes256")
    with pytest.raises(CatalogError, match="is not what was signed"):
        check_signature(replace(other, signature=record.signature), secret, SECRET)
    with pytest.raises(CatalogError, match="is not what was signed"):
        check_signature(record, Encryption({"method": "aes256", "passphrase": "another"}, str(tmp_path)), SECRET)


def test_what_has_none_is_to_be_agreed_to(record: Record, secret: Encryption, tmp_path: Path) -> None:
    assert "is not signed" in str(check_signature(replace(record, signature=None), secret, SECRET))
    strange = {**(record.signature or {}), "method": "none"}
    assert "is not known here" in str(check_signature(replace(record, signature=strange), secret, SECRET))
    plain = lay(Shelf(FileRepository(str(tmp_path)), "main"), "b3", NOW)
    nobody = Encryption({}, str(tmp_path))
    assert sign(plain, nobody) is None
    assert check_signature(plain, nobody, {}) is None is check_signature(record, nobody, {})


@pytest.mark.parametrize(
    "asked", [SECRET, {"passphrase": "sesame"}, {"method": "none", "passphrase": "sesame"}], ids=str
)
def test_public_keys_where_a_passphrase_was_expected(record: Record, tmp_path: Path, asked: dict[str, Any]) -> None:
    """Kind: the manifest itself says what is compared. Found: with "pgp" in it no signature was asked for, and gpg opened by the passphrase
    what the passphrase had encrypted, of whichever backup."""
    claimed = replace(record, encryption={"method": "pgp", "recipients": ["A"], "fingerprints": ["A"]}, signature=None)
    theirs = {**asked, "method": "pgp", "recipients": ["A"]}
    with pytest.raises(BadOption, match="find out who can write there"):
        check_signature(claimed, Encryption(theirs, str(tmp_path)), asked)
    assert check_signature(claimed, Encryption(theirs, str(tmp_path)), theirs) is None
