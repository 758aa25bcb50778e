# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer of files: content, owner and mode at once, durably, and never through a link that somebody else laid (3.1).

The kind: root works in a directory of another user, who puts a link where root will write, read, lock or delete. Members tried:
a link as the file, a dangling one, one as the temporary file, a directory on the way that is a link, a link in /tmp, a pipe, a
hard link in what was unpacked. Found: root-only files were overwritten and given away, and a pipe held a run up.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository

ME = pwd.getpwuid(os.geteuid()).pw_name
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root works in other users' directories")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of another user."""
    made = tmp_path / "theirs"
    made.mkdir()
    entry = pwd.getpwnam("nobody")
    os.chown(made, entry.pw_uid, entry.pw_gid)
    return made


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A directory of root's, that must be untouched at the end."""
    made = tmp_path / "precious"
    made.mkdir()
    (made / "file").write_text("precious")
    before = (made / "file").stat()
    yield made
    after = (made / "file").stat()
    assert (made / "file").read_text() == "precious" and os.listdir(made) == ["file"]
    assert (after.st_uid, after.st_mode, after.st_ino) == (before.st_uid, before.st_mode, before.st_ino)


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_file_is_written_at_once(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "etc" / "main" / "conf.d" / "secrets.conf"
    assert not files.is_there(str(path), "text", ME, mode)
    with pytest.raises(ToolError, match="cannot be written"):
        files.put(str(path), "text", ME, mode)
    files.put(str(path), "text", ME, mode, folder_mode=0o750)
    assert files.is_there(str(path), "text", ME, mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode and stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o755
    files.put(str(path), b"other", ME, mode)
    assert path.read_text() == "other" and os.listdir(path.parent) == ["secrets.conf"]


def test_what_is_not_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    files.put(str(path), "secret", ME)
    assert not files.is_there(str(path), "another", ME) and not files.is_there(str(path), "secret", "daemon")
    path.chmod(0o640)
    assert not files.is_there(str(path), "secret", ME)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    assert not files.is_there(str(tmp_path / "link"), "secret", ME)


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolError, match=r"main.json cannot be written: Not a directory"):
        files.put(str(tmp_path / "file" / "main.json"), "", ME, folder_mode=0o755)
    assert os.listdir(tmp_path) == ["file"]


def test_our_own_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    files.put(str(tmp_path / "link" / "name"), "text")
    assert files.read(str(tmp_path / "link" / "name")) == b"text"
    (tmp_path / "name").symlink_to(tmp_path / "disk" / "name")
    assert files.read(str(tmp_path / "name")) == b"text"


@root
def test_it_belongs_to_another_user(theirs: Path) -> None:
    files.put(str(theirs / "name"), "secret", "nobody")
    assert files.is_there(str(theirs / "name"), "secret", "nobody")
    assert not files.is_there(str(theirs / "name"), "secret", ME)
    files.make_directory(str(theirs / "a" / "b"), "nobody")
    assert {(theirs / name).stat().st_uid for name in ("a", "a/b")} == {pwd.getpwnam("nobody").pw_uid}


@root
@pytest.mark.parametrize("target", ["file", "missing"])
def test_a_link_as_the_file_is_replaced(theirs: Path, precious: Path, target: str) -> None:
    (theirs / "name").symlink_to(precious / target)
    files.put(str(theirs / "name"), "text", "nobody")
    assert not (theirs / "name").is_symlink() and (theirs / "name").read_text() == "text"


@root
def test_a_link_on_the_way_is_refused(theirs: Path, precious: Path) -> None:
    (theirs / "sub").symlink_to(precious)
    for attack in (
        lambda: files.put(str(theirs / "sub" / "name"), "text", "nobody"),
        lambda: files.put(str(theirs / "sub" / "a" / "name"), "text", "nobody", folder_mode=0o755),
        lambda: files.give(str(theirs / "sub" / "file"), "nobody"),
        lambda: files.make_directory(str(theirs / "sub" / "new"), "nobody"),
    ):
        with pytest.raises(ToolError, match="a link of another user"):
            attack()
    with pytest.raises(OSError, match="a link of another user"):
        files.read(str(theirs / "sub" / "file"))


@root
def test_a_link_to_ones_own_directory_is_followed(tmp_path: Path, theirs: Path) -> None:
    """pg_wal on a disk of its own."""
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, pwd.getpwnam("nobody").pw_uid, -1)
    (theirs / "pg_wal").symlink_to(other)
    files.put(str(theirs / "pg_wal" / "name"), "text", "nobody")
    assert (other / "name").read_text() == "text"


@root
def test_what_is_given_is_the_link(theirs: Path, precious: Path) -> None:
    (theirs / "name").symlink_to(precious / "file")
    files.give(str(theirs / "name"), "nobody")
    assert (theirs / "name").lstat().st_uid == pwd.getpwnam("nobody").pw_uid


@root
def test_locks_and_reads_follow_no_link(theirs: Path, precious: Path) -> None:
    (theirs / "lock").symlink_to(precious / "made")
    with pytest.raises(OSError, match="symbolic"):
        files.open_lock(str(theirs / "lock"))
    (theirs / "name").symlink_to(precious / "file")
    with pytest.raises(OSError, match="a link of another user"):
        files.read(str(theirs / "name"))


@root
def test_a_link_of_another_user_in_tmp(tmp_path: Path, precious: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "name").symlink_to(precious / "file")
    (shared / "sub").symlink_to(precious)
    for name in ("name", "sub"):
        os.lchown(shared / name, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(OSError, match="a link of another user"):
        files.read(str(shared / "name"))
    with pytest.raises(ToolError, match="a link of another user"):
        files.put(str(shared / "sub" / "file"), "text")


def test_a_pipe_holds_nobody_up_and_bounds_are_kept(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no ordinary file"):
        files.read(str(tmp_path / "pipe"))
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="more than 10 bytes"):
        files.read(str(tmp_path / "large"), 10)


@pytest.mark.parametrize(
    ("name", "lay"),
    [
        ("postgresql.auto.conf", lambda path: path.symlink_to("/etc/shadow")),
        ("base", lambda path: path.symlink_to("/")),
        ("global/1262", lambda path: os.link(path.parent.parent / "PG_VERSION", path)),
        ("pipe", os.mkfifo),
        ("pg_tblspc/deeper/1", lambda path: path.symlink_to("/")),
    ],
)
def test_what_is_unpacked_has_no_links(tmp_path: Path, name: str, lay: object) -> None:
    for folder in ("global", "pg_tblspc/deeper"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "PG_VERSION").write_text("15")
    (tmp_path / "pg_wal").symlink_to("/elsewhere")
    (tmp_path / "pg_tblspc" / "16400").symlink_to("/elsewhere")
    allowed = ("pg_wal", "pg_tblspc/*")
    files.refuse_strange(str(tmp_path), allowed)
    lay(tmp_path / name)  # type: ignore[operator]
    with pytest.raises(ToolError, match="which PostgreSQL never puts there"):
        files.refuse_strange(str(tmp_path), allowed)


@root
def test_a_repository_follows_no_link(theirs: Path, precious: Path) -> None:
    """The temporary file of an object, the guard of a lock, a folder, an object that is read or deleted."""
    repository = FileRepository(str(theirs))
    (theirs / ".unfinished-name").symlink_to(precious / "file")
    repository.write("name", b"text")
    assert repository.read("name") == b"text" and not (theirs / "name").is_symlink()
    (theirs / ".guard").symlink_to(precious / "guard")
    with pytest.raises(HoldfastError):
        repository.swap("lock", None, b"mine")
    (theirs / "main").symlink_to(precious)
    for attack in (
        lambda: repository.write("main/file", b"text"),
        lambda: repository.write("main/deeper/file", b"text"),
        lambda: repository.read("main/file"),
        lambda: repository.delete("main/file"),
        lambda: repository.delete_folder("main/file"),
        lambda: repository.delete_folder("main"),
    ):
        with pytest.raises(HoldfastError):
            attack()
    (theirs / "object").symlink_to(precious / "file")
    with pytest.raises(HoldfastError):
        repository.read("object")


@pytest.mark.parametrize(
    ("owner", "reader", "mode", "open_to_others"),
    [(0, 1000, 0o440, False), (0, 1000, 0o444, True), (0, 1000, 0o460, True), (0, 0, 0o440, True), (1000, 1000, 0o440, True),
     (1000, 1000, 0o600, False), (1001, 1000, 0o440, True)],
)  # fmt: skip
def test_a_secret_that_a_cluster_mounts(
    owner: int, reader: int, mode: int, open_to_others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's, and readable by the group of the pod alone; what is one's own has to be one's own."""
    monkeypatch.setattr(os, "geteuid", lambda: reader)
    status = os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    assert files.is_open_to_others(status) is open_to_others
