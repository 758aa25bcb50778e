# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a release of this checkout: its version, its changelog out of the fragments, and the archive, which is looked through.

PYTHONPATH=tests python tests/tools/release.py 1.0.0-beta .work/release. The checkout stays as it is: `--write` takes the version and the changelog into it,
to be committed and tagged. antsibull-changelog is in .work/venv-galaxy (tests/requirements/galaxy.txt).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tools.galaxy_check import PROGRAMS, TOP, WANTED, sources

# SemVer 2.0.0, as Galaxy wants it.
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
# What a release changes.
CHANGED = ("galaxy.yml", "CHANGELOG.md", "changelogs")


def copied(into: Path) -> Path:
    """All that git knows, or would, without what lies about."""
    for path in sources():
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / path, into / path)
    return into


def versioned(copy: Path, version: str) -> None:
    galaxy = copy / "galaxy.yml"
    galaxy.write_text(re.sub(r"(?m)^version: .*$", f"version: {version}", galaxy.read_text(), count=1))


def noted(copy: Path, version: str, program: Path = PROGRAMS / "antsibull-changelog") -> None:
    """The changelog, in which the fragments vanish."""
    (copy / "CHANGELOG.md").unlink()
    for argv in (["lint"], ["release", "--version", version]):
        subprocess.run([str(program), *argv], cwd=copy, check=True)


def built(copy: Path, into: Path) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    subprocess.run(
        [str(galaxy), "collection", "build", "--force", "--output-path", str(into)],
        cwd=copy,
        check=True,
        capture_output=True,
    )
    (version,) = re.findall(r"(?m)^version: (\S+)$", (copy / "galaxy.yml").read_text())
    return into / f"holdfast-postgres-{version}.tar.gz"


def listed(archive: Path) -> list[str]:
    """Its files, sorted."""
    with tarfile.open(archive) as tar:
        return sorted(member.name.removeprefix("./") for member in tar if member.isfile())


def strangers(files: list[str], copy: Path) -> list[str]:
    """Sentences on what is in an archive and should not be, or is not and should."""
    made = {"FILES.json", "MANIFEST.json"}
    wanted = {
        str(path)
        for path in (path.relative_to(copy) for path in copy.rglob("*") if path.is_file())
        if path.parts[0] in WANTED and not any(part.startswith(".") for part in path.parts)
    } | made
    return [
        *(f"it has {name}" for name in sorted(set(files) - wanted)),
        *(f"it lacks {name}" for name in sorted(wanted - set(files))),
    ]


def main(argv: list[str]) -> int:
    write = "--write" in argv
    try:
        version, where = (one for one in argv if one != "--write")
    except ValueError:
        print(__doc__)
        return 2
    if not VERSION.fullmatch(version):
        print(f"{version} is no version, such as 1.0.0 or 1.0.0-beta.")
        return 2
    into = Path(where).resolve()
    shutil.rmtree(into, ignore_errors=True)
    copy = copied(into / "source")
    versioned(copy, version)
    noted(copy, version)
    archive = built(copy, into)
    files = listed(archive)
    problems = strangers(files, copy)
    (into / "contents.txt").write_text("\n".join(files) + "\n")
    print("\n".join(problems) or f"{archive}: {len(files)} files, listed in {into / 'contents.txt'}")
    if problems:
        return 1
    if write:
        for name in CHANGED:
            shutil.rmtree(TOP / name) if (TOP / name).is_dir() else (TOP / name).unlink()
            (shutil.copytree if (copy / name).is_dir() else shutil.copy2)(copy / name, TOP / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
