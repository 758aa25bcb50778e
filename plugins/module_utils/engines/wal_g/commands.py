# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL is to run. Pure."""

from __future__ import annotations

import shlex
from typing import Optional

MISSING = 74  # what wal-fetch exits with when there is no such file, and nothing else


def archive_command(program: str, configuration: str, directory: Optional[str]) -> str:
    """``directory``: where the files land, in a store that is a directory; None in an object store. WAL-G writes there under the
    final name and does not flush, so ``sync`` does, the file and its name, before PostgreSQL hears that it is kept."""
    command = f'{_words(program, configuration)} wal-push "%p"'
    return command if directory is None else f"{command} && sync {_quote(directory)}/%f* {_quote(directory)}"


def restore_command(program: str, configuration: str) -> str:
    """A file that is not there ends the recovery or makes it wait (74 is passed on). Anything else, such as a store out of
    reach, exits with 255: WAL-G's own 1 would be taken for the end of the archive, and a server be opened that lacks the
    rest. With 255 PostgreSQL stops, and can be started again when the store is back."""
    return f'{_words(program, configuration)} wal-fetch "%f" "%p"; c=$?; [ $c -eq 0 ] || [ $c -eq {MISSING} ] || c=255; exit $c'


def _words(program: str, configuration: str) -> str:
    return f"{_quote(program)} --config {_quote(configuration)}"


def _quote(text: str) -> str:
    """For the shell, and for PostgreSQL, which takes %% for %."""
    return shlex.quote(text).replace("%", "%%")
