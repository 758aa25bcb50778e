# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's first sentence, order, pictures and files: tables. Kinds: a proof that is not there and reads as one; a name that becomes markup; a page that
says the same and is written anew, or says another thing and is not; a fleet that makes a page nobody can open."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import time
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report import pages
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.files import (
    FORMATS,
    is_same,
    make,
    text_of,
    written,
)
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.fleet import Fleet, Looked, fleet
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.hosts import looked
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.sentence import proven, sentence
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.timeline import timeline
from lab.reports import DAY, NOW, backup, drill, evidence, iso, report, row, stretch, window, year

ANY = "Any moment from 21 Nov 12:00 UTC to 26 Nov 11:58 UTC (2 min ago)"
GOOD = "proven 3 days ago in 12 min 04 s"
MET = "objective 1 h 00 min, met"


def alone(**kinds: Any) -> dict[str, Any]:
    return {
        "kind": "backups",
        "count": 2,
        "start": iso(5 * DAY),
        "end": iso(DAY),
        "wal": False,
        "wal_unread": False,
        **kinds,
    }


OLD_RULE = [row("drilled", "warning")]
NEWEST = "Without it, the moments of its 2 good backups alone, the newest of 25 Nov 12:00 UTC (24 h ago), "


@pytest.mark.parametrize(
    ("changes", "expected", "state"),
    [
        ({}, f"{ANY}; {GOOD}; {MET}.", "proven"),
        ({"drills": []}, f"{ANY}; no restore of it was ever proven.", "never"),
        ({"drills": [drill(2 * DAY, "fail")]}, f"{ANY}; no restore of it was ever proven, and the last drill, 2 days ago, failed.", "never"),
        ({"drills": [drill(2 * DAY, "partial")]},
         f"{ANY}; no restore of it was ever proven, and the last drill, 2 days ago, could not make all checks.", "never"),
        ({"drills": [drill(2 * DAY, proves=False, wrong="was changed", evidence=None)]},
         f"{ANY}; no restore of it was ever proven, and the last drill, 2 days ago, its evidence cannot be relied on.", "never"),
        ({"rules": OLD_RULE, "drills": [drill(400 * DAY)]}, f"{ANY}; proven 400 days ago in 12 min 04 s, which is too long ago; {MET}.", "old"),
        ({"drills": [drill(3 * DAY), drill(2 * DAY, "fail")]}, f"{ANY}; {GOOD}, and the last drill, 2 days ago, failed; {MET}.", "refuted"),
        ({"drills": [drill(3 * DAY), drill(2 * DAY, "fail"), drill(DAY, "partial")]},
         f"{ANY}; {GOOD}, and the last drill, 24 h ago, could not make all checks after one that failed; {MET}.", "refuted"),
        ({"drills": [drill(3 * DAY), drill(2 * DAY, "partial")]},
         f"{ANY}; {GOOD}, and the last drill, 2 days ago, could not make all checks; {MET}.", "proven"),
        ({"drills": [drill(4 * DAY, "fail"), drill(3 * DAY)]}, f"{ANY}; {GOOD}; {MET}.", "proven"),
        ({"drills": [drill(3 * DAY), drill(DAY, proves=False, wrong="was changed", evidence=None)]},
         f"{ANY}; {GOOD}, and the last drill, 24 h ago, left evidence that cannot be relied on; {MET}.", "refuted"),
        ({"drills": [drill(3 * DAY, "missed", evidence=evidence(4500))]},
         f"{ANY}; proven 3 days ago in 1 h 15 min; objective 1 h 00 min, missed.", "proven"),
        ({"drills": [drill(3 * DAY, evidence=evidence(None))]}, f"{ANY}; proven 3 days ago; objective 1 h 00 min, not measured.", "proven"),
        ({"drills": [drill(3 * DAY, evidence=evidence(724, None))]}, f"{ANY}; {GOOD}; no objective was set.", "proven"),
        ({"drills": [drill(3 * DAY, evidence=None)]}, f"{ANY}; proven 3 days ago.", "proven"),
        ({"drills": [drill(3 * DAY, evidence=evidence(objectives={"rto": None, "rpo": 2}))]},
         f"{ANY}; {GOOD}; objective for what may be lost 2 s, missed.", "proven"),
        ({"reach": window(end=None, end_by=None)},
         f"Any moment from 21 Nov 12:00 UTC to the end of its WAL, at a time that is not known; {GOOD}; {MET}.", "proven"),
        ({"reach": window(gap={"segments": 2})}, f"{ANY}, where the archive has a gap; {GOOD}; {MET}.", "proven"),
        ({"reach": window(earlier=2)}, f"{ANY}, and 2 stretches before it with gaps between; {GOOD}; {MET}.", "proven"),
        ({"reach": alone()}, f"The moments of its 2 good backups alone, the newest of 25 Nov 12:00 UTC (24 h ago), and nothing between them; {GOOD}; {MET}.",
         "proven"),
        ({"reach": alone(count=1)}, f"The moment of its one good backup alone, the newest of 25 Nov 12:00 UTC (24 h ago), and nothing after it; {GOOD}; {MET}.",
         "proven"),
        ({"reach": alone(wal_unread=True)},
         f"The moments of its 2 good backups alone, the newest of 25 Nov 12:00 UTC (24 h ago), what lies between them is not known; {GOOD}; {MET}.", "proven"),
        ({"reach": {"kind": "nothing"}, "drills": []},
         "Nothing can be brought back: there is no good backup; no restore of it was ever proven.", "never"),
        ({"reach": {"kind": "unknown"}, "known": False, "drills": []}, "What can be brought back is not known; what was proven is not known.", "unknown"),
        ({"drills": [], "chain": ["disk: Which drills there were is not known: no route"]}, f"{ANY}; what was proven is not known.", "unknown"),
    ],
)  # fmt: skip
def test_the_first_sentence(changes: dict[str, Any], expected: str, state: str) -> None:
    assert sentence(report(**changes)) == expected
    assert proven(report(**changes)).state == state


def one(name: str = "db1", **changes: Any) -> Fleet:
    return fleet("Backups", [Looked(name, report(name, **changes))], None, None)


def test_the_worst_comes_first_and_what_is_not_proven_is_at_the_top() -> None:
    seen = fleet(
        "Backups",
        looked(
            {
                "ok": {"report": report("ok")},
                "unproven": {"report": report("unproven", drills=[])},
                "bad": {"report": report("bad", status="critical", alerts=[{"severity": "critical", "code": "x", "text": "All is lost.", "remedy": "Run."}])},
                "away": {"unreachable": True, "msg": "no route to host"},
                "failed": {"failed": True, "msg": "server_name: '..' is no name."},
                "before": None,
                "skipped": {"skipped": True},
                "strange": {"report": "text"},
            }
        ),
        None,
        None,
    )  # fmt: skip
    assert [server.name for server in seen.servers] == ["away", "before", "failed", "skipped", "strange", "bad", "unproven", "ok"]  # fmt: skip
    assert [server.name for server in seen.unproven] == ["away", "before", "failed", "skipped", "strange", "unproven"]
    assert seen.in_short() == "8 servers: 5 unknown, 1 critical, 2 ok; 6 without a proof that holds"
    page = text_of(seen, ".html")
    assert page.index("Without a proof that holds") < page.index(">away<") < page.index("All servers")
    for text in ("the host could not be reached: no route to host", "All is lost. <em>Run.</em>", "it was left out"):
        assert text in page, text
    assert "no route to host" in text_of(seen, ".md") and "All is lost" in text_of(seen, ".csv")
    assert json.loads(text_of(seen, ".json"))["servers"][0]["error"].endswith("no route to host")


class Reader(html.parser.HTMLParser):
    """What a browser would see: elements that are closed as they were opened, attributes, and text."""

    VOID = {"meta", "br"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, Optional[str]]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'; DROP TABLE x; --", "</title></svg><script>", "{{ 7 * 7 }}{% raw %}",
    "db\u202egpj.exe", "a\u2066b\u200fc\u0000d\ud800e", "x" * 200, "=cmd|' /C calc'!A0", "-->", "javascript:alert(1)", "| a | b |", "[x](http://evil.example)",
    "@everyone", "ü 数据 ‍",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_names_and_messages_are_text(text: str) -> None:
    """Kind: other people's input decides. Members: a server's name, an alert, a reason, a repository, a check, an error, the title."""
    bad = report(
        text,
        alerts=[{"severity": "critical", "code": "x", "text": text, "remedy": text}],
        chain=[text],
        backups=[backup(text, DAY, wrong=text, goes=text, tiers=[text])],
        drills=[drill(DAY, "fail", tier=text, id=text, backup=text, evidence=evidence(reasons=[text], notes=[text], operator=text))],
        rules=[row("drilled", "ok", text)],
        tiers=[{"name": text, "repository": text, "count": 1, "size": 1, "last_success": text, "error": text}],
    )  # fmt: skip
    seen = fleet(text, [Looked(text, bad), Looked("other", error=text)], None, None)
    page = Reader(text_of(seen, ".html"))
    tags = {tag for tag, _attributes in page.elements}
    assert not tags & {"script", "img", "iframe", "link", "object", "form", "base"}
    for _tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")]
        assert str(attributes.get("href", "#")).startswith("#")
    shown = "".join(page.text)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x00]", shown)
    if text.isascii() and "\0" not in text:
        assert text in shown
    ticket = text_of(seen, ".md")
    assert (
        not re.search(r"<(?!!-- holdfast: )", ticket) and not re.search(r"(?<!\\)\]\(", ticket) and "://" not in ticket
    )
    for line in csv.reader(io.StringIO(text_of(seen, ".csv"))):
        assert len(line) == 24 and not [cell for cell in line if cell.startswith(("=", "@"))]
    assert json.loads(text_of(seen, ".json"))["servers"][1]["server_name"] == text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = text_of(one(), ".html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and html.unescape(policy[1]).startswith("default-src 'none'; style-src 'sha256-")
    assert "http" not in page.replace("http-equiv", "") and "url(" not in page and "@import" not in page
    import base64
    import hashlib

    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in html.unescape(policy[1])
    for needed in ("prefers-color-scheme:dark", "@media print", "width=device-width"):
        assert needed in page


def test_who_sees_no_picture_has_a_table_of_the_same() -> None:
    gaps = [stretch(5 * DAY, 3 * DAY, {"first": "A", "last": "B", "segments": 2}), stretch(2 * DAY, 60)]
    page = Reader(
        text_of(one(windows=[{"timeline": 1, "stretches": gaps}], drills=[drill(3 * DAY), drill(DAY, "fail")]), ".html")
    )
    pictures = [attributes for tag, attributes in page.elements if tag == "svg" and "aria-hidden" not in attributes]
    ids = {attributes.get("id") for _tag, attributes in page.elements}
    assert len(pictures) == 3
    for attributes in pictures:
        assert attributes["role"] == "img"
        named = str(attributes.get("aria-labelledby", "")).split()
        assert attributes.get("aria-label") or (named and ids.issuperset(named))
    shown = " ".join("".join(page.text).split())
    for text in ("b1", "b2", iso(5 * DAY), "gap", "A B 2", "Nothing has proved the server since", iso(DAY), "ab" * 32):
        assert text in shown, text
    heads = [attributes for tag, attributes in page.elements if tag == "th"]
    assert heads and all(attributes.get("scope") in ("col", "row") for attributes in heads)
    assert sum(1 for tag, _attributes in page.elements if tag == "caption") == sum(
        1 for tag, _attributes in page.elements if tag == "table"
    )
    levels = [int(tag[1]) for tag, _attributes in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:]))


def test_each_colour_of_text_can_be_read() -> None:
    """By WCAG 2.1, 1.4.3: a ratio of 4.5 to what it stands on, in the light, in the dark, and on paper."""
    style = Path(pages.__file__).with_name("style.css").read_text()
    schemes = [dict(re.findall(r"--(\w+):(#[0-9a-f]+)", found)) for found in re.findall(r":root{([^}]*)}", style)]
    assert len(schemes) == 3

    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(sign * 2 for sign in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for colours in schemes:
        for text in ("fg", "dim", "ok", "warning", "critical", "link"):
            for ground in ("bg", "box"):
                dark, bright = sorted((light(colours[text]), light(colours[ground])))
                assert (bright + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


MISSING = {"first": "A", "last": "B", "segments": 2}


@pytest.mark.parametrize(
    ("stretches", "covered", "missing"),
    [
        ([stretch(10 * DAY, 0)], [("0", "1000")], []),
        ([stretch(10 * DAY, 5 * DAY, MISSING), stretch(4 * DAY, 0)], [("0", "500"), ("600", "400")], [("500", "100")]),
        # No backup after the gap: nothing can be reached from there on.
        ([stretch(10 * DAY, 5 * DAY, MISSING)], [("0", "500")], [("500", "500")]),
        # The time of its end is not known: no more is drawn than is known.
        ([stretch(10 * DAY, None)], [("0", "2")], []),
    ],
)
def test_what_a_picture_shows_of_wal(stretches: Any, covered: Any, missing: Any) -> None:
    line = timeline([], [], [{"timeline": 1, "stretches": stretches}], None, NOW)
    assert line and (line.covered, line.missing) == (covered, missing)


def test_what_a_picture_shows_of_backups_and_drills() -> None:
    backups = [
        backup("a", 10 * DAY), backup("b", 5 * DAY, kind="incr", goes="by age"), backup("c", 5 * DAY - 60, kind="incr"),
        backup("d", 4 * DAY, wrong="its sum", verified_at=None), backup("e", 2 * DAY, verified_at=iso(DAY)), backup("future", -DAY),
    ]  # fmt: skip
    line = timeline(backups, [drill(5 * DAY), drill(3 * DAY, "fail"), drill(DAY, wrong="was changed")], [], None, NOW)
    assert line and dict(line.marks) == {
        "full": "M0 24V46M800 24V46", "incremental": "M500 34V46", "goes": "M500 48V54", "bad": "M600 24V46", "verified": "M900 57h0",
        "drill-pass": "M500 10h0", "drill-fail": "M700 2V46M900 2V46",
    }  # fmt: skip
    assert timeline([], [], [], None, NOW) is None


def test_a_failed_drill_names_the_later_one_that_settles_it() -> None:
    page = text_of(one(drills=[drill(9 * DAY, "fail"), drill(3 * DAY)]), ".html")
    assert f"A later drill proved the server: {iso(3 * DAY)}." in page
    (row,) = [
        line for line in csv.DictReader(io.StringIO(text_of(one(drills=[drill(9 * DAY, "fail"), drill(3 * DAY)]), ".csv")))
        if line["result"] == "fail"
    ]  # fmt: skip
    assert row["settled_at"] == iso(3 * DAY) and row["rto_objective_seconds"] == "3600"


@pytest.mark.parametrize(
    ("since", "until", "backups", "drills"),
    [
        (None, None, ["b1", "b2"], 1), ("2d", None, ["b2"], 0), ("4d", None, ["b2"], 1), (None, "2d", ["b1"], 1), ("2026-11-22", "2026-11-24", [], 1),
        ("2026-11-21T13:00:00+01:00", "2026-11-21T12:00:00Z", None, 0),
    ],
)  # fmt: skip
def test_a_period(since: Optional[str], until: Optional[str], backups: Optional[list[str]], drills: int) -> None:
    if backups is None:
        with pytest.raises(BadOption, match="not before"):
            fleet("Backups", [Looked("db1", report())], since, until)
        return
    seen = fleet("Backups", [Looked("db1", report())], since, until)
    (told,) = json.loads(text_of(seen, ".json"))["servers"]
    assert [entry["id"] for entry in told["backups"]] == backups and len(told["drills"]) == drills
    rows = list(csv.DictReader(io.StringIO(text_of(seen, ".csv"))))
    assert [line["id"] for line in rows if line["what"] == "backup"] == backups
    # What can be brought back is as of now, whatever is shown.
    assert told["sentence"].startswith(ANY) and told["proof"] == "proven"
    assert text_of(seen, ".html") and text_of(seen, ".md")


@pytest.mark.parametrize("text", ["yesterday", "2026-11-21T12:00:00", "0d"])
def test_a_period_that_is_none(text: str) -> None:
    with pytest.raises(BadOption):
        fleet("Backups", [Looked("db1", report())], text, None)


LATER = {"looked_at": iso(-60), "rules": [row("drilled", "ok", "4 days ago")]}


@pytest.mark.parametrize("suffix", sorted(FORMATS))
@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True), (LATER, True), ({"looked_at": iso(-DAY)}, False), ({"status": "critical"}, False), ({"backups": [backup("b1", 5 * DAY)]}, False),
        ({"drills": []}, False), ({"reach": window(end=None), "windows": []}, False),
    ],
)  # fmt: skip
def test_what_is_written_anew(tmp_path: Path, suffix: str, changes: dict[str, Any], same: bool) -> None:
    path = str(tmp_path / f"report{suffix}")
    assert written(one(), path, True)["changed"] and not list(tmp_path.iterdir())
    first = written(one(), path, False)
    assert first["changed"] and first["bytes"] == Path(path).stat().st_size
    # A table without times of looking need not be renewed each day, and has no windows.
    if suffix == ".csv" and ("looked_at" in changes or "reach" in changes):
        same = True
    before = Path(path).read_bytes()
    assert written(one(**changes), path, False)["changed"] is not same
    assert (Path(path).read_bytes() == before) is same
    assert not written(one(**changes), path, False)["changed"]
    assert [entry.name for entry in tmp_path.iterdir()] == [f"report{suffix}"]


@pytest.mark.parametrize("suffix", sorted(FORMATS))
@pytest.mark.parametrize("damage", [lambda text: text[:-200], lambda text: text.replace("b1", "b3"), lambda text: ""])
def test_a_file_that_was_changed_is_made_anew(suffix: str, damage: Any) -> None:
    text = text_of(one(), suffix)
    assert is_same(text, one(), suffix) and not is_same(damage(text), one(), suffix)


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"end in \.html"):
        written(one(), str(tmp_path / "report.pdf"), False)
    with pytest.raises(ToolError):
        written(one(), str(tmp_path / "none" / "report.html"), False)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ToolError):
        written(one(), str(tmp_path / "folder.html"), False)


@pytest.mark.parametrize(
    "strange",
    [{"format": 1}, report(drills=[{}]), report(rules=[{"rule": 1}]), report(looked_at="then"), report(backups=[[]])],
)
def test_what_is_no_report_hides_no_other(strange: dict[str, Any], tmp_path: Path) -> None:
    paths = [str(tmp_path / f"report{suffix}") for suffix in FORMATS]
    seen, files = make("Backups", [Looked("bad", strange), Looked("good", report("good"))], None, None, paths)
    assert all(one["changed"] for one in files)
    assert [(one.host, one.status) for one in seen.servers] == [("bad", "unknown"), ("good", "ok")]
    assert "no report of this version" in Path(paths[0]).read_text() and seen.servers[1].proof == "proven"


def test_nothing_at_all() -> None:
    empty = report(backups=[], drills=[], windows=[], tiers=[], rules=[], reach={"kind": "nothing"}, status="critical")
    for seen in (fleet("Backups", [], None, None), fleet("Backups", [Looked("db1", empty)], None, None)):
        for suffix in FORMATS:
            assert text_of(seen, suffix)


def test_two_hundred_servers_with_a_year_of_daily_backups() -> None:
    """10 s and 5 MB on two quiet cores: of processor time, as others may be at work here."""
    servers = [Looked(f"db{number}", year(f"db{number}")) for number in range(200)]
    began = time.process_time()
    page = text_of(fleet("Backups", servers, None, None), ".html")
    assert time.process_time() - began < 10
    assert len(page.encode()) < 5 * 10**6
    assert page.count('class="server"') == 200 and page.count("<svg role") == 600
