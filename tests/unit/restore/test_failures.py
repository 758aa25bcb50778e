# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What failed while a dump was loaded, and the way out of what many meet."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.failures import Failures, hint


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ('could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"', "allow_errors"),
        ('42704: role "rds_superuser" does not exist', "no_owner"),
        ('invalid value for parameter "default_tablespace": "fast"', "no_tablespaces"),
        ("42501: must be owner of extension citext", "'must be owner of extension'"),
        ("could not execute query: ERROR:  must be owner of schema public", "'schema public'"),
        ("42501: permission denied for schema public", "'schema public'"),
        ('42501: permission denied to create event trigger "pgrst_drop_watch"', "Only a superuser"),
        ('42501: permission denied to create extension "postgis"', "Only a superuser"),
        ('22021: invalid byte sequence for encoding "UTF8": 0xe4', "encoding:"),
        ("22021: ungültige Byte-Sequenz", "encoding:"),
        (
            'character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent in encoding "LATIN1"',
            "encoding:",
        ),
        ('42704: type "public.geometry" does not exist', "template"),
        ("could not execute query: ERROR:  function uuid_generate_v4() does not exist", "template"),
        ("42883: function mentions_by_software() does not exist", "REFRESH"),
        (
            'COPY failed for table "a": ERROR:  insert or update on table "a" violates foreign key constraint "b"',
            "disable_triggers",
        ),
        (
            'COPY failed for table "_hyper_1_2_chunk": ERROR:  invalid INSERT on the root table of hypertable "_hyper_1_2_chunk"',
            "timescaledb_pre_restore",
        ),
        (
            'insert or update on table "chunk" violates foreign key constraint "chunk_hypertable_id_fkey"',
            "timescaledb_pre_restore",
        ),
        ('42703: column "datetime_string" of relation "part_config" does not exist', "CREATE EXTENSION … VERSION"),
        (
            'null value in column "infinite_time_partitions" of relation "part_config" violates not-null constraint '
            "DETAIL: part_config",
            "CREATE EXTENSION … VERSION",
        ),
        ("42883: function array_append(anyarray, anyelement) does not exist", "anycompatiblearray"),
        ("could not execute query: ERROR:  out of shared memory", "max_locks_per_transaction"),
        ('53100: could not extend file "base/5/1": wrote only 4096 of 8192 bytes', "tablespace"),
        ("53300: remaining connection slots are reserved for roles with the SUPERUSER attribute", "fewer jobs"),
        ("connection failed: FATAL:  sorry, too many clients already", "fewer jobs"),
        ("22001: value too long for type character varying(10)", "encoding:"),
        ('could not execute query: ERROR:  could not create unique index "a_pkey"', "amcheck"),
        ("23505: doppelter Schlüsselwert", "amcheck"),
        ("42P17: functions in index expression must be marked IMMUTABLE", "search_path of its own"),
        ("could not execute query: ERROR:  generation expression is not immutable", "search_path of its own"),
        ("server closed the connection unexpectedly", "keepalives_idle"),
        ("57P01: terminating connection due to administrator command", "keepalives_idle"),
        ("42601: syntax error", ""),
    ],
)
def test_the_way_out(error: str, words: str) -> None:
    found = hint([error])
    assert words in found and bool(found) is bool(words)


def test_what_is_allowed_is_noted_and_the_rest_ends_it() -> None:
    failures = Failures(["42704"])
    failures.judge(["42704: x"])
    assert failures.allowed == ["42704: x"]
    with pytest.raises(ToolError, match="1 statements failed: 42P01: y"):
        failures.judge(["42704: x", "42P01: y"])


@pytest.mark.parametrize(
    ("heard", "explained"),
    [
        ("", False),
        ('pg_restore: error: COPY failed for table "orders": ERROR:  x', True),
        ('pg_restore: error: could not execute query: ERROR:  relation "public.orders" does not exist', True),
        (
            "pg_restore: from TOC entry 215; 1259 16386 TABLE orders jo\npg_restore: error: could not execute query: x",
            True,
        ),
        ('pg_restore: error: COPY failed for table "orders_2020": ERROR:  x', False),
        ('pg_restore: error: COPY failed for table "old_orders": ERROR:  x', False),
        ("pg_restore: from TOC entry 7; 1247 16386 TYPE mood jo\npg_restore: error: could not execute query: x", False),
    ],
)
def test_a_failure_explains_the_tables_that_it_speaks_of(heard: str, explained: bool) -> None:
    """Found: with any allow_errors, tables that were missing, and that no failure spoke of, were but a warning."""
    failures = Failures(["x", "does not exist"])
    failures.heed(heard)
    assert failures.explain("orders") is explained
    failures.forget()
    assert not failures.explain("orders")
