# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of an S3 listing, read fast: botocore takes 80 ms for a thousand objects, most of it for their times."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Optional
from xml.etree import ElementTree

from ansible_collections.holdfast.postgres.plugins.module_utils.background import threads
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.store import Strange, check_page

#: what the answers begin with that say what is there, or is no more
_ROOTS = {
    "ListObjectsV2": "ListBucketResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "DeleteObjects": "DeleteResult",
}


def watch_pages(events: Any) -> None:
    """Have ``read_page`` see what comes before botocore does.

    botocore's first handler parses each answer once more, to see whether it is an error in spite of its status: it is put behind
    ours, which leaves it little. Versions that have no such handler lose nothing.
    """
    from botocore import handlers

    event, first = "before-parse.s3.*", getattr(handlers, "_handle_200_error", None)
    if first is not None:
        events.unregister(event, first)
    events.register(event, read_page)
    events.register("after-call.s3", look_again)
    if first is not None:
        events.register(event, first)


def look_again(http_response: Any, model: Any, **_more: object) -> None:
    """The same look, for versions of botocore that have no event before they read an answer. A handler of ``after-call.s3``."""
    root = _ROOTS.get(model.name)
    if root and http_response.status_code == 200:
        check_page(http_response.content, root)


def read_page(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_more: object
) -> None:
    """Take the objects out of a page before botocore reads the rest of it.

    A handler of botocore's event ``before-parse.s3.*``. Versions that do not have it read the whole page; so do
    all when the page is not as it is expected, an error for instance.
    """
    body = response_dict.get("body") or b""
    root = _ROOTS.get(operation_model.name)
    # (An error in spite of its status is botocore's to find out.)
    if root and response_dict.get("status_code") == 200 and b"<Error>" not in body[:200]:
        check_page(body, root)
    if operation_model.name != "ListObjectsV2":
        return
    try:
        page = ElementTree.fromstring(response_dict["body"])
        space = page.tag.partition("ListBucketResult")[0]
        objects = page.findall(f"{space}Contents")
        found = [{child.tag[len(space) :]: child.text or "" for child in entry} for entry in objects]
        contents = [
            {"Key": entry["Key"], "Size": int(entry["Size"]), "ETag": entry["ETag"], "LastModified": _time(entry)}
            for entry in found
        ]
    except (ElementTree.ParseError, KeyError, ValueError):
        return
    if contents:
        page[:] = [node for node in page if node.tag != f"{space}Contents"]
        response_dict["body"] = ElementTree.tostring(page)
        customized_response_dict["Contents"] = contents


def whole(page: Mapping[str, Any], token: str, always: bool = False) -> None:
    """Look at the end of a page: is it the last one, or does it lead to the next? ``token`` is what leads there; ``always``: a last page
    may have one too, as Ceph's of unfinished uploads have.

    Raises:
        Strange: it says that there is more and not from where, or the other way round.
    """
    more, there = bool(page.get("IsTruncated")), bool(page.get(token))
    if more and not there:
        raise Strange("the listing was cut short: a page says that there is more, and not from where")
    if there and not more and not always:
        raise Strange("the listing was cut short: a page says where more is, and that there is none")


def _time(entry: dict[str, str]) -> datetime.datetime:
    return datetime.datetime.fromisoformat(entry["LastModified"].replace("Z", "+00:00"))


def ahead(pages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pages, each while the next one is on its way."""
    waiting = iter(pages)
    with threads(1) as pool:
        coming = pool.submit(next, waiting, None)
        while (page := _next(coming)) is not None:
            coming = pool.submit(next, waiting, None)
            yield page


def _next(coming: Future[Optional[dict[str, Any]]]) -> Optional[dict[str, Any]]:
    try:
        return coming.result()
    except Exception as exc:
        if type(exc).__name__ == "PaginationError":
            raise Strange("the listing was cut short: a page leads back to itself") from exc
        raise
