# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of a report, by Jinja2: HTML that no name can break out of, which loads nothing and runs nothing; and Markdown for a ticket. Pure, but for
the templates beside this file."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.holdfast.postgres.plugins.module_utils.units import ago, duration, size, when
from ansible_collections.holdfast.postgres.plugins.plugin_utils.report.fleet import Fleet, seconds
from markupsafe import Markup

_HERE = Path(__file__).resolve().parent
# What shows nothing by itself, and turns around or hides what stands beside it; joiners stay, as words and pictures need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_MARKDOWN = re.compile(r"([\\`*_\[\]#|~@>])")


def seen(text: str) -> str:
    """Text whose unseen signs are written out."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _html(value: Any) -> Any:
    return seen(value) if isinstance(value, str) and not isinstance(value, Markup) else "" if value is None else value


def _markdown(value: Any) -> Any:
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = " ".join(seen(value).split())
    text = _MARKDOWN.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    return text.replace("://", ":&#47;/")  # no address becomes a link by itself


@cache
def _environment(kind: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=kind == "html",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_html if kind == "html" else _markdown,
    )
    environment.filters.update(
        bytes=lambda value: "not known" if value is None else size(value),
        duration=lambda value: "not known" if value is None else duration(value),
        ago=lambda text, now: "" if text is None else ago(text, now),
        when=lambda text, now: "" if text is None else when(text, now),
        took=lambda entry: "not known" if (found := seconds(entry)) is None else duration(found),
    )
    return environment


@cache
def _style() -> str:
    return (_HERE / "style.css").read_text(encoding="utf-8")


def html(fleet: Fleet) -> str:
    """One page, with all that it needs."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    # The stylesheet is a file of ours; markup in it there is none.
    return _environment("html").get_template("page.html.j2").render(
        fleet=fleet, style=Markup(_style()), policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )  # fmt: skip


def markdown(fleet: Fleet) -> str:
    """A page for a ticket."""
    return _environment("markdown").get_template("ticket.md.j2").render(fleet=fleet)


@cache
def made_by() -> str:
    """Changes when the templates do, so that a page of an older version is made anew."""
    parts = [(_HERE / name).read_bytes() for name in ("page.html.j2", "ticket.md.j2", "style.css")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
