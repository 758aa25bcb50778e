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
from collections.abc import Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import make_directory
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import (
    TLS,
    LocalFiles,
    read_rules,
    read_settings,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.server.instance import run_as

KEPT = ".holdfast-own"  # behind the data directory's name
_RULES = {"hba_file": "pg_hba.conf", "ident_file": "pg_ident.conf"}
#: directories of PostgreSQL's own, in which nobody keeps configuration
_DATA = ("base", "global", "pg_wal", "pg_tblspc", "pg_xact", "pg_multixact", "pg_logical")
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
        self._copy(self._directory, _names(self._directory), making)
        os.rename(making, self.kept)

    def put_back(self, directory: Optional[str] = None) -> None:
        """Put it in its place, in ``directory`` where that lies now, and take away what the other server had of that kind. Raises ServerError."""
        if not self.left:
            return
        self._replace(self.kept, _all(self.kept), directory or self._directory)
        shutil.rmtree(self.kept)

    def give(self, target: str) -> None:
        """Put it into a new copy, in place of what that has of the kind. Raises ServerError."""
        self._replace(self._directory, _names(self._directory), target)

    def _replace(self, source: str, own: Sequence[str], target: str) -> None:
        doomed = [os.path.join(target, name) for name in sorted({*_names(target), *own})]
        doomed = [path for path in doomed if os.path.lexists(path)]
        if doomed:
            self._do(["rm", "-rf", "--", *doomed])
        self._copy(source, own, target)

    def _copy(self, source: str, names: Sequence[str], target: str) -> None:
        if names:
            self._do(["cp", "-a", "--parents", "--", *names, target + "/"], source)

    def _do(self, argv: list[str], cwd: str = "/") -> None:
        done = run_as(self._owner, argv, cwd=cwd)
        if done.returncode:
            raise ServerError(
                f"The configuration of the server in {self._directory} could not be kept: {' '.join(done.stdout.split())}"
            )


def _names(directory: str) -> list[str]:
    """What in a data directory is configuration, certificates or keys, relative to it: by its name, or because the configuration reads
    it, wherever it lies. A directory that is included comes along whole."""
    files = LocalFiles()
    found = read_settings(files, [os.path.join(directory, "postgresql.conf")])
    for name, default in _RULES.items():
        read_rules(files, os.path.join(directory, found.settings.get(name) or default), found)
    read = [os.path.join(directory, found.settings.get(name) or default) for name, default in {**_RULES, **TLS}.items()]
    inside = (_relative(path, directory) for path in [*found.files, *found.directories, *read])
    named = {path for path in inside if path != "." and path.split(os.sep)[0] not in ("..", *_DATA)}
    named |= {name for name in os.listdir(directory) if any(fnmatch.fnmatch(name, pattern) for pattern in _PATTERNS)}
    there = sorted(name for name in named if os.path.lexists(os.path.join(directory, name)))
    return [
        name
        for name in there
        if not any(name.startswith(other + os.sep) for other in there)  # it comes with the directory
    ]


def _relative(path: str, directory: str) -> str:
    """A path relative to the data directory, which may be named by a link there; outside it begins with two dots."""
    found = os.path.relpath(path, directory)
    if found.split(os.sep)[0] != os.pardir:
        return found
    return os.path.relpath(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)), directory)


def _all(directory: str) -> list[str]:
    """Every file of a directory, and every directory that is empty, relative to it."""
    found = []
    for folder, folders, files in os.walk(directory):
        inner = [os.path.join(folder, name) for name in files] + ([folder] if not folders and not files else [])
        found += [os.path.relpath(path, directory) for path in inner]
    return sorted(found)
