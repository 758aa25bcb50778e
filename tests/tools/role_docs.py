# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the table of variables into each role's README.md, from its meta/argument_specs.yml.

python tests/tools/role_docs.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
HEADING = "## Variables\n"
NOTE = "\nMade by `tests/tools/role_docs.py` from `meta/argument_specs.yml`. Without a default here, the module's own applies.\n"


def plain(text: str) -> str:
    """Ansible's markup as Markdown, in one line of a table."""
    text = re.sub(r"\b[OVC]\((?:[\w.]+#\w+:)?([^()]*(?:\([^()]*\)[^()]*)*)\)", r"`\1`", text)
    text = re.sub(r"\b[MP]\(([^()#]*)(?:#\w+)?\)", r"`\1`", text)
    return " ".join(text.split()).replace("|", "\\|")


def default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "required"
    if "default" not in option:
        return ""
    value = option["default"]
    shown = {True: "true", False: "false", "": "empty"}.get(value, value) if isinstance(value, (bool, str)) else value
    return f"`{shown}`"


def table(role: str) -> str:
    """The part of the README that is made, from its heading on."""
    spec = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    lines = [HEADING, NOTE, "\n| variable | type | default | |\n| --- | --- | --- | --- |\n"]
    for name, option in spec["options"].items():
        description = option["description"]
        said = " ".join([description] if isinstance(description, str) else description)
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        lines.append(f"| `{name}` | {kind} | {default(option)} | {plain(said)} |\n")
    return "".join(lines)


def readme(role: str) -> str:
    """The whole README, what was written by hand before the heading as it is."""
    path = ROLES / role / "README.md"
    return path.read_text().partition(HEADING)[0].rstrip("\n") + "\n\n" + table(role)


def main() -> None:
    for path in sorted(ROLES.iterdir()):
        (path / "README.md").write_text(readme(path.name))


if __name__ == "__main__":
    main()
