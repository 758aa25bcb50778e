# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation site. Kind: a link that leads nowhere there, and a page that nothing leads to. That it builds without a warning is `make docs`'."""

from __future__ import annotations

import re
from pathlib import Path

from tools.build_docs import source


def test_links_lead_to_what_the_site_has(tmp_path: Path) -> None:
    source(tmp_path)
    index = set((tmp_path / "index.rst").read_text().split())
    for page in tmp_path.rglob("*.md"):
        assert str(page.relative_to(tmp_path).with_suffix("")) in index, f"nothing leads to {page.name}"
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).is_file(), f"{page.relative_to(tmp_path)} links to {link}"
