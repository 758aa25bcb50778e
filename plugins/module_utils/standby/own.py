# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's own configuration inside its data directory: kept safe beside it while the files are rewound.

pg_rewind brings the other server's configuration, with its certificates and keys. What is kept lies beside until it is back in its
place, so that a run that is killed in between leaves it for the next one.
"""

from __future__ import annotations

import fnmatch
import os
import shutil

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.postgresql_conf import included_directories
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as

KEPT = ".holdfast-own"  # behind the data directory's name
_PATTERNS = ("*.conf", "*.crt", "*.key", "*.pem", "*.crl")


class OwnConfiguration:
    """That of the server in ``directory``, whose files belong to ``owner``."""

    def __init__(self, directory: str, owner: str) -> None:
        self._directory, self._owner = directory, owner
        self.kept = directory + KEPT

    @property
    def left(self) -> bool:
        """Whether a run that was killed has left it beside."""
        return os.path.isdir(self.kept)

    def keep(self) -> None:
        """Copy it beside. What a killed run left there is older, and stays: it is the server's own. Raises ServerError."""
        if self.left:
            return
        making = self.kept + ".new"
        shutil.rmtree(making, ignore_errors=True)
        make_directory(making, self._owner)
        self._copy(self._directory, making)
        os.rename(making, self.kept)

    def put_back(self) -> None:
        """Put it in its place, and take away what the other server had of that kind. Raises ServerError."""
        if not self.left:
            return
        self._replace(self.kept, self._directory)
        shutil.rmtree(self.kept)

    def give(self, target: str) -> None:
        """Put it into a new copy, in place of what that has of the kind. Raises ServerError."""
        self._replace(self._directory, target)

    def _replace(self, source: str, target: str) -> None:
        theirs = set(_names(target)) - set(_names(source))
        doomed = [os.path.join(target, name) for name in sorted(theirs | set(_folders(target)) | set(_folders(source)))]
        if doomed:
            self._do(["rm", "-rf", "--", *doomed])
        self._copy(source, target)

    def _copy(self, source: str, target: str) -> None:
        found = [os.path.join(source, name) for name in [*_names(source), *_folders(source)]]
        if found:
            self._do(["cp", "-a", "--", *found, target + "/"])

    def _do(self, argv: list[str]) -> None:
        done = run_as(self._owner, argv)
        if done.returncode:
            raise ServerError(
                f"The configuration of the server in {self._directory} could not be kept: {' '.join(done.stdout.split())}"
            )


def _names(directory: str) -> list[str]:
    """The files of the data directory itself that are configuration, certificates or keys."""
    return sorted(
        name
        for name in os.listdir(directory)
        if any(fnmatch.fnmatch(name, pattern) for pattern in _PATTERNS)
        and not os.path.isdir(os.path.join(directory, name))
    )


def _folders(directory: str) -> list[str]:
    """The directories in it that its postgresql.conf includes, by their first part: all below goes along."""
    try:
        with open(os.path.join(directory, "postgresql.conf"), encoding="utf-8", errors="surrogateescape") as stream:
            included = included_directories(stream.read())
    except OSError:
        return []
    first = {os.path.normpath(name).split(os.sep)[0] for name in included}
    return sorted(name for name in first if name not in ("..", ".") and os.path.isdir(os.path.join(directory, name)))
