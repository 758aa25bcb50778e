# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be agreed to before a copy of a server is laid out, be it for a recovery or a standby (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import accepted
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.request import DirectoryRequest
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.sources import Unsigned


def need_signatures(
    unsigned: Sequence[Unsigned], request: DirectoryRequest, consent: Consent, warnings: list[str]
) -> None:
    """Backups of a chain whose signatures are not there. Raises CatalogError."""
    for record_id, refusal in unsigned:
        if request.accept_unsigned:
            warnings.append(accepted(record_id))
        else:
            consent.need(refusal, accept_unsigned=True)
