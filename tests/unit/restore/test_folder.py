# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which dump of a folder is taken that others left, in postgres-backup-local's layout and in those of guides.

The kind: an older dump, or another database's, is restored without a word, since the newest one is not there. Found: a link ``shop-latest`` that
leads nowhere was passed over, and a dump of another day taken; daily/, weekly/ and monthly/ were not looked into, nor a link latest.sql.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.folder import dump_in, not_there


def layout(folder: Path, *files: str) -> Path:
    """``name`` is a file, ``name -> target`` a symbolic link, ``name = other`` another name of one file."""
    for entry in files:
        for mark, make in ((" -> ", "symlink"), (" = ", "link")):
            if mark in entry:
                name, _mark, target = entry.partition(mark)
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if make == "symlink":
                    path.symlink_to(target)
                else:
                    path.hardlink_to(folder / target)
                break
        else:
            path = folder / entry
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(entry)
    return folder


LOCAL = (
    "last/shop-20261124-010000.sql.gz",
    "last/shop-20261125-010000.sql.gz",
    "daily/shop-20261125.sql.gz = last/shop-20261125-010000.sql.gz",
    "weekly/shop-202648.sql.gz = last/shop-20261125-010000.sql.gz",
    "monthly/shop-202611.sql.gz = last/shop-20261125-010000.sql.gz",
    "last/shop-latest.sql.gz -> shop-20261125-010000.sql.gz",
    "daily/shop-latest.sql.gz -> shop-20261125.sql.gz",
)


@pytest.mark.parametrize(
    ("files", "below", "by_date", "chosen"),
    [
        (LOCAL, "", False, "last/shop-latest.sql.gz"),
        (LOCAL, "", True, "last/shop-20261125-010000.sql.gz"),
        (LOCAL, "daily", False, "daily/shop-latest.sql.gz"),
        (LOCAL, "weekly", True, "weekly/shop-202648.sql.gz"),
        (LOCAL, "nowhere", True, None),
        # last/ was lost: the finest that is kept
        (("daily/shop-20261124.sql", "daily/shop-20261123.sql", "weekly/shop-202648.sql"), "", False, "daily/shop-20261124.sql"),
        (("weekly/shop-202647.sql", "weekly/shop-202648.sql", "monthly/shop-202610.sql"), "", False, "weekly/shop-202648.sql"),
        (("monthly/shop-2026-10.sql", "monthly/shop-2026-11.sql"), "", True, "monthly/shop-2026-11.sql"),
        # the CloudNativePG guide's: one link at the top
        (("daily/shop-20261124.sql", "daily/shop-20261125.sql", "latest.sql -> daily/shop-20261124.sql"), "", False, "latest.sql"),
        (("daily/shop-20261124.sql", "daily/shop-20261125.sql", "latest.sql -> daily/shop-20261124.sql"), "", True, "daily/shop-20261125.sql"),
        # another database's link says nothing of this one
        (("daily/shop-20261124.sql", "latest.sql -> daily/blog-20261125.sql"), "", False, "daily/shop-20261124.sql"),
        (("shop/shop_2026-11-24_02h00m.Tuesday.sql.gz", "shop_eu-latest.sql"), "", False, "shop/shop_2026-11-24_02h00m.Tuesday.sql.gz"),
    ],
)  # fmt: skip
def test_which_one_is_taken(
    tmp_path: Path, files: tuple[str, ...], below: str, by_date: bool, chosen: str | None
) -> None:
    folder = layout(tmp_path, *files) / below
    if chosen is None:
        with pytest.raises(BadOption, match="has no dump"):
            dump_in(str(folder), "shop", by_date)
    else:
        assert dump_in(str(folder), "shop", by_date) == str(tmp_path / chosen)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            ("last/shop-20261124-010000.sql", "last/shop-latest.sql -> shop-20261125-010000.sql"),
            ["shop-20261125-010000.sql", "no such file", "failed, or it was deleted", "source_choice: newest"],
        ),
        (
            ("daily/shop-20261124.sql", "latest.sql -> /backups/Database/daily/shop-20261125.sql"),
            ["/backups/Database/daily/shop-20261125.sql", "mount the folder at the same path"],
        ),
        (("daily/shop-20261124.sql", "latest.sql -> shop-latest.sql", "shop-latest.sql -> latest.sql"), ["nowhere or back"]),
        ((), ["no file at all", "mounted"]),
        (("latest.sql",), ["'latest.sql'", "name it as source"]),  # of which database it is it does not say
        (("last/shop-latest.sql", "shop-latest.sql"), ["twice"]),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_no_older_one(tmp_path: Path, files: tuple[str, ...], words: list[str]) -> None:
    folder = layout(tmp_path, *files)
    with pytest.raises(BadOption) as refused:
        dump_in(str(folder), "shop")
    assert all(word in str(refused.value) for word in words), refused.value


def test_a_file_that_is_named_and_is_not_there(tmp_path: Path) -> None:
    """A link; a folder where nothing is mounted; a slip of the pen."""
    layout(tmp_path, "mnt/latest.sql -> daily/shop-20261125.sql", "mnt/daily/shop-20261124.sql")
    (tmp_path / "empty").mkdir()
    for path, words in (
        ("mnt/latest.sql", "is a link to daily/shop-20261125.sql"),
        ("empty/Database/latest.sql", "is empty: is what should be mounted there mounted?"),
        ("mnt/daily/shop-20261126.sql", "has shop-20261124.sql"),
    ):
        assert words in str(not_there(str(tmp_path / path))), path
