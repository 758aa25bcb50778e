# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hard data, backed up in every format, restored into an empty server, and compared from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.compare import assert_same
from lab.harddata import HardData
from lab.playbooks import run_module
from lab.servers import Server

Wipe = Callable[[object], Server]
VERSIONS = (15, 16, 18)
SECRET = "a pass phrase: with 'everything' \\ in it"


def back_up(server: Server, repository: Path, **options: Any) -> dict[str, Any]:
    done = run_module("pg_backup", {**server.client_options(), "repository": {"path": str(repository)}, **options})
    assert not done.failed, done.msg
    assert done.changed
    result: dict[str, Any] = done.result
    return result


def restore(server: Server, data: HardData, repository: Path, **options: Any) -> dict[str, Any]:
    moved = {
        name: str(server.server_directory(f"{name} {len(list(server.directory.iterdir()))}"))
        for name in data.tablespaces
    }
    arguments = {
        **server.client_options(),
        "repository": {"path": str(repository)},
        "tablespace_locations": moved,
        **options,
    }
    planned = run_module("pg_restore", arguments, check=True)
    assert not planned.failed, planned.msg
    done = run_module("pg_restore", arguments)
    assert not done.failed, done.msg
    assert done.changed
    assert planned.result["plan"] == done.result["plan"]
    again = run_module("pg_restore", arguments)
    assert not again.failed, again.msg
    assert not again.changed, again.result
    result: dict[str, Any] = done.result
    return result


# Form, jobs, compression, whether it is encrypted.
CUSTOM = ("custom", 1, "zstd", True)
DIRECTORY = ("directory", 2, "gzip", False)
PLAIN = ("plain", 1, "lz4", False)
TAR = ("tar", 1, "none", False)
FORMS = (CUSTOM, DIRECTORY, PLAIN, TAR)
#: Each version, and each format; the other pairs are for the night.
COMMON = ((15, TAR), (16, PLAIN), (18, CUSTOM), (18, DIRECTORY))


@pytest.mark.parametrize(
    ("major", "form", "jobs", "compression", "encrypted"),
    [
        pytest.param(major, *form, marks=() if (major, form) in COMMON else pytest.mark.extended)
        for major in VERSIONS
        for form in FORMS
    ],
)
def test_every_format_on_every_version(
    request: pytest.FixtureRequest,
    wiped: Wipe,
    tmp_path: Path,
    major: int,
    form: str,
    jobs: int,
    compression: str,
    encrypted: bool,
) -> None:
    each_hard: HardData = request.getfixturevalue(f"hard{major}")
    target = wiped(each_hard.server.major)
    made = back_up(
        each_hard.server,
        tmp_path,
        format=form,
        jobs=jobs,
        compression=compression,
        role_passwords=True,
        encryption={"method": "aes256", "passphrase": SECRET} if encrypted else None,
    )
    assert made["backup"]["verified_at"]
    done = restore(target, each_hard, tmp_path, encryption={"passphrase": SECRET} if encrypted else None)
    assert {entry["database"] for entry in done["restored"]} == set(each_hard.databases)
    assert_same(each_hard.server, target)


def test_directory_format_with_outer_compression_and_parallel_restore(
    hard15: HardData, wiped: Wipe, tmp_path: Path
) -> None:
    target = wiped(15)
    back_up(hard15.server, tmp_path, format="directory", jobs=2, role_passwords=True)
    restore(target, hard15, tmp_path, jobs=2)
    assert_same(hard15.server, target)


def test_parallel_restore_of_a_custom_dump(hard16: HardData, wiped: Wipe, tmp_path: Path) -> None:
    target = wiped(16)
    back_up(hard16.server, tmp_path, role_passwords=True)
    restore(target, hard16, tmp_path, jobs=2)
    assert_same(hard16.server, target)
