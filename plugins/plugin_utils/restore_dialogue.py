# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person at a terminal is asked before a restore: only what was not said before, and from what there is. Pure but for who is asked.

Nothing is guessed of an answer: one that is not understood is asked for again, and a name is taken before a number.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.described import stored_size
from ansible_collections.holdfast.postgres.plugins.module_utils.units import ago, count, listing, size, table, when

#: a prompt, and whether the answer is secret
Ask = Callable[[str, bool], str]
#: the facts of a repository's server (``holdfast_backups``); raises NotFound
Look = Callable[[Mapping[str, Any], str], Mapping[str, Any]]

_SHOWN = 20
_TRIES = 5

# By the type of a store: option, what it is, whether it must be answered, whether it is secret.
_STORES: dict[str, list[tuple[str, str, bool, bool]]] = {
    "file": [("path", "Directory of the backups, on the host of the server", True, False)],
    "s3": [
        ("bucket", "Bucket", True, False),
        ("prefix", "Prefix in it", False, False),
        ("region", "Region", False, False),
        ("endpoint_url", "URL of the endpoint, if it is not AWS", False, False),
        ("access_key", "Access key (none: what the host has)", False, False),
        ("secret_key", "Secret key", False, True),
    ],
    "azure": [
        ("container", "Container", True, False),
        ("prefix", "Prefix in it", False, False),
        ("account", "Storage account", False, False),
        ("account_key", "Key of the account (none: what the host has)", False, True),
    ],
    "gcs": [
        ("bucket", "Bucket", True, False),
        ("prefix", "Prefix in it", False, False),
        ("credentials_file", "File with the credentials, on the host of the server (none: what the host has)", False, False),
    ],
}  # fmt: skip


class NotFound(Exception):
    """What was answered leads nowhere; the text says why."""


class GivenUp(Exception):
    """Nobody gave an answer that can be understood."""


@dataclass(frozen=True)
class Known:
    """What was said before the dialogue; None: not."""

    repository: Optional[Mapping[str, Any]] = None
    server_name: str = ""
    backup_id: Optional[str] = None
    databases: Optional[Sequence[str]] = None
    target_db: Optional[str] = None
    encryption: Optional[Mapping[str, Any]] = None


@dataclass(frozen=True)
class Dialogue:
    """``now``: the time by which ages are told."""

    ask: Ask
    look: Look
    now: datetime.datetime

    def answers(self, known: Known) -> dict[str, Any]:
        """What was answered, by the options of pg_restore.

        Raises:
            NotFound: what was said before has no backup of databases.
            GivenUp: no answer was understood.
        """
        found: dict[str, Any] = {}
        records = self._records(known, found)
        record = self._backup(records, known.backup_id)
        if known.backup_id is None:
            found["backup_id"] = record["id"]
        if (record.get("encryption") or {}).get("method") == "aes256" and known.encryption is None:
            found["encryption"] = {
                "method": "aes256",
                "passphrase": self._line("It is encrypted. Passphrase", True, True),
            }
        names = [str(entry["name"]) for entry in record.get("databases") or []]
        chosen = list(known.databases or []) or self._databases(record, names)
        if known.databases is None and chosen != names:
            found["databases"] = chosen
        if len(chosen) == 1 and known.target_db is None:
            target = self._line(f"Restore it as (Enter: {chosen[0]})")
            if target and target != chosen[0]:
                found["target_db"] = target
                found["databases"] = chosen
        return found

    def _records(self, known: Known, found: dict[str, Any]) -> list[Mapping[str, Any]]:
        """Backups of databases, the newest first; where they were found is in ``found``, as far as it was asked for."""
        repository, server, why = known.repository, known.server_name, ""
        for _attempt in range(_TRIES):
            if known.repository is None and (repository is None or why):
                repository = found["repository"] = self._repository(why)
            try:
                facts = self.look(repository or {}, server)
            except NotFound as exc:
                if known.repository is not None:
                    raise
                why = f"{exc}\n"
                continue
            why = ""
            backups = list(facts.get("backups") or [])
            records = [record for record in backups if record.get("kind") == "logical" and record.get("databases")]
            if records:
                return records[::-1]
            rest = (
                f" There are {count(len(backups), 'backup')} of the whole server, which the playbook recover brings back."
                if backups
                else ""
            )
            server = self._line(
                f"There is no backup of databases of {server} there.{rest}\nName of the server that was backed up", True
            )
            found["server_name"] = server
        raise GivenUp("Nothing was found to restore. Nothing was done.")

    def _repository(self, why: str) -> dict[str, Any]:
        types = list(_STORES)
        rows = [
            "1  file   a directory, NFS, a volume",
            "2  s3     S3, and what speaks like it",
            "3  azure  Azure Blob Storage",
            "4  gcs    Google Cloud Storage",
        ]
        kind = self._one_of(why + "\n".join(["Where are the backups?", *rows, "Number"]), types, 0)
        answered = {
            option: self._line(
                text if needed else f"{text} (Enter: none)" if "none:" not in text else text, needed, secret
            )
            for option, text, needed, secret in _STORES[kind]
        }
        return {"type": kind, **{option: value for option, value in answered.items() if value}}

    def _backup(self, records: Sequence[Mapping[str, Any]], wanted: Optional[str]) -> Mapping[str, Any]:
        if wanted is not None:
            by_id = {str(record["id"]): record for record in records}
            if wanted != "latest" and wanted not in by_id:
                raise NotFound(f"There is no backup {wanted} of databases there. Nothing was done.")
            return by_id.get(wanted, records[0])
        shown = records[:_SHOWN]
        rows = [["", "of", "age", "databases", "stored", "verified", "proven by a drill", "id"]]
        for number, record in enumerate(shown, 1):
            stored = stored_size(record)
            rows.append(
                [
                    str(number),
                    when(record.get("stopped_at"), self.now),
                    ago(record.get("stopped_at"), self.now),
                    listing([str(entry["name"]) for entry in record["databases"]]),
                    "unknown" if stored is None else size(stored),
                    ago(record["verified_at"], self.now) if record.get("verified_at") else "no",
                    "FAILED" if record.get("drill_verdict") == "fail"
                    else ago(record["drilled_at"], self.now) if record.get("drilled_at") else "no",
                    str(record["id"]),
                ]
            )  # fmt: skip
        older = [f"and {len(records) - len(shown)} older ones, by their ids"] if len(records) > len(shown) else []
        ids = [str(record["id"]) for record in records]
        picked = self._one_of("\n".join(["", *table(rows), *older, "Which one (Enter: 1)"]), ids, 0, _SHOWN)
        return records[ids.index(picked)]

    def _databases(self, record: Mapping[str, Any], names: Sequence[str]) -> list[str]:
        if len(names) < 2:
            return list(names)
        sizes = [entry.get("size") for entry in record["databases"]]
        rows = [
            [str(number), name, "unknown" if known is None else size(known)]
            for number, (name, known) in enumerate(zip(names, sizes), 1)
        ]
        prompt = "\n".join(["", *table(rows), "Which databases, separated by commas (Enter: all)"])
        for _attempt in range(_TRIES):
            said = self._line(prompt)
            if not said:
                return list(names)
            picked = [said] if said in names else [_pick(part.strip(), names) for part in said.split(",")]
            if None not in picked:
                return list(dict.fromkeys(str(name) for name in picked))
            prompt = f"{said} is not all among them. Names or numbers, separated by commas (Enter: all)"
        raise GivenUp("No database was chosen. Nothing was done.")

    def _one_of(self, prompt: str, names: Sequence[str], default: int, most: Optional[int] = None) -> str:
        for _attempt in range(_TRIES):
            said = self._line(prompt)
            picked = names[default] if not said else _pick(said, names, most)
            if picked is not None:
                return picked
            prompt = f"{said} is none of them. Number"
        raise GivenUp("Nothing was chosen. Nothing was done.")

    def _line(self, prompt: str, needed: bool = False, secret: bool = False) -> str:
        for _attempt in range(_TRIES):
            said = self.ask(prompt, secret)
            # a passphrase may begin or end with a blank
            said = said if secret else said.strip()
            if said or not needed:
                return said
        raise GivenUp("There was no answer. Nothing was done.")


def _pick(said: str, names: Sequence[str], most: Optional[int] = None) -> Optional[str]:
    """A name, or the number of one, from 1 on; ``most``: how many have a number."""
    if said in names:
        return said
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0
    return names[number - 1] if 0 < number <= min(len(names), most or len(names)) else None


def consents(ask: Ask, plan: Sequence[str], consent: Mapping[str, Any]) -> bool:
    """Whether a person who has seen the plan agrees: by the names of what is replaced, else by yes."""
    lines = ["", "This would be done:", *(f"  - {step}" for step in plan)]
    names = [str(name) for name in consent.get("confirm") or []]
    if names:
        said = ask(
            "\n".join([*lines, f"To go on type {', '.join(names)}. Anything else ends it, and nothing is done"]), False
        ).strip()
        return (len(names) == 1 and said == names[0]) or sorted(part.strip() for part in said.split(",")) == sorted(
            names
        )
    return (
        ask("\n".join([*lines, "To go on type yes. Anything else ends it, and nothing is done"]), False).strip().lower()
        == "yes"
    )
