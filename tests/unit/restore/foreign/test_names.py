# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of a folder is a database's newest dump.

The kind (row 1.5): a pattern and a file's times choose data. Members tried: names of which one begins another, dates in each usual form,
``latest`` beside dates, copies without times, names that do not decide.
"""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.names import (
    Unclear,
    dumps_of,
    newest,
    next_part,
)


@pytest.mark.parametrize(
    "name",
    [
        "shop", "shop.sql", "shop.sql.gz", "shop.dump.zst.gpg", "shop-latest.sql.gz", "shop-20261120.sql.gz", "shop-20261120-020000.sql.gz",
        "shop_2026-11-20.dump", "shop_2026-11-20_02h00m.Friday.sql.gz", "shop.20261120T020000Z.sql", "shop-2026-11-20T02:00:00+01:00.sql",
        "shop-1700000000.sql", "shop.tar", "shop.sql.xz",
    ],
)  # fmt: skip
def test_names_of_dumps(name: str) -> None:
    assert [item.name for item in dumps_of("shop", [name])] == [name]


@pytest.mark.parametrize(
    "name",
    [
        "shop_eu-latest.sql.gz", "shop_eu.sql", "shop2.sql", "shopping", "shop-old.sql", "shop-latest.sql.gz.sha256", "shop-latest.sql.gz.tmp",
        "shop.log", "eu_shop.sql", "shop-20261120-eu.sql", "shop-globals.sql", "Shop.sql", "shop-latest-eu.sql", "shop.sql.gz.part",
        "shop-2026.sql",
    ],
)  # fmt: skip
def test_names_of_something_else(name: str) -> None:
    assert dumps_of("shop", [name]) == []


def test_a_database_whose_name_looks_like_a_pattern_or_a_date() -> None:
    assert [item.name for item in dumps_of("a[bc]*", ["a[bc]*.sql", "ab.sql"])] == ["a[bc]*.sql"]
    assert [item.name for item in dumps_of("db-20261120", ["db-20261120.sql", "db-20261120-20261121.sql"])] == [
        "db-20261120-20261121.sql",
        "db-20261120.sql",
    ]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["shop.sql"], "shop.sql"),
        (["shop-20261119.sql", "shop-20261120.sql"], "shop-20261120.sql"),
        (
            ["shop-20261120-010000.sql", "shop-20261120-020000.sql.gz", "shop-20261119-230000.sql"],
            "shop-20261120-020000.sql.gz",
        ),
        (["shop-latest.sql", "shop-20261120.sql"], "shop-latest.sql"),
        (["shop-2026-11-20.sql", "shop-20261121.sql"], "shop-20261121.sql"),
    ],
)
def test_the_newest(names: list[str], chosen: str) -> None:
    assert newest(dumps_of("shop", names)).name == chosen


@pytest.mark.parametrize(
    "names",
    [
        ["shop.sql", "shop.dump"],
        ["shop.sql", "shop-20261120.sql"],
        ["shop-20261120.sql", "shop-20261120.dump"],
        ["shop-latest.sql", "shop-latest.dump"],
        ["shop-1700000000.sql", "shop-20261120.sql"],
    ],
)
def test_names_that_do_not_decide(names: list[str]) -> None:
    with pytest.raises(Unclear):
        newest(dumps_of("shop", names))


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("shop.sql.gz.aa", "shop.sql.gz.ab"),
        ("shop.sql.gz.partaa", "shop.sql.gz.partab"),
        ("xaa", "xab"),
        ("shop.dump.001", "shop.dump.002"),
        ("shop.dump.00", "shop.dump.01"),
        ("shop.sql.000", "shop.sql.001"),
        ("shop.sql.gz.aa.gpg", "shop.sql.gz.ab.gpg"),
        ("shop.sql", None),
        ("shop-20260101.sql.gz", None),
        ("shop.ab", None),
        ("shop1", None),
    ],
)
def test_the_second_part_of_a_file_that_was_split(name: str, following: Optional[str]) -> None:
    assert next_part(name) == following
