# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a table is made of, by an archive's list and definitions; roles exchanged in policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import toc
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.roles import map_roles

# id, needs, type, schema, name, body
ENTRIES = [
    (1, "", "SCHEMA", "-", "sales", "CREATE SCHEMA sales;"),
    (2, "1", "TYPE", "sales", "state", "CREATE TYPE sales.state AS ENUM ('a');"),
    (3, "", "TABLE", "public", "meas", "CREATE TABLE public.meas (\n    id int\n)\nPARTITION BY RANGE (id);"),
    (4, "3", "TABLE", "public", "meas_1", "CREATE TABLE public.meas_1 (\n    id int\n);"),
    (5, "3 4", "TABLE ATTACH", "public", "meas_1", "ALTER TABLE ONLY public.meas ATTACH PARTITION public.meas_1 …;"),
    (6, "1 2", "TABLE", "sales", "orders", "CREATE TABLE sales.orders (\n    s sales.state\n);"),
    (7, "6", "TABLE", "sales", "child", "CREATE TABLE sales.child (\n)\nINHERITS (sales.orders);"),
    (8, "6", "TABLE", "sales", "lines", "CREATE TABLE sales.lines (\n    o sales.orders\n);"),
    (
        9,
        "6 8",
        "FK CONSTRAINT",
        "sales",
        "lines lines_fkey",
        "ALTER TABLE ONLY sales.lines ADD CONSTRAINT … FOREIGN KEY …;",
    ),
    (10, "", "TABLE", "public", "a", "CREATE TABLE public.a ();"),
    (11, "", "TABLE", "public", "a b", 'CREATE TABLE public."a b" ();'),
    (12, "", "TABLE", "sales", "a", "CREATE TABLE sales.a ();"),
]
DATA = [(20, "4"), (21, "6"), (22, "7"), (23, "8"), (24, "10"), (25, "11")]


def texts() -> tuple[str, str]:
    text, listing = "", ";\n; Selected TOC Entries:\n;\n"
    for number, needs, kind, schema, name, body in ENTRIES:
        depends = f"-- Dependencies: {needs}\n" if needs else ""
        text += f"--\n-- TOC entry {number} (class 1 OID 2)\n{depends}-- Name: {name}; Type: {kind}; Schema: {schema}; Owner: o\n--\n\n{body}\n\n"
        listing += f"{number}; 1 2 {kind} {schema} {name} o\n" + (f";\tdepends on: {needs}\n" if needs else "")
    for number, table in DATA:
        listing += f"{number}; 0 1 TABLE DATA x y o\n;\tdepends on: {table}\n"
    return text, listing


def select(tables: list[str], present: Optional[Callable[[toc.Entry], bool]] = None) -> toc.Selection:
    text, listing = texts()
    return toc.select(toc.parse(text), toc.parse_list(listing), tables, [], present)


@pytest.mark.parametrize(
    ("table", "ids"),
    [
        ("meas", {3, 4, 5, 20}),
        ("meas_1", {4, 20}),
        ("sales.orders", {1, 2, 6, 7, 21, 22}),
        ("public.a", {10, 24}),
        ("a b", {11, 25}),
        ("lines", {1, 2, 6, 8, 23}),  # its column is of the type of a table's rows
    ],
)
def test_into_a_new_database(table: str, ids: set[int]) -> None:
    assert select([table]).ids == ids


def test_into_one_that_has_the_rest() -> None:
    chosen = select(["meas_1"], lambda entry: True)
    assert (chosen.ids, chosen.attach) == ({4, 20}, {5})
    chosen = select(["lines"], lambda entry: True)
    assert chosen.ids == {8, 23} and len(chosen.foreign_keys) == 1
    assert select(["lines"]).left_out == ["lines lines_fkey"] and select(["lines"]).bare == ["sales.orders"]


def test_a_name_in_two_schemas() -> None:
    with pytest.raises(BadOption, match=r"public\.a or sales\.a"):
        select(["a"])


def test_roles_of_policies() -> None:
    head = "--\n-- Name: t p; Type: POLICY; Schema: s; Owner: o\n--\n\n"
    policy = (
        'CREATE POLICY p ON s."a t" AS RESTRICTIVE FOR SELECT TO old, "Other", old2 USING ((who = \' TO old\'::text));'
    )
    wanted = policy.replace("TO old, ", 'TO "new", ', 1).replace('"Other"', '"x"')
    assert map_roles(head + policy, {"old": "new", "Other": "x"}) == head + wanted
