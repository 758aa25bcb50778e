# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be agreed to before a database is replaced (pure): that what is in it goes, and that whoever is in it is sent away."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.signature import accepted
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.database import sessions_hint
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.options import RestoreOptions, force_alone
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.source import Source


def need_signature(source: Source, options: RestoreOptions, consent: Consent, warnings: list[str]) -> None:
    """A backup whose signature is not there. Raises CatalogError."""
    if source.unsigned is None or source.record is None:
        return
    if options.accept_unsigned:
        warnings.append(accepted(source.record.id))
    else:
        consent.need(source.unsigned, accept_unsigned=True)


def need_confirm(full: list[str], wanted: list[str], options: RestoreOptions, consent: Consent) -> None:
    """Databases that are not empty (``full``, of the ``wanted`` ones) are replaced by name alone. Raises BadOption."""
    missing = [name for name in full if name not in options.confirm]
    if full and not options.force:
        refusal = BadOption(
            "force", False, f"protects the database {', '.join(map(repr, full))}, which is not empty",
            f"To replace it set force: true and confirm: {full} (holdfast_restore_force, and holdfast_restore_confirm as host/name), or restore "
            "under another name by target_db (holdfast_restore_target_db).",
        )  # fmt: skip
        consent.need(refusal, force=True, confirm=full)
    elif missing:
        refusal = BadOption(
            "confirm", list(options.confirm), f"does not name {', '.join(map(repr, missing))}, which would be replaced",
            f"If that is right, set confirm: {full} (holdfast_restore_confirm, as host/name).",
        )  # fmt: skip
        consent.need(refusal, confirm=full)
    elif options.force and not options.confirm:
        consent.need(force_alone(), confirm=wanted)


def need_sessions_ended(name: str, sessions: list[str], options: RestoreOptions, consent: Consent) -> None:
    """Somebody is connected to a database that is to be replaced. Raises ServerError."""
    if sessions and not options.terminate_sessions:
        refusal = ServerError(f"The database {name!r} is in use. {sessions_hint(sessions)} Nothing was touched.")
        consent.need(refusal, terminate_sessions=True)
