# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose an engine's configuration is: what archives reads it, so it belongs to one server, and wal_archive alone changes it.

A second server of the host with the same name would take the first one's, whose archiving fails from then on; a backup without the
passphrase would have WAL go out in the clear. So the configuration remembers whose it is and how it encrypts, and both are compared
before anything is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils import files
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Step
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import (
    BadOption,
    CatalogError,
    ServerError,
    ToolError,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.server import interrupted
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import (
    config_dir,
    config_dirs,
    make_config_dir,
    plan_config_dir,
)

#: in what remembers whose an archive or a configuration is: archiving was taken down, and its silence is no fault
ENDED = "ended"
_ROUNDS = 50_000  # of PBKDF2: the file lies beside the passphrase itself, and is no easier to read


@contextlib.contextmanager
def telling_of_interrupted(params: Mapping[str, Any]) -> Iterator[None]:
    """While it is connected to the server of ``params``. Raises ServerError: as ever, and where a killed run has left the server down, that
    is said too, as far as a configuration here remembers where the server lies."""
    try:
        yield
    except ServerError as exc:
        word = None
        with contextlib.suppress(ToolError, OSError, ValueError, KeyError, TypeError, RecursionError):
            for directory in config_dirs(params):
                with contextlib.suppress(OSError):  # another owner's may be closed to us
                    known = json.loads(files.read(os.path.join(directory, f"{params['server_name']}.owner.json")))
                    word = word or interrupted.told(str(known["data_directory"]), False)
        if word is None:
            raise
        raise ServerError(f"{exc} {word}") from exc


def remembered(path: str, what: str) -> Optional[dict[str, Any]]:
    """What the file at ``path`` says of whose ``what`` is; None: there is no such file.

    Raises:
        CatalogError: it cannot be read, or was cut off: nobody can tell, and it may well be another server's.
    """
    try:
        found = json.loads(files.read(path))
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except FileNotFoundError:
        return None
    except (ToolError, OSError, ValueError, RecursionError) as exc:
        raise CatalogError(
            f"Whose {what} is cannot be told, as {path} cannot be read: {exc}. Nothing was changed. If it is this server's, remove that file "
            "and run this again."
        ) from exc
    return dict(found)


def end(path: str, host: Host, check: bool) -> list[Step]:
    """Write into what remembers that archiving was set up for this server that it was taken down, unless ``check``; setting it up again writes
    it anew. Returns what changes: nothing where it is another server's."""
    mine = {"system_id": host.system_id, "data_directory": os.path.realpath(host.data_directory)}
    try:
        known = json.loads(files.read(path))
    except (ToolError, OSError, ValueError, RecursionError):
        return []
    if not isinstance(known, dict) or known.get(ENDED) or any(known.get(name) != mine[name] for name in mine):
        return []
    if not check:
        files.put(path, json.dumps({**known, ENDED: True}), host.owner)
    return [Step(f"write into {path} that archiving was taken down")]


class Ownership:
    """Of the configuration of the server that ``host`` describes. ``params`` are the module's: ``config_dir``, ``server_name``,
    ``encryption``."""

    def __init__(self, params: Mapping[str, Any], host: Host) -> None:
        self._server_name, self._host = str(params["server_name"]), host
        self._path = os.path.join(config_dir(params, host.owner), f"{self._server_name}.owner.json")
        self._encryption: Mapping[str, Any] = params["encryption"] or {}

    @property
    def known(self) -> Optional[dict[str, Any]]:
        """What the configuration remembers; None: there is none. Raises CatalogError: that cannot be read."""
        return remembered(self._path, f"the configuration of {self._server_name}")

    @property
    def _mine(self) -> dict[str, Optional[str]]:
        return {"system_id": self._host.system_id, "data_directory": os.path.realpath(self._host.data_directory)}

    @property
    def is_anothers(self) -> bool:
        """Whether there is a configuration, and it is another server's, as far as is known of either."""
        known, mine = self.known or {}, self._mine
        return any(known.get(name) and mine[name] and known[name] != mine[name] for name in mine)

    def check(self, accept_new_server: bool = False, replace: bool = False, consent: Optional[Consent] = None) -> None:
        """Whether this server, encrypted so, may use the configuration; ``replace``: the encryption may change. What has to be agreed to comes
        into ``consent``.

        Raises:
            CatalogError: it is another server's.
            BadOption: it encrypts otherwise.
        """
        consent = consent or Consent()
        self.check_server(accept_new_server, consent)
        if not replace:
            self.check_encryption(consent)

    def check_server(self, accept_new_server: bool, consent: Consent) -> None:
        """The first half of ``check``: it is this server's. Raises CatalogError."""
        known, mine = self.known, self._mine
        if known is not None and self.is_anothers and not accept_new_server:
            refusal = CatalogError(
                f"The configuration of {self._server_name} in {os.path.dirname(self._path)} is that of the server in "
                f"{known.get('data_directory')} (system identifier {known.get('system_id')}); this one is in {mine['data_directory']} "
                f"({mine['system_id']}). Nothing was changed. Give this server a server_name of its own; if it replaces the other one, set "
                "accept_new_server: true for one run."
            )
            consent.need(refusal, accept_new_server=True)

    def check_encryption(self, consent: Consent) -> None:
        """The second half: it encrypts so. Raises BadOption."""
        known = self.known
        if known is None:
            return
        before, now = str(known.get("encryption") or "none"), self._method
        what = None
        if before != now:
            what = f"is {now}, and what archives the WAL of {self._server_name} uses {before}"
        elif known.get("salt") and self._fingerprint(str(known["salt"])) != known.get("fingerprint"):
            what = f"is another key than the one by which the WAL of {self._server_name} is archived"
        if what:
            refusal = BadOption(
                "encryption",
                now,
                what,
                "Give the same as when archiving was set up. To change it for what is archived from now on, and to take a new backup with it: "
                "wal_archive with replace: true.",
            )
            consent.need(refusal, replace=True)

    def claim(self, check: bool) -> list[Step]:
        """Write down whose the configuration is, unless ``check``. Returns what changes."""
        known = self.known or {}
        salt = str(known.get("salt") or secrets.token_hex(8))
        wanted = {
            "system_id": self._host.system_id,
            "data_directory": os.path.realpath(self._host.data_directory),
            "encryption": self._method,
            "salt": salt,
            "fingerprint": self._fingerprint(salt),
        }
        if known == wanted:
            return []
        folder = os.path.dirname(self._path)
        if not check:
            make_config_dir(folder, self._host.owner)
            files.put(self._path, json.dumps(wanted), self._host.owner, folder_mode=0o755)
        doubt = plan_config_dir(folder, self._host.owner) if check else ""
        return [Step(f"write {self._path}: whose the configuration beside it is{doubt}")]

    def end(self, check: bool) -> list[Step]:
        """Remember that archiving was taken down, unless ``check``. Returns what changes."""
        return end(self._path, self._host, check)

    @property
    def _method(self) -> str:
        return str(self._encryption.get("method") or "none")

    def _fingerprint(self, salt: str) -> Optional[str]:
        secret = Encryption.passphrase(self._encryption)
        key = secret or json.dumps(self._encryption.get("recipients") or []).encode()
        return hashlib.pbkdf2_hmac("sha256", key, salt.encode(), _ROUNDS).hex()
