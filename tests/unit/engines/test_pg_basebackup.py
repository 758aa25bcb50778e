# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine pg_basebackup: what it is asked, what its manifest says, and the text of its shell commands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.copy import copy
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pg_basebackup.options import (
    BaseOptions,
    Said,
    understand,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_directory.archive import (
    FileWal,
    archive_command,
    length,
    restore_command,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression

GIVEN: dict[str, Any] = {
    "kind": None,
    "include_wal": True,
    "checkpoint": "fast",
    "max_rate": None,
    "compression_at": "client",
    "compression": "zstd",
    "wal_timeout": "10min",
}


def options(**others: Any) -> BaseOptions:
    return BaseOptions.from_params({**GIVEN, **others})


@pytest.mark.parametrize(
    ("others", "words", "absent"),
    [
        (
            {},
            ["--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--no-password"],
            ["--max-rate", "--compress"],
        ),
        ({"include_wal": False}, ["--wal-method=none"], ["fetch"]),
        ({"checkpoint": "spread"}, ["--checkpoint=spread"], ["fast"]),
        ({"max_rate": 1048576}, ["--max-rate=1024"], []),
        ({"max_rate": 32768}, ["--max-rate=32"], []),
        ({"compression_at": "server"}, ["--compress=server-zstd:3"], []),
    ],
)
def test_arguments(others: dict[str, Any], words: list[str], absent: list[str]) -> None:
    found = options(**others).arguments("zstd", 3)
    assert set(words) <= set(found)
    assert not [word for word in found for part in absent if part in word]


@pytest.mark.parametrize(("level", "expected"), [(None, 1), (-5, 1), (0, 1), (1, 1), (9, 9)])
def test_the_server_knows_no_negative_levels(level: int, expected: int) -> None:
    assert f"--compress=server-zstd:{expected}" in options(compression_at="server").arguments("zstd", level)


def test_who_compresses_names_the_archives() -> None:
    assert options().suffix("zstd") == "" and options(compression_at="server").suffix("zstd") == ".zst"


@pytest.mark.parametrize(
    ("others", "option"),
    [
        ({"kind": "differential"}, "kind"),
        ({"max_rate": 32767}, "max_rate"),
        ({"max_rate": 1073741825}, "max_rate"),
        ({"max_rate": 0}, "max_rate"),
        ({"compression_at": "server", "compression": "none"}, "compression_at"),
    ],
)
def test_what_makes_no_sense(others: dict[str, Any], option: str) -> None:
    with pytest.raises(BadOption, match=option):
        options(**others)


@pytest.mark.parametrize(("kind", "enough"), [(None, ["full"]), ("incremental", ["full", "incremental"])])
def test_which_kinds_stand_in(kind: str, enough: list[str]) -> None:
    assert list(options(kind=kind).enough()) == enough


# The ends of manifests that pg_basebackup 16 wrote.
ONE = """],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }
],
"Manifest-Checksum": "5aae7a5b"}
"""
# A standby whose primary had changed: the newest comes first.
TWO = """
"WAL-Ranges": [
{ "Timeline": 10, "Start-LSN": "1/A0000A0", "End-LSN": "1/B000060" },
{ "Timeline": 9, "Start-LSN": "1/9000028", "End-LSN": "1/A0000A0" }
],
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE, Said("0/2000028", 1, "0/2000100")),
        (TWO, Said("1/9000028", 9, "1/B000060")),
        ("", Said(None, None, None)),
    ],
)
def test_what_a_manifest_says(text: str, expected: Said) -> None:
    assert understand(text) == expected


PLACES = ["/archive", "/with a space", "/it's", '/"quoted"', "/100%", "/%f %p", "/$(id) `id` ;|&", "/ü\\n"]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_one_word(place: str) -> None:
    """As the server fills it in, and then a shell reads it."""
    for command in (archive_command(place, "zstd -q", ".zst"), restore_command(place, ["", ".gz"])):
        filled = command.replace("%%", "\0").replace("%p", "pg_wal/0001").replace("%f", "0001").replace("\0", "%")
        assert shlex.split(filled.partition("; f=")[0]) == [f"d={place}"]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_else_is_filled_in(place: str) -> None:
    for command in (archive_command(place, "", ""), restore_command(place, [""])):
        rest = command.replace("%%", "").replace("%p", "").replace("%f", "")
        assert "%" not in rest


@pytest.mark.parametrize("method", ["none", "gzip", "lz4", "zstd"])
def test_it_fits_where_postgresql_15_puts_it(method: str) -> None:
    wal = FileWal("/" + "x" * 500, Compression(method))
    assert length(wal.archive_command()) <= 1023
    assert length(restore_command("/" + "x" * 300, ["", ".gz", ".lz4", ".zst"])) <= 1023


def test_length_counts_what_is_put_in() -> None:
    assert length("cp %p /a/%f") == len("cp  /a/") + len("pg_wal/") + 40 + 40
    assert length("ü") == 2


@pytest.mark.parametrize(
    ("compression", "program", "suffix"),
    [
        (Compression("zstd"), "zstd -q --fast=1 -c", ".zst"),
        (Compression("zstd", -3), "zstd -q --fast=3 -c", ".zst"),
        (Compression("zstd", 9), "zstd -q -9 -c", ".zst"),
        (Compression("gzip", 6), "gzip -q -6 -c", ".gz"),
        (Compression("lz4", 1), "lz4 -q -1 -c", ".lz4"),
        (Compression("none"), "dd if=", '%f"'),
    ],
)
def test_the_compressor(compression: Compression, program: str, suffix: str) -> None:
    command = FileWal("/archive", compression).archive_command()
    assert program in command and suffix in command


def test_a_copy_that_never_ends_is_watched(tmp_path: Path) -> None:
    """pg_basebackup says that it waits for the archive, and nothing more: what is looked at meanwhile ends it, and its pipes."""
    program = tmp_path / "pg_basebackup"
    program.write_text(
        "#!/bin/sh\nprintf 'initiating base backup, waiting for checkpoint to complete\\nhalf a' >&2\nexec sleep 60\n"
    )
    program.chmod(0o755)
    said: list[str] = []

    def watch() -> None:
        raise ServerError("The archive does not answer.")

    def keep(name: str, path: str) -> None:
        with open(path, "rb") as stream:
            stream.read()

    with pytest.raises(ServerError, match="does not answer"):
        copy([str(program)], str(tmp_path / "base"), ["base.tar"], keep, said.append, watch)
    assert said == ["initiating base backup, waiting for checkpoint to complete\n"]


def test_the_last_line_need_not_end(tmp_path: Path) -> None:
    program = tmp_path / "pg_basebackup"
    program.write_text("#!/bin/sh\nprintf 'one\\ntwo' >&2\n")
    program.chmod(0o755)
    said: list[str] = []
    copy([str(program)], str(tmp_path / "base"), [], lambda name, path: None, said.append)
    assert said == ["one\n", "two\n"]
