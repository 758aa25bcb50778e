# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is a backup already that makes another one needless."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.backup.request import BackupRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.chain import by_id, chain
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.freshness import (
    Present,
    age,
    describe_age,
    from_the_future,
    is_of,
    is_past_of,
    is_recent,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import in_order
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.scope import describe, key, not_encrypted_for
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError

#: what is wrong with a backup, looked at where it lies; None: nothing
Look = Callable[[Record], Optional[str]]
#: seconds from which on the age of a backup of the wished id is worth a word
OLD = 24 * 3600


def what_makes_it_needless(
    known: Sequence[Record],
    request: BackupRequest,
    present: Present,
    now: datetime.datetime,
    look: Look,
    warnings: list[str],
    closed: Look = lambda record: None,
) -> Optional[Record]:
    """The backup that makes another one needless: of the wished id; or fresh enough, of the same scope and server, verified, encrypted
    for all who are to read it, and there with all that it is based on. None: there is none, and ``warnings`` says where one only looks so.
    ``closed`` says why one cannot be opened by who is to read it.

    Raises:
        CatalogError: the wished id is another backup's.
        RepositoryError: it could not be looked at.
    """
    records = by_id(known)
    if request.id:
        found = records.get(request.id)
        return found and _of_the_id(found, records, request, present, now, look, warnings, closed)
    if request.max_age is None:
        return None
    for record in reversed(in_order(known)):
        if record.kind not in request.enough or key(record) != request.key:
            continue
        future = from_the_future(record, now)
        if future:
            warnings.append(future)
        elif is_recent(record, request.max_age, now):
            doubt = is_past_of(record, present) or _doubt(record, records, request, look, closed)
            if doubt is None:
                return record
            warnings.append(f"The backup {record.id} is fresh, and another one is needed all the same: {doubt}.")
    return None


def _of_the_id(
    record: Record,
    records: Mapping[str, Record],
    request: BackupRequest,
    present: Present,
    now: datetime.datetime,
    look: Look,
    warnings: list[str],
    closed: Look,
) -> Record:
    old = describe_age(record, now)
    wrong = None
    if not is_of(record, present.system_id):
        wrong = f"it is of another server (system identifier {record.server.get('system_id')})"
    elif record.engine != request.engine:
        wrong = f"it was made by {record.engine}, and {request.engine} is asked for"
    elif key(record) != request.key:
        wrong = (
            f"it has {describe(record)} (encryption: {record.encryption.get('method')}), which is not what is asked for"
        )
    else:
        wrong = _doubt(record, records, request, look, closed)
    if wrong:
        raise CatalogError(
            f"There is a backup {record.id!r} already, {old}: {wrong}. No backup was made. Give this one another backup_id, or delete that "
            "one first (state: absent)."
        )
    if age(record, now) > OLD:
        warnings.append(f"There is a backup {record.id!r} already, {old} ({record.stopped_at}): no other one was made.")
    return record


def _doubt(
    record: Record, records: Mapping[str, Record], request: BackupRequest, look: Look, closed: Look
) -> Optional[str]:
    try:
        links = chain(record, records)
    except CatalogError as exc:
        return str(exc).rstrip(".")
    for link in links:
        which = "it" if link is record else f"{link.id}, which it is based on,"
        wrong = look(link)
        if wrong:
            return f"{which} is damaged ({wrong})"
        if link.verified_at is None:
            return f"{which} was never verified"
        strangers = not_encrypted_for(link, request.encryption)
        if strangers:
            return f"{which} is not encrypted for {', '.join(strangers)}"
        shut = closed(link)
        if shut:
            return f"{which} {shut}"
    return None
