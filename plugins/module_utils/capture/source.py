# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which capture is meant, and what it holds: read back, decrypted, and compared with its signature, before anything is looked at."""

from __future__ import annotations

from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.capture.content import ENGINE, decode
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.latest import newest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifests
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import accepted, check_signature
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.stream import stream_of
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.secrets import Secrets
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow


def choose(shelf: Shelf, backup_id: str, warnings: list[str]) -> Record:
    """The capture of that id, or for ``latest`` the newest.

    Raises:
        CatalogError: there is none; or there are those of several workloads, and nobody says which.
        BadOption: it is another kind of backup.
    """
    if backup_id != "latest":
        record = shelf.get(backup_id)
        if record.engine != ENGINE:
            raise BadOption(
                "backup_id", backup_id, f"was made by {record.engine}, and has no objects of Kubernetes",
                "Name one that k8s_capture made: backup_facts lists them.",
            )  # fmt: skip
        return record
    found = [one for one in shelf.records(warnings) if one.engine == ENGINE and one.verified_at]
    sources = sorted({_source(one) for one in found})
    if len(sources) > 1:
        told = "; ".join(f"{_last(found, one)} of {one}" for one in sources)
        raise CatalogError(
            f"{shelf.repository.description} has captured objects of several for {shelf.name}, and latest does not say which: {told}. Name one by its "
            "id (backup_id)."
        )
    record_or_none = newest(found, utcnow())
    if record_or_none is None:
        raise CatalogError(
            f"There are no captured objects of {shelf.name} in {shelf.repository.description}. {shelf.say_if_unknown()}".rstrip()
        )
    return record_or_none


def _source(record: Record) -> str:
    return f"{record.scope.get('workload') or 'named objects'} in {record.scope.get('namespace')}"


def _last(found: list[Record], source: str) -> str:
    record = newest([one for one in found if _source(one) == source], utcnow())
    return record.id if record else ""


def read(
    shelf: Shelf, record: Record, secrets: Secrets, accept_unsigned: bool, consent: Consent, warnings: list[str]
) -> Manifests:
    """The objects.

    Raises:
        CatalogError: it is damaged, or not what was written.
        BadOption: what decrypts it is missing.
    """
    encryption = secrets.of(record)
    artifact = next((one for one in record.artifacts if one.role == "objects"), None)
    if artifact is None:
        raise CatalogError(f"The backup {record.id} has no objects: its manifest was changed. Use another one.")
    unsigned = check_signature(record, encryption, secrets.asked)
    _agree(record, unsigned, accept_unsigned, consent, warnings)
    shelf.verify(record)
    stream = stream_of(
        lambda: shelf.repository.open(shelf.key(record.id, artifact.key)), artifact.key, encryption, False
    )
    try:
        return decode(stream.read())
    except ToolError as exc:
        raise ToolError(f"The backup {record.id} cannot be read: is the passphrase or key right? {exc}") from exc
    except ValueError as exc:
        raise CatalogError(f"{artifact.key} of {record.id} cannot be read: {exc}. Use another backup.") from exc


def _agree(
    record: Record, unsigned: Optional[CatalogError], accept_unsigned: bool, consent: Consent, warnings: list[str]
) -> None:
    if unsigned is None:
        return
    if accept_unsigned:
        warnings.append(accepted(record.id))
    else:
        consent.need(unsigned, accept_unsigned=True)
