# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An absence is believed only of an answer that is a whole listing (1.36, 1.41).

The kind: what cannot be read is taken for nothing, and "nothing" lets retention delete, a copy end early, and a new history begin.
Members tried, with each store: a page of HTML with status 200 (a portal, a proxy), also well-formed XHTML; an empty body; JSON of
another service; an error in XML with status 200; a list of buckets; a page that says that there is more and not from where; one
that says from where and not that there is more; a token that comes again and again; keys that were not asked for. Found: HTML, an
empty body and other XML were listings of nothing for S3 and Azure, a cut page was the end, foreign keys were deleted with a folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import RepositoryError
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.base import Repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import open_repository
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import STORE
from lab import fault
from lab.http_fault import Fault, HttpProxy, Raw, Request

HTML = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><p>Welcome to the guest network<br></body></html>"
)
XHTML = b'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Sign in</title></head><body/></html>'
STRANGE = {
    "html": Raw(body=HTML, kind="text/html"),
    "xhtml": Raw(body=XHTML, kind="application/xhtml+xml"),
    "empty": Raw(body=b""),
    "json": Raw(body=b'{"status": "ok", "service": "inventory"}', kind="application/json"),
    "text": Raw(body=b"ok", kind="text/plain"),
    "error": Raw(body=b"<Error><Code>InternalError</Code><Message>We are sorry</Message></Error>"),
    "buckets": Raw(body=b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"),
    "list": Raw(body=b"[]", kind="application/json"),
    "cut": Raw(body=b"<?xml version='1.0'?><ListBucketResult><Name>b</Name><Contents><Key>a</K"),
}


@pytest.fixture(scope="module")
def way() -> Iterator[HttpProxy]:
    with fault.refusing_port() as nowhere, HttpProxy(nowhere) as proxy:
        yield proxy


def repository(way: HttpProxy, kind: str) -> Repository:
    own: dict[str, dict[str, Any]] = {
        "s3": {"bucket": "bucket", "access_key": "a", "secret_key": "b", "endpoint_url": way.url},
        "azure": {"container": "bucket", "account": "acc", "account_key": "a2V5", "endpoint_url": f"{way.url}/acc"},
        "gcs": {"bucket": "bucket", "endpoint_url": way.url},
    }
    defaults = {name: spec.get("default") for name, spec in STORE.items()}
    return open_repository({**defaults, "type": kind, "prefix": "ours", **own[kind]})


@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
@pytest.mark.parametrize("answer", STRANGE)
def test_what_is_no_listing_is_no_empty_one(way: HttpProxy, kind: str, answer: str) -> None:
    store = repository(way, kind)
    strange = STRANGE[answer]
    looks = {
        "check": lambda: store.check(False),
        "list": lambda: list(store.list("main")),
        "delete a folder": lambda: store.delete_folder("main/backup"),
    }
    if kind != "gcs":  # which cannot list them
        looks["unfinished"] = lambda: store.unfinished("main")
    with way.rule(lambda request: strange if request.method == "GET" else None):
        for name, look in looks.items():
            with pytest.raises(RepositoryError) as caught:
                look()
            said = str(caught.value)
            assert "Cannot" in said and "What was there before" not in said, (name, said)
            assert not any(word in said for word in ("ParseError", "InvalidResponse", "JSONDecode", "KeyError")), said
            if answer in ("html", "xhtml", "json"):
                assert {"html": "Sign in", "xhtml": "Sign in", "json": "inventory"}[answer] in said, (name, said)
        assert not [line for line in way.seen if line.startswith(("DELETE", "POST"))]


def s3_page(keys: list[str], more: str) -> Raw:
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;a&quot;</ETag>"
        f"<Size>1</Size></Contents>"
        for key in keys
    )
    return Raw(
        body=f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>{entries}{more}'
        "</ListBucketResult>".encode()
    )


def azure_page(keys: list[str], marker: str) -> Raw:
    entries = "".join(
        f"<Blob><Name>{key}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>"
        f"<Etag>0x1</Etag><Content-Length>1</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
        for key in keys
    )
    return Raw(
        body=f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://x/" ContainerName="bucket">'
        f"<Blobs>{entries}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>".encode()
    )


def gcs_page(keys: list[str], token: str) -> Raw:
    items = [
        {"name": key, "size": "1", "updated": "2026-01-01T00:00:00Z", "generation": "1", "bucket": "bucket"}
        for key in keys
    ]
    page = {"kind": "storage#objects", "items": items, **({"nextPageToken": token} if token else {})}
    return Raw(body=json.dumps(page).encode(), kind="application/json")


@pytest.mark.parametrize(
    "more",
    [
        "<IsTruncated>true</IsTruncated>",
        "<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>",
        "<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
        "<NextContinuationToken>t</NextContinuationToken>",
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
    ],
    ids=["no token", "empty token", "token and the end", "token alone", "one token for ever"],
)
def test_a_page_that_leads_nowhere_is_not_the_end(way: HttpProxy, more: str) -> None:
    store = repository(way, "s3")
    with way.rule(lambda request: s3_page(["ours/main/a"], more)), pytest.raises(RepositoryError, match="cut short"):
        list(store.list("main"))


@pytest.mark.parametrize("kind", ["azure", "gcs"])
def test_a_token_that_comes_again_is_not_followed_for_ever(way: HttpProxy, kind: str) -> None:
    store = repository(way, kind)
    page = azure_page if kind == "azure" else gcs_page
    with way.rule(lambda request: page(["ours/main/a"], "again")), pytest.raises(RepositoryError, match="cut short"):
        list(store.list("main"))


@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
def test_keys_that_were_not_asked_for_are_not_ours(way: HttpProxy, kind: str) -> None:
    """A store that takes the prefix for a hint: what others have beside us is neither listed nor deleted."""
    store = repository(way, kind)
    page = {"s3": s3_page, "azure": azure_page, "gcs": gcs_page}[kind]
    end = "<IsTruncated>false</IsTruncated>" if kind == "s3" else ""

    def rule(request: Request) -> Fault:
        if "uploads" in request.query:
            return Raw(
                body=b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
            )
        if request.method == "GET":
            return page(["ours/main/a", "theirs/main/b", "ours/main2/c"], end)
        return Raw(status=202 if kind == "azure" else 204)

    with way.rule(rule):
        assert [info.key for info in store.list("main")] == ["main/a"]
        store.delete_folder("main")
        gone = [line for line in way.seen if line.startswith(("DELETE", "POST"))]
        assert len(gone) == 1 and not any("theirs" in line or "main2" in line for line in gone)
