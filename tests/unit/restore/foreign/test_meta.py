# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands to psql: where ``\\connect`` leads in each of its spellings, and which commands can be left out."""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.items import Meta
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.meta import can_be_left_out, database_of


def meta(text: str, alone: bool = True) -> Meta:
    name, _blank, argument = text[1:].partition(" ")
    return Meta(0, len(text), 1, name, argument, alone)


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("\\connect shop", "shop"),
        ("\\c shop ", "shop"),
        ("\\connect shop;", "shop"),
        ("\\connect shop ;", "shop"),
        ('\\connect "my ""shop"""', 'my "shop"'),
        ("\\connect 'it''s'", "it's"),
        ("\\connect shop - - -", "shop"),
        ('\\connect "dbname=shop"', "shop"),
        ("\\connect -reuse-previous=on \"dbname='my \\'shop'\"", "my 'shop"),
        ("\\connect -reuse-previous=on \"dbname='a=b'\"", "a=b"),
        ("\\connect shop postgres", None),
        ("\\connect shop - other", None),
        ("\\connect - me", None),
        ('\\connect "dbname=shop host=other"', None),
        ("\\connect postgresql://other/shop", None),
        ("\\connect `id`", None),
        ("\\connect shop \\! id", None),
        ("\\cd shop", None),
    ],
)
def test_where_it_leads(text: str, database: Optional[str]) -> None:
    assert database_of(meta(text)) == database
    assert database_of(meta(text, alone=False)) is None


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("\\restrict aB3", True),
        ("\\restrict a-b", False),
        ("\\encoding UTF8", True),
        ("\\echo restoring shop", True),
        ("\\timing on", True),
        ("\\pset pager off", True),
        ("\\set ON_ERROR_STOP on", True),
        ("\\set ECHO all", True),
        ("\\set AUTOCOMMIT off", False),
        ("\\set x 1", False),
        ("\\set ON_ERROR_STOP `id`", False),
        ("\\echo `id`", False),
        ("\\echo a \\! id", False),
        ("\\o x", False),
        ("\\i x", False),
        ("\\copy t from x", False),
    ],
)
def test_what_can_be_left_out(text: str, can: bool) -> None:
    assert can_be_left_out(meta(text)) is can
    assert not can_be_left_out(meta(text, alone=False))
