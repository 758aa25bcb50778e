# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file is, by its first bytes."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.foreign.header import archive, other, packed


def number(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def text(value: str) -> bytes:
    return number(len(value)) + value.encode()


def made(minor: int, kind: int = 1, entries: int = 7) -> bytes:
    compression = b"\x01" if minor >= 15 else number(-1)
    rest = (
        b"".join(number(n) for n in (1, 2, 3, 4, 5, 126, 0))
        + text("shop")
        + text("15.4")
        + text("16.1 (X)")
        + number(entries)
    )
    return b"PGDMP\x01" + bytes([minor, 0, 4, 8, kind]) + compression + rest


@pytest.mark.parametrize(("minor", "needs"), [(14, 0), (15, 16), (16, 17), (17, 18)])
def test_an_archive_tells_its_database_and_versions(minor: int, needs: int) -> None:
    for head in (made(minor), b"toc.dat\0".ljust(257, b"\0") + b"ustar".ljust(255, b"\0") + made(minor)):
        found = archive(head + b"more")
        assert found is not None
        assert (found.database, found.of, found.by, found.entries, found.needs) == (
            "shop",
            "15.4",
            "16.1 (X)",
            7,
            needs,
        )


def test_a_damaged_header_tells_nothing() -> None:
    head = made(14)
    for length in range(5, len(head)):
        found = archive(head[:length])
        assert found is not None and found.entries is None
    assert archive(head.replace(b"\n", b"\r\n")) == archive(head) or b"\n" in head
    assert archive(b"SELECT 1;") is None


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PK\x03\x04", "zip"),
        ("-- PostgreSQL".encode("utf-16"), "UTF-16"),
        ("-- PostgreSQL database dump, and more of it".encode("utf-16-le"), "UTF-16"),
        (b"\n<!DOCTYPE html>", "web page"),
        (b"Salted__", "openssl"),
        (b"-- MySQL dump 10.13", "MySQL"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"./\0".ljust(257, b"\0") + b"ustar", "tar archive that is no dump"),
        (b"\x00\x01\x02 nothing", "neither SQL"),
    ],
)
def test_what_is_no_dump(head: bytes, words: str) -> None:
    found = other(head)
    assert found is not None and words in found.what and found.way_out


@pytest.mark.parametrize(
    "head", [b"--\n-- PostgreSQL", made(14), b"\xef\xbb\xbfSELECT", "SELECT 'größe'".encode("latin-1")]
)
def test_what_may_be_one(head: bytes) -> None:
    assert other(head) is None


@pytest.mark.parametrize(
    ("head", "method"),
    [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh9", "bzip2"),
        (b"--", None),
    ],
)
def test_how_it_is_packed(head: bytes, method: str) -> None:
    assert packed(head + b"x" * 20) == method
