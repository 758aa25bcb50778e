# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the documentation site: the pages of docs/ and of the roles as they are, and a page for each module, plugin and role by antsibull-docs.

PYTHONPATH=tests python tests/tools/build_docs.py .work/docs. Every warning is a failure. The programs are in .work/venv-docs (tests/requirements/docs.txt).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.galaxy_check import TOP

PROGRAMS = TOP / ".work/venv-docs/bin"
CONFIGURATION = """
project = "holdfast.postgres"
copyright = "holdfast.postgres contributors"
extensions = ["sphinx_antsibull_ext", "myst_parser"]
html_theme = "alabaster"
html_theme_options = {"description": "Backs up PostgreSQL, proves each backup by restoring it, and runs the recovery", "page_width": "1200px"}
# A script for psql is SQL to a reader, and not to the highlighter.
suppress_warnings = ["misc.highlighting_failure"]
myst_heading_anchors = 4
highlight_language = "none"
"""
INDEX = """
holdfast.postgres
=================

.. toctree::
   :maxdepth: 1
   :caption: Pages

   README
   docs/guide
{pages}
   CONTRIBUTING

.. toctree::
   :maxdepth: 1
   :caption: Roles, in the words of their variables

{roles}

.. toctree::
   :maxdepth: 2
   :caption: Reference

   collections/holdfast/postgres/index
"""

# What antsibull-docs refers to in Ansible's own documentation. It would be looked up there, which a build without a network cannot.
ELSEWHERE = """
:orphan:

Ansible's own documentation
===========================

"""
LABELS = {
    "common_return_values": ("Common return values", "https://docs.ansible.com/ansible/latest/reference_appendices/common_return_values.html"),
    "action_plugins": ("Action plugins", "https://docs.ansible.com/ansible/latest/plugins/action.html"),
    "callback_plugins": ("Callback plugins", "https://docs.ansible.com/ansible/latest/plugins/callback.html"),
    "ansible_configuration_settings": ("Configuration", "https://docs.ansible.com/ansible/latest/reference_appendices/config.html"),
    "ansible_collections.ansible.builtin.command_module": (
        "ansible.builtin.command", "https://docs.ansible.com/ansible/latest/collections/ansible/builtin/command_module.html",
    ),
}  # fmt: skip


def elsewhere() -> str:
    parts = [f".. _{label}:\n\n{title}\n{'-' * len(title)}\n\n{url}\n" for label, (title, url) in LABELS.items()]
    return (
        ELSEWHERE.lstrip()
        + "\n".join(parts)
        + "\n.. envvar:: ANSIBLE_CALLBACKS_ENABLED\n\n   Which callback plugins are used.\n"
    )


def source(into: Path) -> None:
    """The pages where they stand to each other as in the repository, so that their links hold."""
    pages = sorted((TOP / "docs").rglob("*.md"))
    roles = sorted((TOP / "roles").glob("*/README.md"))
    for path in [
        TOP / "README.md",
        TOP / "CONTRIBUTING.md",
        TOP / "docs/report.png",
        TOP / "docs/manifest.schema.json",
        *pages,
        *roles,
    ]:
        (into / path.relative_to(TOP)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, into / path.relative_to(TOP))
    # Folders, which are no pages.
    readme = into / "README.md"
    readme.write_text(re.sub(r"\[([^]]+)\]\((?:roles|playbooks)\)", r"\1", readme.read_text()))
    (into / "conf.py").write_text(CONFIGURATION)
    index = INDEX.format(
        pages="\n".join(f"   {path.relative_to(TOP).with_suffix('')}" for path in pages if path.stem != "guide"),
        roles="\n".join(f"   roles/{path.parent.name}/README" for path in roles),
    )
    (into / "index.rst").write_text(index.lstrip())
    (into / "elsewhere.rst").write_text(elsewhere())


def main(where: str) -> int:
    out = Path(where).resolve()
    shutil.rmtree(out, ignore_errors=True)
    source(out / "source")
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    reference = [
        "antsibull-docs", "collection", "--use-current", "--fail-on-error", "--no-breadcrumbs", "--squash-hierarchy",
        "--dest-dir", str(out / "source/collections/holdfast/postgres"), "holdfast.postgres",
    ]  # fmt: skip
    (out / "source/collections/holdfast/postgres").mkdir(parents=True)
    site = [
        "sphinx-build",
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
        "--jobs",
        "auto",
        "-b",
        "html",
        str(out / "source"),
        str(out / "html"),
    ]
    for argv in (reference, site):
        status = subprocess.run([str(PROGRAMS / argv[0]), *argv[1:]], env=environment, check=False).returncode
        if status:
            return status
    print(f"{out / 'html/index.html'}: {len(list((out / 'html').rglob('*.html')))} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
