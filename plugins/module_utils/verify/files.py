# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's list of the files of a copy, read as it comes: compared with its own sum, and with what lies in the archives. Pure.

Source: https://www.postgresql.org/docs/current/backup-manifest-format.html
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Optional

_SUM = re.compile(rb'^"Manifest-Checksum": "([0-9a-f]{64})"\}$')
_LONGEST = 1024 * 1024  # bytes of a line
_ITSELF = "backup_manifest"
# What pg_verifybackup does not look at either: src/bin/pg_verifybackup/pg_verifybackup.c
_NOT_LISTED = ("pg_wal/",)
_NOT_COMPARED = ("postgresql.auto.conf", "recovery.signal", "standby.signal", _ITSELF)


class BadFiles(ValueError):
    """It is not what PostgreSQL wrote, or names other files than there are."""


class FileList:
    """Takes the list in pieces, then the names of the files as they are met."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._rest = b""
        self._said: Optional[str] = None
        #: each file's size, until it is met
        self._sizes: dict[str, int] = {}
        self.count = 0
        #: bytes of all of them
        self.total = 0

    def feed(self, data: bytes) -> None:
        """The next piece. Raises BadFiles."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            raise BadFiles("it has a line that is longer than any")
        for line in lines:
            if self._said is not None and line:
                raise BadFiles("something follows its end")
            found = _SUM.match(line)
            if found:
                self._said = found[1].decode()
                continue
            self._digest.update(line + b"\n")
            self._read(line)

    def end(self) -> None:
        """All of it came. Raises BadFiles: it was cut off, or changed."""
        if self._rest:
            self.feed(b"\n")
        if self._said is None:
            raise BadFiles("it is empty" if not self.count else "it was cut off")
        if self._said != self._digest.hexdigest():
            raise BadFiles("its own sum differs")

    def _read(self, line: bytes) -> None:
        text = line.strip().rstrip(b",")
        if not text.startswith((b'{ "Path"', b'{ "Encoded-Path"', b'{"Path"', b'{"Encoded-Path"')):
            return
        try:
            row: dict[str, Any] = json.loads(text.decode("utf-8"))
            coded = row.get("Encoded-Path")
            name = bytes.fromhex(coded).decode("utf-8", "surrogateescape") if coded is not None else str(row["Path"])
            self._sizes[name] = int(row["Size"])
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise BadFiles(f"a line of it cannot be read ({exc.__class__.__name__})") from exc
        self.count += 1
        self.total += self._sizes[name]

    def met(self, name: str, size: int) -> None:
        """A file was met. Raises BadFiles: it is not as listed."""
        name = name[2:] if name.startswith("./") else name
        expected = self._sizes.pop(name, None)
        if name in _NOT_COMPARED or name.startswith(_NOT_LISTED):
            return
        if expected is None:
            raise BadFiles(
                f"{name} is in the copy, and PostgreSQL's list of its files does not have it (or has it once)"
            )
        if expected != size:
            raise BadFiles(f"{name} has {size} bytes, and {expected} in PostgreSQL's list of the files")

    def all_met(self) -> None:
        """Raises BadFiles: some are in no archive."""
        lacking = sorted(name for name in self._sizes if name not in _NOT_COMPARED and not name.startswith(_NOT_LISTED))
        if lacking:
            raise BadFiles(
                f"{len(lacking)} of the files that PostgreSQL listed are in no archive of it, {lacking[0]} first"
            )
