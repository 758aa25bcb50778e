# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the collection as it would be published, and asks of it what Galaxy, the documentation and execution environments do.

python tests/tools/galaxy_check.py. The programs are in .work/venv-galaxy (tests/requirements/galaxy.txt); what is not there is
skipped, by name. Every warning is a failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PROGRAMS = TOP / ".work/venv-galaxy/bin"
PLACE = Path("ansible_collections/holdfast/postgres")
# What the archive has at its top, and nothing else.
WANTED = {
    "CHANGELOG.md", "CONTRIBUTING.md", "COPYING", "FILES.json", "MANIFEST.json", "README.md", "changelogs", "docs", "extensions", "meta", "playbooks",
    "plugins", "requirements.txt", "roles",
}  # fmt: skip


def run(what: str, argv: list[str], where: Path, bad: str = "", **environment: str) -> list[str]:
    """Sentences on what a program found. ``bad``: what a line of its output must not have, though it ends with 0."""
    program = PROGRAMS / argv[0]
    if not program.exists():
        print(f"skipped: {what} ({argv[0]} is not installed)")
        return []
    done = subprocess.run(
        [str(program), *argv[1:]],
        cwd=where,
        env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    lines = done.stdout.decode(errors="replace").splitlines()
    found = [line for line in lines if bad and re.search(bad, line)]
    if done.returncode and not found:
        found = lines[-20:] or [f"exit status {done.returncode}"]
    print(f"{'FAILED' if found else 'ok'}: {what}")
    return [f"{what}: {line}" for line in found]


def sources() -> list[Path]:
    """Everything that git knows of this checkout, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        check=True,
        capture_output=True,
    )
    return [Path(name) for name in listed.stdout.decode().split("\0") if name and (TOP / name).is_file()]


def build(into: Path) -> Path:
    """The archive, from a copy without what lies about here. A .git and caches are there to be left out."""
    copy = into / "source"
    for path in sources():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes((TOP / path).read_bytes())
    for name in (
        ".git/config",
        ".venv/bin/python",
        ".work/x",
        "plugins/modules/__pycache__/x.pyc",
        "holdfast-postgres-0.0.1.tar.gz",
    ):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).touch()
    galaxy = next(
        path
        for path in (PROGRAMS / "ansible-galaxy", Path(sys.executable).with_name("ansible-galaxy"))
        if path.exists()
    )
    subprocess.run(
        [str(galaxy), "collection", "build", "--output-path", str(into)], cwd=copy, check=True, capture_output=True
    )
    (archive,) = into.glob("*.tar.gz")
    return archive


def contents(archive: Path) -> list[str]:
    """What is in it and should not be, or the other way round."""
    with tarfile.open(archive) as tar:
        names = [name.removeprefix("./") for name in tar.getnames()]
    top = {name.partition("/")[0] for name in names} - {""}
    hidden = [name for name in names if name.endswith((".pyc", ".tar.gz"))]
    problems = [f"the archive has {name}" for name in sorted(top - WANTED) + hidden]
    return problems + [f"the archive lacks {name}" for name in sorted(WANTED - top)]


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        into = Path(name)
        problems = contents(archive := build(into))
        print(f"{'FAILED' if problems else 'ok'}: what is in {archive.name}")
        place = into / PLACE
        place.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            tar.extractall(place)
        # ansible-lint has a step of its own.
        problems += run(
            "galaxy-importer",
            ["python", "-m", "galaxy_importer.main", archive.name],
            into,
            r"^(WARNING|ERROR)|[Ee]xpected requirements|Traceback",
            GALAXY_IMPORTER_RUN_ANSIBLE_LINT="false",
        )
        # E203, E704, W503: flake8's default leaves them out, as formatters write what PEP 8 says now.
        style = [
            "flake8",
            "--isolated",
            "--extend-ignore=E402,E203,E704,W503",
            "--select=E,F,W",
            "--max-line-length=160",
            "plugins",
            "roles",
        ]
        problems += run("flake8 as the importer calls it", style, place, r":\d+:\d+: ")
        docs = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", "."]
        problems += run("antsibull-docs", docs, place, r":\d+:\d+:", ANSIBLE_COLLECTIONS_PATH=str(into))
        problems += run("antsibull-changelog", ["antsibull-changelog", "lint"], place, r":\d+:\d+:")
        problems += run(
            "ansible-builder introspect", ["ansible-builder", "introspect", str(into)], into, "Error|not present"
        )
        environment = into / "execution-environment.yml"
        environment.write_text(
            "version: 3\nimages: {base_image: {name: 'quay.io/ansible/community-ee-minimal:latest'}}\n"
            f"dependencies:\n  galaxy: {{collections: [{{name: {archive}, type: file}}]}}\n"
        )
        create = ["ansible-builder", "create", "--file", str(environment), "--context", str(into / "context")]
        problems += run("ansible-builder create", create, into)
        # The collection's own image: its files beside the archive, as `make image` has them.
        own = into / "image"
        shutil.copytree(place / "extensions/ee", own)
        shutil.copy(archive, own / "holdfast-postgres.tar.gz")
        create = [
            "ansible-builder",
            "create",
            "--file",
            str(own / "execution-environment.yml"),
            "--context",
            str(own / "context"),
        ]
        problems += run("ansible-builder create of the image", create, own)
    print("\n".join(problems))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
