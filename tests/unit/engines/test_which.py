# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One answer to "which engine keeps this server's physical backups and WAL", for setup, backup, recovery, standbys, facts and audit.

The kind: two answers to one question (CASES 1.24). Setup by default into a store took pgBackRest, the recovery with the same variables
looked for pg_basebackup and found nothing. Its members, each asked here: set up by default and recovered; set up with an engine by name
and recovered without; the second run of setup; a server that archives already; two archives side by side; copies without an archive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import PHYSICAL
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.which import physical_engine
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption


def store(**given: Any) -> dict[str, Any]:
    return {**{name: spec.get("default") for name, spec in STORE.items()}, **given}


def params(*stores: dict[str, Any], **given: Any) -> dict[str, Any]:
    one = {"repository": stores[0], "repositories": None} if len(stores) == 1 else {"repositories": list(stores)}
    return {"server_name": "main", "engine": None, **one, **given}


@pytest.mark.parametrize("name", PHYSICAL)
def test_what_is_named_is_taken(name: str, tmp_path: Path) -> None:
    (tmp_path / "main" / "wal-g").mkdir(parents=True)
    assert physical_engine(params(store(path=str(tmp_path)), engine=name)) == name


def test_the_default_goes_with_the_repository(tmp_path: Path) -> None:
    one = store(path=str(tmp_path))
    bucket = store(type="s3", bucket="b", endpoint_url="http://127.0.0.1:9", access_key="a", secret_key="b")
    assert physical_engine(params(one)) == "pg_basebackup"
    assert physical_engine(params(bucket)) == "pgbackrest"
    two = {**one, "name": "a"}, {**store(path=str(tmp_path / "b")), "name": "b"}
    assert physical_engine(params(*two)) == "pgbackrest"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("main/_wal", "pg_basebackup"),
        ("main/wals", "barman_cloud"),
        ("main/wal-g", "wal_g"),
        ("pgbackrest/archive/main", "pgbackrest"),
    ],
)
def test_what_lies_there_is_found(folder: str, name: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "other" / "wal-g").mkdir(parents=True)
    for copies in (False, True):
        assert physical_engine(params(store(path=str(tmp_path))), copies=copies) == name
    assert physical_engine(params(store(path=str(tmp_path)), server_name="third"), copies=copies) == "pg_basebackup"


@pytest.mark.parametrize(
    "command", ["pgbackrest --stanza=x archive-push %p", "barman-cloud-wal-archive s3://b main %p", "my-own %p %f"]
)
def test_an_archive_elsewhere_is_not_taken_for_this_one(command: str, tmp_path: Path) -> None:
    """It goes on: setting up another is refused by whoever is asked to (``replace``)."""
    assert physical_engine(params(store(path=str(tmp_path))), command) == "pg_basebackup"
    (tmp_path / "main" / "wal-g").mkdir(parents=True)
    assert physical_engine(params(store(path=str(tmp_path))), command) == "wal_g"


def test_where_the_repository_cannot_be_looked_into_the_command_decides(tmp_path: Path) -> None:
    missing = params(store(path=str(tmp_path / "missing")))
    assert physical_engine(missing, "wal-g wal-push %p") == "wal_g"
    assert physical_engine(missing, "/bin/true") == "pg_basebackup"


def test_two_archives_are_a_question(tmp_path: Path) -> None:
    (tmp_path / "main" / "wals").mkdir(parents=True)
    (tmp_path / "main" / "wal-g").mkdir(parents=True)
    given = params(store(path=str(tmp_path)))
    with pytest.raises(BadOption, match=r"barman_cloud.*wal_g.*Name the engine"):
        physical_engine(given)
    assert physical_engine(given, "wal-g wal-push %p") == "wal_g"


def test_the_receiver_is_the_stock_archive(tmp_path: Path) -> None:
    bucket = store(type="s3", bucket="b")
    assert physical_engine(params(bucket, streaming=True)) == "pg_basebackup"
