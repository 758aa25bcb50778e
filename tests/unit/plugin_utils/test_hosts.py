# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One server at a time: how many hosts, and what was confirmed for which of them."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.hosts import (
    confirmed,
    several,
    with_host,
    without_host,
)

TWO = ["db1", "db2"]


def test_several() -> None:
    assert several("recover", ["db1"], False) == several("recover", TWO, True) == []
    (sentence,) = several("recover", TWO, False)
    assert "db1, db2" in sentence and "holdfast_many" in sentence and "--limit" in sentence
    (sentence,) = several("promote", TWO, None)
    assert "holdfast_many" not in sentence


@pytest.mark.parametrize(
    ("entries", "hosts", "paths", "found"),
    [
        (["shop"], ["db1"], False, ["shop"]),
        (["db1/shop"], ["db1"], False, ["shop", "db1/shop"]),  # a database may have that name
        (["shop"], TWO, False, []),
        (["db1/shop", "db2/crm"], TWO, False, ["shop"]),
        (["db10/shop", "db1/"], TWO, False, []),
        (["/var/lib/pg"], ["db1"], True, ["/var/lib/pg"]),
        (["db1/var/lib/pg", "db1//srv/pg", "db2/x"], TWO, True, ["/var/lib/pg", "/srv/pg"]),
        (["/var/lib/pg"], TWO, True, []),
    ],
)
def test_confirmed(entries: list[str], hosts: list[str], paths: bool, found: list[str]) -> None:
    assert confirmed(entries, "db1", hosts, paths) == found


@pytest.mark.parametrize(("entry", "written"), [("shop", "db1/shop"), ("/var/lib/pg", "db1/var/lib/pg")])
def test_what_is_written_for_a_host_is_read_for_it_alone(entry: str, written: str) -> None:
    assert with_host([entry], "db1") == [written]
    assert confirmed([written], "db1", TWO, paths=entry.startswith("/")) == [entry]
    assert confirmed([written], "db2", TWO, paths=entry.startswith("/")) == []


def test_without_host() -> None:
    assert without_host("holdfast_restore_confirm", ["shop"], ["db1"]) == []
    assert without_host("holdfast_restore_confirm", ["db2/shop"], TWO) == []
    assert "db1/shop" in without_host("holdfast_restore_confirm", ["shop"], TWO)[0]
