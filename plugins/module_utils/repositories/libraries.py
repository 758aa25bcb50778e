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

    def is_here(self) -> bool:
        """Whether this interpreter has it, new enough. It is imported."""
        try:
            importlib.import_module(self.module)
            return self._version() >= self.oldest
        except Exception:
            return False

    def probe(self) -> str:
        """Lines of Python that fail where it is missing or older."""
        return (
            f"import re, {self.module}\nfrom importlib.metadata import version\n"
            f"assert [int(part) for part in re.findall(r'\\d+', version({self.package!r}))[:3]] >= {list(self.oldest)!r}\n"
            if self.oldest
            else f"import {self.module}\n"
        )

    def _version(self) -> tuple[int, ...]:
        if not self.oldest:
            return ()
        return tuple(int(part) for part in re.findall(r"\d+", importlib.metadata.version(self.package))[:3])

    def _needs(self, store: str) -> str:
        return f"A repository of type {store} needs the Python package {self.package}, which {sys.executable} on {platform.node()}"

    def _way_out(self) -> str:
        wanted = f"'{self.package}>={'.'.join(map(str, self.oldest))}'"
        return (
            "That is where this module runs: the host of the play, or with delegate_to that one; no other Python that it found there has "
            "it either. Let the role setup install it (holdfast_setup_install_packages: true), or install the distribution's package or "
            f"{wanted} by pip, and name an interpreter that has it by ansible_python_interpreter."
        )


PSYCOPG2 = Library("psycopg2", "psycopg2", ())  # psycopg2-binary has the same module
BOTO3 = Library("boto3", "boto3", (1, 26))
AZURE_BLOB = Library("azure-storage-blob", "azure.storage.blob", (12, 19))
AZURE_IDENTITY = Library("azure-identity", "azure.identity", (1, 10))
GCS = Library("google-cloud-storage", "google.cloud.storage", (2, 18))
#: what a repository of each type is reached by
OF_STORE = {"s3": BOTO3, "azure": AZURE_BLOB, "gcs": GCS}
KUBERNETES = Library("kubernetes", "kubernetes", (24, 2))
