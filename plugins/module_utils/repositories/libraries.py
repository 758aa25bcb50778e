# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vendors' libraries: imported when a store is opened, of a version that is known to work, with one message for all."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from dataclasses import dataclass

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError


@dataclass(frozen=True)
class Library:
    """A package: what it is called where it is installed from, the module that is imported, and its oldest version that works."""

    package: str
    module: str
    oldest: tuple[int, ...]

    def demand(self, store: str) -> None:
        """Import it. ``store`` is what needs it, in words.

        Raises:
            RepositoryError: it is not there, is broken, or is older.
        """
        try:
            importlib.import_module(self.module)
        except ImportError as exc:
            raise RepositoryError(f"{self._needs(store)} does not have ({exc}). {self._way_out()}") from exc
        except Exception as exc:  # one whose own libraries do not go together raises anything
            raise RepositoryError(
                f"{self._needs(store)} cannot import ({type(exc).__name__}: {exc}). {self._way_out()}"
            ) from exc
        there = importlib.metadata.version(self.package)
        if tuple(int(part) for part in re.findall(r"\d+", there)[:3]) < self.oldest:
            wanted = ".".join(map(str, self.oldest))
            raise RepositoryError(
                f"{self._needs(store)} has in version {there}; {wanted} is the oldest that works. {self._way_out()}"
            )

    def _needs(self, store: str) -> str:
        return f"A repository of type {store} needs the Python package {self.package}, which {sys.executable} on {platform.node()}"

    def _way_out(self) -> str:
        wanted = f"'{self.package}>={'.'.join(map(str, self.oldest))}'"
        return (
            "That is where this module runs: the host of the play, or with delegate_to that one. Install it there "
            f"({sys.executable} -m pip install {wanted}), or name an interpreter that has it by ansible_python_interpreter."
        )


BOTO3 = Library("boto3", "boto3", (1, 26))
AZURE_BLOB = Library("azure-storage-blob", "azure.storage.blob", (12, 19))
AZURE_IDENTITY = Library("azure-identity", "azure.identity", (1, 10))
GCS = Library("google-cloud-storage", "google.cloud.storage", (2, 18))
