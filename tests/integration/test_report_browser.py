# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a page that a parser likes and nobody can read. Members: a phone and a desk, with all that can be opened open, names of 200 characters. In a real
browser, where there is one (chromium, or what HOLDFAST_CHROMIUM names); no test of it fails for want of one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.files import text_of
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.fleet import Looked, fleet
from lab.reports import DAY, drill, report, year

BROWSER = os.environ.get("HOLDFAST_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDTHS = (390, 1280)
# The frames are measured from around them, as the page itself lets no script run.
AROUND = """<!doctype html><meta charset="utf-8"><body>{frames}<script>onload = () => {{
document.body.innerText = "measured " +
[...document.querySelectorAll("iframe")].map(one => {{ const page = one.contentDocument;
return page.documentElement.scrollWidth + ":" +
page.styleSheets[0].cssRules.length + ":" + page.querySelectorAll("section.server").length }}).join(" ") }}</script>"""


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: say HOLDFAST_CHROMIUM, or install chromium")
def test_no_page_is_wider_than_its_screen(tmp_path: Path) -> None:
    servers = [
        Looked("db1", year("shop", 90)),
        Looked("db2", report("x" * 200, drills=[drill(DAY, "fail", id="y" * 200)])),
        Looked("db3", error="z" * 200),
    ]
    page = text_of(fleet("Backups", servers, None, None), ".html")
    (tmp_path / "page.html").write_text(page.replace("<details>", "<details open>"))
    frames = "".join(f'<iframe src="page.html" style="width: {width}px; height: 900px; border: 0"></iframe>' for width in WIDTHS)  # fmt: skip
    (tmp_path / "around.html").write_text(AROUND.format(frames=frames))
    done = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}",
            "--allow-file-access-from-files", "--window-size=1800,1000", "--dump-dom", (tmp_path / "around.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r"measured ([\d: ]+)", done.stdout)
    assert found, done.stdout + done.stderr
    seen = [tuple(map(int, one.split(":"))) for one in found[1].split()]
    assert [width for width, _rules, _servers in seen] == list(WIDTHS)
    # Its own policy lets its style be used.
    assert all(rules > 20 and there == 3 for _width, rules, there in seen)
