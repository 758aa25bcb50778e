# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks, mounts and what stands in for them.

Kinds and members:

- an absence believed: a folder that cannot be read (EACCES, EIO, ESTALE), a file that cannot be looked at, a folder that is a link to
  another disk. Found: they were left out of listings without a word; a copy was ok without them, and a prune took a backup for left over.
- a wait without an end: the guard of a lock that a stopped process holds, a file system without locks.
- nothing raw: the free space of a mount that is gone.
- a place that depends on who looks: a relative path. Found: a repository wherever the module happened to run.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.backup.copy_prefix import PrefixRun
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file import store as file_store
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE

MEMORY = 1 << 26


@pytest.fixture
def repository(tmp_path: Path) -> FileRepository:
    (tmp_path / "from").mkdir()
    made = FileRepository(str(tmp_path / "from"))
    for name in ("b1", "b2"):
        made.write(f"main/{name}/base.tar", b"rows")
        made.write(f"main/{name}/manifest.json", b"{}")
    return made


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, end: str, number: int) -> None:
    """A call of ``os`` on a path that ends so fails."""
    true = getattr(os, name)

    def failing(path: Any, *more: Any, **named: Any) -> Any:
        if isinstance(path, (str, Path)) and str(path).endswith(end):
            raise OSError(number, os.strerror(number), str(path))
        return true(path, *more, **named)

    monkeypatch.setattr(os, name, failing)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_what_cannot_be_read_is_not_gone(
    repository: FileRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    (tmp_path / "to").mkdir()
    fail_at(monkeypatch, call, "/b2" if call == "scandir" else "/b2/base.tar", number)
    with pytest.raises(RepositoryError, match="Cannot list"):
        list(repository.list(""))
    with pytest.raises(RepositoryError, match="Cannot list"):
        PrefixRun(repository, FileRepository(str(tmp_path / "to")), 1, MEMORY, True).run(False)
    monkeypatch.undo()
    assert len(list(repository.list(""))) == 4


def test_what_went_meanwhile_is_gone(repository: FileRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, "scandir", "/b2", errno.ENOENT)
    assert len(list(repository.list(""))) == 2
    assert not list(repository.list("nobody"))


def test_a_folder_on_another_disk(repository: FileRepository, tmp_path: Path) -> None:
    """Moved to where there is room, with a link where it was; and links that go round in a circle."""
    os.rename(tmp_path / "from" / "main" / "b2", tmp_path / "larger")
    os.symlink(tmp_path / "larger", tmp_path / "from" / "main" / "b2")
    os.symlink("..", tmp_path / "from" / "main" / "b1" / "round")
    os.symlink(".", tmp_path / "larger" / "itself")
    assert sorted(info.key for info in repository.list("")) == [
        "main/b1/base.tar", "main/b1/manifest.json", "main/b2/base.tar", "main/b2/manifest.json",
    ]  # fmt: skip
    (tmp_path / "to").mkdir()
    target = FileRepository(str(tmp_path / "to"))
    assert PrefixRun(repository, target, 1, MEMORY, False).run(False).objects == 4


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(file_store, "GUARDED", 0.3)
    yield


@pytest.mark.usefixtures("short")
def test_a_guard_that_somebody_holds_is_told_of(repository: FileRepository) -> None:
    repository.write("main/lock.json", b"a")
    assert repository.swap("main/lock.json", b"a", b"b")
    with closing(os.fdopen(os.open(f"{repository.root}/main/.guard", os.O_RDWR), "rb")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(RepositoryError, match="is it stopped"):
            repository.swap("main/lock.json", b"b", b"c")
        assert time.monotonic() - began < 5
    assert repository.read("main/lock.json") == b"b"
    assert repository.swap("main/lock.json", b"b", b"c")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_without_locks(repository: FileRepository, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def none(guard: Any, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(RepositoryError, match="has no locks"):
        repository.swap("main/lock.json", None, b"a")


def test_a_mount_that_is_gone(repository: FileRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, "statvfs", "/from", errno.ESTALE)
    for work in (repository.free_bytes, lambda: repository.check(True)):
        with pytest.raises(RepositoryError, match="mount it anew"):
            work()


@pytest.mark.parametrize("path", ["backups", "./backups", "../backups", "backups/main"])
def test_a_relative_path_is_refused(path: str) -> None:
    options = {name: spec.get("default") for name, spec in STORE.items()}
    with pytest.raises(BadOption, match="relative"):
        open_repository({**options, "type": "file", "path": path})


@pytest.mark.parametrize("key", ["a/", "a//b", "/a", "a/./b", "a/../b", ".."])
def test_keys_as_in_object_stores(tmp_path: Path, key: str) -> None:
    """A folder with a slash at its end was listed here, and refused by every object store: restore points were found on disks alone."""
    with pytest.raises(RepositoryError, match="outside"):
        list(FileRepository(str(tmp_path)).list(key))
