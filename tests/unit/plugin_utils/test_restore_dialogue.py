# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: an answer that is understood as something else than was meant. Members: nothing, a blank, a number out of range, a name that is a number,
a name with a comma, what was said before, a repository that cannot be read, a server of another name, backups of another kind."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.restore_dialogue import (
    Dialogue,
    GivenUp,
    Known,
    NotFound,
    consents,
)

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.timezone.utc)
PLACE = {"path": "/backups"}


def record(number: int, *databases: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"b{number}",
        "kind": "logical",
        "stopped_at": f"2026-11-{number:02}T02:30:00Z",
        "databases": [{"name": name, "size": 1024} for name in databases],
        "size": 512,
        "verified_at": None,
        "encryption": {"method": "none"},
        **more,
    }


class Person:
    """Answers in turn; keeps what was shown."""

    def __init__(self, *answers: str) -> None:
        self.left, self.shown = list(answers), ""

    def ask(self, prompt: str, secret: bool) -> str:
        self.shown += f"{prompt}{' (secret)' if secret else ''}\n"
        return self.left.pop(0)


def talk(person: Person, known: Known, *records: dict[str, Any]) -> dict[str, Any]:
    def look(repository: Mapping[str, Any], server: str) -> Mapping[str, Any]:
        if repository.get("path") == "/nowhere":
            raise NotFound("/nowhere is not there.")
        return {"backups": list(records) if server == "db1" else []}

    found = Dialogue(person.ask, look, NOW).answers(known)
    assert person.left == [], "not all was asked"
    return found


def test_nothing_was_said() -> None:
    person = Person("1", "/backups", "2", "2,1", "")
    with pytest.raises(AssertionError, match="not all was asked"):  # two databases have no other name
        talk(person, Known(server_name="db1"), record(20, "shop", "blog"), record(21, "shop"))
    person = Person("", "/backups", "2", "2,1")
    assert talk(person, Known(server_name="db1"), record(20, "shop", "blog"), record(21, "shop")) == {
        "repository": {"type": "file", "path": "/backups"},
        "backup_id": "b20",
        "databases": ["blog", "shop"],
    }
    assert "21 Nov 02:30 UTC" in person.shown and "5 days ago" in person.shown and "shop and blog" in person.shown


@pytest.mark.parametrize(
    ("said", "chosen"),
    [("", None), ("1", ["7"]), ("7", ["7"]), ("2", ["a, b"]), ("a, b", ["a, b"]), ("3,7", ["c", "7"]), ("c,c", ["c"])],
)
def test_databases(said: str, chosen: Any) -> None:
    names = ("7", "a, b", "c")
    person = Person(said, *([""] if chosen and len(chosen) == 1 else []))
    found = talk(person, Known(PLACE, "db1", "b20"), record(20, *names))
    assert found == ({} if chosen is None else {"databases": chosen})


def test_answers_that_are_none_are_asked_for_again() -> None:
    person = Person(
        "5", "ftp", "2", "", "bucket", "", "eu-central-1", "", "", "", "0", "9", "x", "b20", "d", "4", "1", " new name "
    )
    found = talk(person, Known(server_name="db1"), record(20, "a", "b"), record(21, "c"))
    assert found == {
        "repository": {"type": "s3", "bucket": "bucket", "region": "eu-central-1"},
        "backup_id": "b20",
        "databases": ["a"],
        "target_db": "new name",
    }
    assert "Secret key (Enter: none) (secret)" in person.shown


def test_where_nothing_can_be_read_is_asked_again() -> None:
    person = Person("file", "/nowhere", "file", "/backups", "db1", "", "")
    found = talk(person, Known(server_name="localhost"), record(20, "a"))
    assert found == {"repository": {"type": "file", "path": "/backups"}, "server_name": "db1", "backup_id": "b20"}
    assert "/nowhere is not there." in person.shown and "no backup of databases of localhost" in person.shown


def test_what_was_said_is_not_asked() -> None:
    assert talk(Person(), Known(PLACE, "db1", "latest", ["a"], "b"), record(20, "a")) == {}
    with pytest.raises(NotFound, match="no backup b19"):
        talk(Person(), Known(PLACE, "db1", "b19"), record(20, "a"))
    with pytest.raises(NotFound, match="is not there"):
        talk(Person(), Known({"path": "/nowhere"}, "db1"), record(20, "a"))


def test_whole_servers_are_not_offered() -> None:
    person = Person("", "")
    whole = record(21, "a", kind="full")
    assert talk(person, Known(PLACE, "db1"), record(20, "a"), whole)["backup_id"] == "b20"
    with pytest.raises(GivenUp):
        talk(person := Person("", "", "", "", ""), Known(PLACE, "db1"), whole)
    assert "1 backup of the whole server, which the playbook recover brings back" in person.shown


def test_an_encrypted_one_asks_for_its_passphrase() -> None:
    one = record(20, "a", encryption={"method": "aes256"})
    person = Person("", " pass phrase ", "")
    found = talk(person, Known(PLACE, "db1"), one)
    assert found["encryption"] == {"method": "aes256", "passphrase": " pass phrase "}
    assert "Passphrase (secret)" in person.shown
    assert talk(Person("", ""), Known(PLACE, "db1", encryption={"method": "aes256", "passphrase_file": "/p"}), one) == {
        "backup_id": "b20"
    }


@pytest.mark.parametrize(
    ("confirm", "said", "agreed"),
    [
        (["shop"], "shop", True), (["shop"], "yes", False), (["shop"], "Shop", False), (["shop"], "", False),
        (["a", "b"], "b, a", True), (["a", "b"], "a", False), (["a, b"], "a, b", True), ([], "yes", True), ([], "y", False), ([], "", False),
    ],
)  # fmt: skip
def test_consent_is_a_name_or_yes(confirm: list[str], said: str, agreed: bool) -> None:
    person = Person(said)
    assert consents(person.ask, ["replace shop"], {"force": True, "confirm": confirm}) is agreed
    assert "  - replace shop" in person.shown
