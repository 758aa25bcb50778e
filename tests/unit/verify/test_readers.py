# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: content that is no good though its sum is what was written. Members: tar archives by three programs, cut at each block, changed, empty, with
something behind their end; PostgreSQL's list of files, cut, changed, with more and fewer files; scripts, rows and JSON, whole, cut and empty; fed in
pieces of any length."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.verify import content
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.files import BadFiles, FileList
from ansible_collections.holdfast.postgres.plugins.module_utils.verify.tar import BadTar, TarReader

FILES = {
    "PG_VERSION": b"16\n",
    "base/5/1259": b"x" * 8192,
    "empty": b"",
    "a" * 90 + "/" + "b" * 95: b"y" * 700,
    "ü/ß": b"z",
}


def archive(form: int, end: bool = True) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        directory = tarfile.TarInfo("base")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        link = tarfile.TarInfo("pg_tblspc/1")
        link.type, link.linkname = tarfile.SYMTYPE, "/somewhere"
        tar.addfile(link)
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def fed(reader: Any, data: bytes, piece: int) -> Any:
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
    return reader.end()


@pytest.mark.parametrize("piece", [1, 511, 512, 513, 4096, 1 << 20])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_whole_archive(form: int, piece: int) -> None:
    found: dict[str, int] = {}
    files = dict(FILES) if form != tarfile.USTAR_FORMAT else FILES
    assert fed(TarReader(found.__setitem__), archive(form), piece) == len(files)
    assert found == {name: len(data) for name, data in files.items()}


def test_an_archive_that_is_cut_off_anywhere() -> None:
    data = archive(tarfile.GNU_FORMAT)
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for cut in [0, 1, 511, *range(512, end + 1024, 256)]:
        if cut >= end + 1024:
            continue
        with pytest.raises(BadTar):
            fed(TarReader(lambda name, size: None), data[:cut], 4096)
    assert fed(TarReader(lambda name, size: None), data[: end + 1024], 4096)


def test_an_archive_that_is_changed() -> None:
    data = archive(tarfile.GNU_FORMAT)
    for place in (0, 100, 124, 150, 156):
        with pytest.raises(BadTar):
            fed(TarReader(lambda name, size: None), data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], 4096)
    for strange in (b"\0" * 1024 + data, data + data, b"no archive at all" * 100, b"\0" * 512 + data):
        with pytest.raises(BadTar):
            fed(TarReader(lambda name, size: None), strange, 4096)


def test_a_size_that_octal_digits_cannot_tell() -> None:
    info = tarfile.TarInfo("large")
    info.size = 9 * 1024**3
    found: dict[str, int] = {}
    TarReader(found.__setitem__).feed(info.tobuf(tarfile.GNU_FORMAT))
    assert found.pop("large") == info.size
    TarReader(found.__setitem__).feed(info.tobuf(tarfile.PAX_FORMAT))
    assert found == {"large": info.size}


def listed(files: dict[str, int], more: str = "") -> bytes:
    rows = ",\n".join(
        json.dumps(
            {
                "Path": name,
                "Size": size,
                "Last-Modified": "2026-01-01 00:00:00 GMT",
                "Checksum-Algorithm": "CRC32C",
                "Checksum": "aa",
            }
        ).replace('{"Path"', '{ "Path"')
        for name, size in files.items()
    )
    head = f'{{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n{rows}{more}\n],\n"WAL-Ranges": [\n{{ "Timeline": 1 }}\n],\n'
    return head.encode() + f'"Manifest-Checksum": "{hashlib.sha256(head.encode()).hexdigest()}"}}\n'.encode()


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_a_list_of_files(piece: int) -> None:
    files = FileList()
    fed(files, listed({"PG_VERSION": 3, "base/1": 8192}, ',\n{ "Encoded-Path": "ff2f61", "Size": 2 }'), piece)
    assert (files.count, files.total) == (3, 8197)
    files.met("PG_VERSION", 3)
    files.met("./base/1", 8192)
    files.met("pg_wal/000000010000000000000001", 16)
    files.met("backup_manifest", 1)
    with pytest.raises(BadFiles, match="are in no archive"):
        files.all_met()
    files.met(b"\xff/a".decode("utf-8", "surrogateescape"), 2)
    files.all_met()


def test_a_list_of_files_that_is_not_what_postgresql_wrote() -> None:
    whole = listed({"PG_VERSION": 3})
    for wrong in (
        b"",
        whole[:-80],
        whole[:100],
        whole.replace(b": 3", b": 4"),
        whole + b"more\n",
        whole.replace(b'"PG', b'"QG'),
    ):
        with pytest.raises(BadFiles):
            fed(FileList(), wrong, 10)


def test_files_that_are_not_as_listed() -> None:
    files = FileList()
    fed(files, listed({"PG_VERSION": 3, "base/1": 8192}), 4096)
    with pytest.raises(BadFiles, match="8000 bytes, and 8192"):
        files.met("base/1", 8000)
    with pytest.raises(BadFiles, match="does not have it"):
        files.met("base/2", 1)


PLAIN = b"--\n-- PostgreSQL database dump\n--\nSELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
GLOBALS = b"--\n-- PostgreSQL database cluster dump\n--\n--\n-- PostgreSQL database cluster dump complete\n--\n\n"


@pytest.mark.parametrize("piece", [1, 100, 4096])
@pytest.mark.parametrize(
    ("make", "whole", "wrong"),
    [
        (content.Script, PLAIN, [b"", PLAIN[:60], PLAIN[:-60], GLOBALS, PLAIN + b"x" * 2000]),
        (lambda: content.Script(of_cluster=True), GLOBALS, [b"", GLOBALS[:50], PLAIN]),
        (content.Rows, b"1\ta\n\\.\n\n\n", [b"", b"1\ta\n", b"1\ta\n\\.\n\n"]),
        (content.Json, b'{"a": {"b": []}}', [b"", b'{"a": {"b', b"[]", b"\xff", b"[" * 100_000]),
        (content.NotEmpty, b"x", [b""]),
    ],
)
def test_scripts_rows_and_records(make: Any, whole: bytes, wrong: list[bytes], piece: int) -> None:
    fed(make(), whole, piece)
    for data in wrong:
        with pytest.raises(ValueError, match=r"."):
            fed(make(), data, piece)


def test_the_rows_of_a_dump_in_directory_format() -> None:
    text = ";\n; Archive created\n;\n215; 1259 16385 TABLE public a postgres\n3360; 0 16385 TABLE DATA public a postgres\n3; 0 0 BLOB DATA - 1 x\n"
    assert content.rows_of(text) == {3360}
    suffixes = (".gpg", ".zst", ".gz")
    assert content.number_of_rows(content.plain_key("databases/shop/3360.dat.zst.gpg", suffixes)) == 3360
    assert content.number_of_rows(content.plain_key("databases/shop/blob_16400.dat.zst", suffixes)) is None
