# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery's own log says: why it failed, and where it ended. Pure.

The operator's programs write a JSON object a line; PostgreSQL's own messages are the ``record`` of one
(pkg/management/logpipe there). Messages of PostgreSQL: src/backend/access/transam/xlogrecovery.c
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, without_secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.times import parse_time

_MOST = 500  # characters of what is quoted


class Said(NamedTuple):
    """A message: ``failure``, whether it is one; ``detail``: what PostgreSQL says beside it."""

    message: str
    failure: bool
    detail: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a recovery failed: ``message``, a sentence or more, with what to do; ``certain``: it cannot be otherwise the next time."""

    message: str
    certain: bool


@dataclass(frozen=True)
class Ended:
    """Where a recovery ended, in PostgreSQL's words: ``stopped``, why it stopped (None: it did not say); ``last``: when the last transaction that
    it replayed ended; ``timeline``: the new one."""

    stopped: Optional[str] = None
    last: Optional[datetime.datetime] = None
    timeline: Optional[int] = None


# What of a message tells, what it means, and whether that stays so. The first one that is found counts.
_REASONS = (
    (
        r"Expected empty archive",
        "the path that it would archive to is not empty: another server's WAL is there. Give archive_as a name that nothing lies under.",
        True,
    ),
    (
        r"recovery ended before configured recovery target was reached",
        "the archived WAL ends before the target. Choose one that is archived, or the latest moment: recovery_target: {latest: true}.",
        True,
    ),
    (
        r"WAL ends before (end of online backup|consistent recovery point)",
        "the WAL that the backup itself needs is not all in the store: its last segment was not archived. Use an older backup (backup_id).",
        True,
    ),
    (
        r"no target backup found|no backup found with ID",
        "the operator finds no backup in the store that it could begin with. Is the one that was chosen still there, by its retention?",
        True,
    ),
    (
        r"requested timeline \S+ is not a child|requested timeline \S+ does not contain|recovery target timeline \S+ does not exist",
        "the backup is not on the way to that timeline, or its history file is not in the store. Choose another timeline or backup_id.",
        True,
    ),
    (
        r"invalid checkpoint record|could not locate (a valid checkpoint|required checkpoint) record",
        "the backup has no checkpoint to begin at: the WAL of its start is not in the store. Use another backup (backup_id).",
        True,
    ),
    (
        r"No space left on device",
        "the volume is too small. Give it more: spec: {storage: {size: ...}}, or walStorage, and let it be made anew.",
        True,
    ),
    (
        r"database files are incompatible with server|not initialized by this version|was initialized by PostgreSQL version",
        "the image's PostgreSQL is of another major version than the backup. Name the image of that version: spec: {imageName: ...}.",
        True,
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|AuthenticationFailed|AuthorizationFailure|Unable to locate credentials",
        "the store refuses the credentials that the Cluster names.",
        False,
    ),
    (
        r"NoSuchBucket|ContainerNotFound|The specified bucket does not exist",
        "the bucket or container is not there.",
        False,
    ),
    (
        r"encountered an error while checking the presence of first needed WAL",
        "the WAL that the backup begins with could not be fetched from the store.",
        False,
    ),
    (
        r"Could not connect to the endpoint|Name or service not known|Connection refused|timed out|EndpointConnectionError",
        "the store is not reached from the pod.",
        False,
    ),
    (
        r"could not create directory|could not create symbolic link|tablespace",
        "a tablespace is made in the WAL, or is in the backup, that the Cluster does not have (spec: {tablespaces: ...}).",
        False,
    ),
)
_BEGINS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ \[\d+\] ")
_STOPPING = re.compile(r"recovery stopping (.+)", re.S)
_LAST = re.compile(r"last completed transaction was at log time (.+)")
_TIMELINE = re.compile(r"selected new timeline ID: (\d+)")


def said(lines: Iterable[str]) -> Iterator[Said]:
    """The messages of a log, whatever wrote them. Lines that are no JSON are messages as they are."""
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            if line.strip():
                yield Said(line.strip(), "error" in line.lower())
            continue
        record = found.get("record")
        if isinstance(record, dict):
            severity = str(record.get("error_severity") or "")
            yield Said(
                str(record.get("message") or ""),
                severity in ("FATAL", "PANIC", "ERROR"),
                str(record.get("detail") or ""),
            )
            continue
        message, error = _BEGINS.sub("", str(found.get("msg") or "")), str(found.get("error") or "")
        failed = found.get("level") in ("error", "fatal") or message.startswith(("ERROR", "CRITICAL"))
        yield Said(f"{message}: {error}" if error else message, failed)


def why(lines: Iterable[str]) -> Optional[Failure]:
    """Why a recovery failed, by its log; None: it does not say."""
    heard = list(said(lines))
    failures = [one for one in heard if one.failure and one.message]
    for pattern, meaning, certain in _REASONS:
        found = next((one for one in failures if re.search(pattern, f"{one.message} {one.detail}")), None)
        if found is not None:
            return Failure(f"It says: {_quoted(found)}. That means: {meaning}", certain)
    # PostgreSQL's own word is nearer to the matter than what its surroundings say of it; of these the first.
    first = next((one for one in failures if one.message.startswith(("FATAL", "PANIC"))), None) or next(
        iter(failures), None
    )
    return Failure(f"It says: {_quoted(first)}.", False) if first else None


def _quoted(one: Said) -> str:
    text = " ".join(f"{one.message} {f'({one.detail})' if one.detail else ''}".split())
    return without_secrets(text[:_MOST]).rstrip(".")


def ended(lines: Iterable[str]) -> Ended:
    """Where it ended, as far as the log says."""
    stopped, last, timeline = None, None, None
    for one in said(lines):
        stopping, time = _STOPPING.match(one.message), _LAST.match(one.message)
        selected = _TIMELINE.match(one.message)
        if stopping:
            stopped = " ".join(stopping[1].split())
        if time:
            last = _moment(time[1])
        if selected:
            timeline = int(selected[1])
    return Ended(stopped, last, timeline)


def _moment(text: str) -> Optional[datetime.datetime]:
    """PostgreSQL writes a zone's abbreviation where it has one; the operator's servers log in UTC."""
    try:
        return parse_time(re.sub(r" ?(UTC|GMT|Etc/UTC)$", "Z", text.strip()), "time")
    except BadOption:
        return None
