# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory while pg_rewind works on it. What that did by half may neither be started nor rewound again: it would be neither the old
server nor the new one, and PostgreSQL does not see it.

It is moved aside meanwhile, so that a boot, or whoever starts it by its name, finds no server; and what is left by half comes back with a
``backup_label`` that PostgreSQL refuses.

Source: https://www.postgresql.org/docs/current/app-pgrewind.html (Notes), read_backup_label in xlogrecovery.c
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import put
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import quoted

LABEL = "backup_label"
_HALF = "pg_rewind was interrupted or failed here, so this server is half of two: do not start it. pg_standby, run again, makes it anew.\n"


class Rewinding:
    """Of the server in ``directory``, whose files belong to ``owner``. Beside it lie a mark, and the directory itself meanwhile."""

    def __init__(self, directory: str, owner: str) -> None:
        self._directory, self._owner = directory, owner
        self._mark = f"{directory}.holdfast-rewinding"
        self.aside = f"{directory}.holdfast-rewound"

    @property
    def left(self) -> bool:
        """Whether it was interrupted, or failed, and nothing has taken the directory's place since."""
        return os.path.exists(self._mark)

    @property
    def is_aside(self) -> bool:
        """Whether a run that was killed has left the directory aside."""
        return self.left and os.path.lexists(self.aside)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[str]:
        """Gives the path where the directory is meanwhile, its own where it cannot be moved: a mount point. What raises leaves it half done.

        Raises:
            ServerError: it cannot be moved.
        """
        put(self._mark, "pg_rewind works on the data directory, or was interrupted: do not start it.\n")
        if os.path.ismount(self._directory):
            yield self._directory
            self.end()
            return
        self._rename(self._directory, self.aside)
        try:
            yield self.aside
        except BaseException:
            self.take_back()
            raise
        self._rename(self.aside, self._directory)
        self.end()

    def take_back(self) -> None:
        """Give what is half done its name again, so that it is not started all the same. Raises ServerError: another one has the name."""
        if os.path.lexists(self._directory):
            raise ServerError(
                f"{self._directory} was moved to {self.aside} while pg_rewind worked on it, which was interrupted, and somebody has put another "
                "directory in its place. Nothing was touched: look at both, move one of them away, and run this again."
            )
        put(os.path.join(self.aside, LABEL), _HALF, self._owner)
        self._rename(self.aside, self._directory)

    def end(self) -> None:
        """It is whole, or another one has taken its place."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._mark)

    @contextlib.contextmanager
    def configuration(self, outside: Optional[str]) -> Iterator[Optional[str]]:
        """A configuration as the one that lies ``outside`` the data directory, for programs that are to work where it is meanwhile."""
        if outside is None:
            yield None
            return
        path = f"{self.aside}.conf"
        put(path, f"include {quoted(outside)}\ndata_directory = {quoted(self.aside)}\n", self._owner)
        try:
            yield path
        finally:
            os.unlink(path)

    def _rename(self, old: str, new: str) -> None:
        try:
            os.rename(old, new)
        except OSError as exc:
            raise ServerError(f"{old} could not be renamed to {new}: {exc.strerror}.") from exc
