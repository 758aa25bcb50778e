# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A passphrase is one line, the same from an option and a file.

The kind: one takes a line, the other a text. Of several lines only the first was the key, so any second line opened it; a file's and an
option's ends were cut differently; a byte-order mark became a part of the key, or not.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption

GOOD = [
    (b"sesame", b"sesame"),
    (b"sesame\n", b"sesame"),
    (b"sesame\r\n", b"sesame"),
    (b"\xef\xbb\xbfsesame\r\n", b"sesame"),
    (b" two words \n", b" two words "),
    ("gr\u00f6\u00dfe\n".encode(), "gr\u00f6\u00dfe".encode()),
]
BAD = [
    (b"alpha\nsecond", "more than one line"),
    (b"alpha\nsecond\n", "more than one line"),
    (b"alpha\n\n", "more than one line"),
    (b"alpha\rsecond", "more than one line"),
    (b"\nsecond", "more than one line"),
    (b"a\0b", "zero byte"),
    (b"\n", "empty"),
    (b"\xef\xbb\xbf\n", "empty"),
]


def of_file(tmp_path: Path, data: bytes) -> bytes | None:
    path = tmp_path / "passphrase"
    path.write_bytes(data)
    path.chmod(0o600)
    return Encryption.passphrase({"passphrase_file": str(path)})


@pytest.mark.parametrize(("data", "key"), GOOD)
def test_one_line(tmp_path: Path, data: bytes, key: bytes) -> None:
    assert of_file(tmp_path, data) == key
    assert Encryption.passphrase({"passphrase": data.decode()}) == key


@pytest.mark.parametrize(("data", "problem"), BAD)
def test_no_passphrase(tmp_path: Path, data: bytes, problem: str) -> None:
    with pytest.raises(BadOption, match=problem):
        of_file(tmp_path, data)
    with pytest.raises(BadOption, match=problem) as caught:
        Encryption.passphrase({"passphrase": data.decode()})
    assert "alpha" not in str(caught.value)


@pytest.mark.parametrize(("data", "problem"), [(b"", "empty"), (b"\xff\xfes\0", "UTF-16"), (b"x" * 5000, "too long")])
def test_files_that_hold_none(tmp_path: Path, data: bytes, problem: str) -> None:
    with pytest.raises(BadOption, match=problem):
        of_file(tmp_path, data)
