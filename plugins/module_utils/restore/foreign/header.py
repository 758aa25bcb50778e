# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file is, from its first bytes: how it is packed, which kind of dump, and what an archive's own header says. Pure.

Source: src/bin/pg_dump/pg_backup_archiver.c of PostgreSQL (ReadHead, ReadInt, ReadStr).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

#: bytes that are needed of a file's beginning
HEAD = 4096

_PACKED = (
    (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x04\x22\x4d\x18", "lz4"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"),
)  # fmt: skip

# What is often taken for a dump: its beginning, what it is, and the way out.
_OTHERS = (
    (b"PK\x03\x04", "a zip archive", "Unpack it, and name the dump that is in it."),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it, and name the dump that is in it."),
    (b"Salted__", "encrypted by openssl", "Decrypt it first: openssl enc -d …"),
    (b"age-encryption.org/", "encrypted by age", "Decrypt it first: age -d …"),
    (b"-----BEGIN PGP MESSAGE", "encrypted by gpg", "Call it ….gpg, and give encryption.passphrase or a keyring."),
    (b"\xff\xfe", "text in UTF-16, as PowerShell's > writes it", "Write it anew: iconv -f UTF-16 -t UTF-8; better make the dump by pg_dump --file."),
    (b"\xfe\xff", "text in UTF-16", "Write it anew: iconv -f UTF-16 -t UTF-8."),
    (b"SQLite format 3", "a database of SQLite", "Name a dump of PostgreSQL."),
    (b"-- MySQL dump", "a dump of MySQL", "Name a dump of PostgreSQL."),
    (b"-- MariaDB dump", "a dump of MariaDB", "Name a dump of PostgreSQL."),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Fetch it: git lfs pull."),
    (b"<!DOCTYPE", "a web page", "Whoever fetched the file was answered by something else; fetch it anew."),
    (b"<html", "a web page", "Whoever fetched the file was answered by something else; fetch it anew."),
    (b"<?xml", "XML, such as a store's error", "Whoever fetched the file was answered by something else; fetch it anew."),
)  # fmt: skip

_FORMATS = {1: "custom", 3: "tar", 5: "directory"}


@dataclass(frozen=True)
class Other:
    """Something that is no dump: ``what`` it is, and the way out."""

    what: str
    way_out: str


@dataclass(frozen=True)
class Archive:
    """An archive's own header. ``version``: of the format; ``by``, ``of``: versions of pg_dump and of the server; ``entries``:
    of its table of contents. None: it could not be read."""

    version: tuple[int, int]
    format: Optional[str]
    database: Optional[str] = None
    of: Optional[str] = None
    by: Optional[str] = None
    entries: Optional[int] = None

    @property
    def needs(self) -> int:
        """The oldest major version of pg_restore that reads it (each new version of the format came with one)."""
        return {(1, 15): 16, (1, 16): 17}.get(self.version, 0 if self.version < (1, 15) else 18)


def packed(head: bytes) -> Optional[str]:
    """The method by which a file is compressed; None: it is not."""
    return next((method for magic, method in _PACKED if head.startswith(magic)), None)


def other(head: bytes) -> Optional[Other]:
    """What a file is that is no dump of PostgreSQL; None: nothing that is known."""
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    for magic, what, way_out in _OTHERS:
        if head.startswith(magic) or start.startswith(magic):
            return Other(what, way_out)
    if head[1:64:2] == b"\0" * 32 or head[0:64:2] == b"\0" * 32:
        return Other("text in UTF-16 without a mark", "Write it anew: iconv -f UTF-16LE -t UTF-8.")
    if head[257:262] == b"ustar" and not is_tar_dump(head):
        first = head[:100].rstrip(b"\0").decode("utf-8", "replace")
        return Other(
            f"a tar archive that is no dump (it begins with {first!r})", "Unpack it, and name the dump that is in it."
        )
    if b"\0" in head[:256] and not head.startswith(b"PGDMP") and head[257:262] != b"ustar":
        return Other("neither SQL nor an archive of pg_dump", "Name a dump.")
    return None


def is_tar_dump(head: bytes) -> bool:
    """Whether a tar archive begins as pg_dump's do."""
    return head[:8] == b"toc.dat\0"


def archive(head: bytes) -> Optional[Archive]:
    """The header of an archive of pg_dump, of custom format, of a tar archive or of a directory's toc.dat; None: it is none."""
    if head[257:262] == b"ustar" and is_tar_dump(head):
        head = head[512:]
    if not head.startswith(b"PGDMP"):
        return None
    try:
        return _parse(head)
    except (IndexError, ValueError):
        return Archive((0, 0), None)


def _parse(head: bytes) -> Archive:
    major, minor, _revision, int_size, _offset_size, kind = head[5:11]
    at = 11

    def number() -> int:
        nonlocal at
        sign, digits = head[at], head[at + 1 : at + 1 + int_size]
        if len(digits) < int_size or sign not in (0, 1):
            raise ValueError
        at += 1 + int_size
        value = int.from_bytes(digits, "little")
        return -value if sign else value

    def text() -> Optional[str]:
        nonlocal at
        length = number()
        if length < 0:
            return None
        if length > 1024 or at + length > len(head):
            raise ValueError
        found = head[at : at + length].decode("utf-8", "surrogateescape")
        at += length
        return found

    if (major, minor) >= (1, 15):
        at += 1  # the method of compression
    else:
        number()
    for _part in range(7):  # when it was made
        number()
    database, of, by = text(), text(), text()
    return Archive((major, minor), _FORMATS.get(kind), database, of, by, number())
