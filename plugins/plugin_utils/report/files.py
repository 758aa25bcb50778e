# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file of a report says the same already. When it was looked at, and how long ago something was, changes without anything having changed: so
a file ends with a sum of what it is made of, without these, and of the day, and with one of itself. Pure, but for ``written``."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import jinja2
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.files import put
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report import export, pages
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.fleet import Fleet, Looked, fleet

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
#: what is a time of looking, or tells how long ago something was
_PASSING = {"looked_at", "sentence"}
_TEXTS = {"text", "error"}
#: what becomes of a report that lacks what it should have, or has something else there
_STRANGE = (KeyError, TypeError, ValueError, AttributeError, jinja2.TemplateError)


@dataclass(frozen=True)
class Format:
    """How a file is made of a fleet, and how its last line names the sums: None, it has none, and is compared as a whole."""

    make: Callable[[Fleet], str]
    last: Optional[str]


FORMATS = {
    ".html": Format(pages.html, "<!-- holdfast: {} {} -->"),
    ".md": Format(pages.markdown, "<!-- holdfast: {} {} -->"),
    ".json": Format(export.as_json, None),
    ".csv": Format(export.as_csv, None),
}


def make(
    title: str,
    looked: Sequence[Looked],
    since: Optional[str],
    until: Optional[str],
    paths: Sequence[str],
    check: bool = False,
) -> tuple[Fleet, list[dict[str, Any]]]:
    """All servers, and the files that were written of them. What came of a host and is no report hides no other.

    Raises:
        BadOption: no such period, or a file's name does not say what it is to be.
        ToolError: a file cannot be written.
    """
    for path in paths:
        format_of(path)
    try:
        return _made(title, looked, since, until, paths, check)
    except _STRANGE:
        return _made(title, [_or_error(one) for one in looked], since, until, paths, check)


def _made(
    title: str,
    looked: Sequence[Looked],
    since: Optional[str],
    until: Optional[str],
    paths: Sequence[str],
    check: bool,
) -> tuple[Fleet, list[dict[str, Any]]]:
    seen = fleet(title, looked, since, until)
    return seen, [written(seen, path, check) for path in paths]


def _or_error(one: Looked) -> Looked:
    try:
        seen = fleet("", [one], None, None)
        for form in FORMATS.values():
            form.make(seen)
    except _STRANGE as exc:
        return Looked(one.host, error=f"what came of it is no report of this version ({exc.__class__.__name__}: {exc})")
    return one


def format_of(path: str) -> Format:
    """Raises BadOption."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in FORMATS:
        raise BadOption(
            "dest", path, "does not say what it is to be", f"Let its name end in {', '.join(FORMATS)}, each a form."
        )
    return FORMATS[suffix]


def content_sum(fleet: Fleet) -> str:
    """Of what a report is made of, on that day."""
    return _sum(export.content(fleet), fleet.title, str(fleet.now.date() if fleet.now else None), pages.made_by())


def _sum(content: Any, *more: str) -> str:
    text = json.dumps([_lasting(content), *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _lasting(value: Any, name: str = "") -> Any:
    """Without what passes."""
    if isinstance(value, dict):
        # The end of the last segment is known by its age alone.
        passing = {*_PASSING, "end"} if value.get("end_by") == "arrival" else _PASSING
        return {key: _lasting(inner, key) for key, inner in value.items() if key not in passing}
    if isinstance(value, list):
        return [_lasting(inner, name) for inner in value]
    return _NUMBER.sub("#", value) if name in _TEXTS and isinstance(value, str) else value


def is_same(old: str, fleet: Fleet, suffix: str) -> bool:
    """Whether a file says already what it would say."""
    if suffix == ".csv":
        return _without_figures(old) == _without_figures(export.as_csv(fleet))
    if suffix == ".json":
        try:
            before = json.loads(old)
            return _sum(before, _day(before)) == _sum(export.content(fleet), _day(export.content(fleet)))
        except (ValueError, AttributeError, TypeError):
            return False
    body, _break, last = old.rstrip("\n").rpartition("\n")
    return last == _last_line(body + "\n", fleet, suffix)


def _day(content: dict[str, Any]) -> str:
    return str(max((str(one.get("looked_at") or "")[:10] for one in content["servers"]), default=""))


def _without_figures(text: str) -> list[str]:
    """Rows of alerts and of what could not be looked at tell ages; all others are compared as they are."""
    rows = text.split("\r\n")
    return [_NUMBER.sub("#", row) if ",alert," in row or ",server," in row else row for row in rows]


def _last_line(body: str, fleet: Fleet, suffix: str) -> str:
    last = FORMATS[suffix].last or ""
    return last.format(content_sum(fleet), hashlib.sha256(body.encode("utf-8", "replace")).hexdigest())


def text_of(fleet: Fleet, suffix: str) -> str:
    """A whole file."""
    form = FORMATS[suffix]
    body = form.make(fleet)
    return body if form.last is None else f"{body}{_last_line(body, fleet, suffix)}\n"


def written(fleet: Fleet, path: str, check: bool) -> dict[str, Any]:
    """Write a file, at once, if it does not say the same already.

    Raises:
        BadOption: its name does not say what it is to be.
        ToolError: it cannot be written.
    """
    format_of(path)
    suffix = os.path.splitext(path)[1].lower()
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:
            old: Optional[str] = stream.read()
    except FileNotFoundError:
        old = None
    except OSError as exc:
        raise ToolError(f"The report {path} cannot be written: {exc.strerror}.") from exc
    if old is not None and is_same(old, fleet, suffix):
        return {"path": path, "changed": False, "bytes": os.path.getsize(path)}
    data = text_of(fleet, suffix).encode("utf-8", "replace")
    if not check:
        put(path, data, mode=0o644)
    return {"path": path, "changed": True, "bytes": len(data)}
