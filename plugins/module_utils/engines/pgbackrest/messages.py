# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest's errors, as messages for the user. Pure.

An error is ``ERROR: [<number>]: <message>``, with lines of hints, and of the HTTP request where a store refused one.
"""

from __future__ import annotations

import re

_TIMES = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ ", re.MULTILINE)
_ERROR = re.compile(r"^P\d+ +ERROR: \[(\d+)\]: (.*?)(?=^P\d+ |\Z)", re.MULTILINE | re.DOTALL)
_ADVICE = (
    (
        "InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|InvalidAuthenticationInfo|failed to authenticate|with 401",
        "The store does not know these keys, or this host's clock is wrong: check the repository's keys.",
    ),
    ("NoSuchBucket|ContainerNotFound", "Create the bucket or container, or check its name."),
    ("AccessDenied|AuthorizationPermissionMismatch|with 403", "The keys may not do that: they must read, list, write and delete there."),
    (
        "unable to find hostname|certificate verify failed|unable to verify",
        "The store's certificate is not trusted: name the CA's file by repository.ca_file, and the host as the certificate does.",
    ),
    (
        r"unable to connect|timeout after \d+ms|HostConnectError|unable to get address|Connection re",
        "Nothing answers there: check the repository's endpoint_url, its region, and the network.",
    ),
    (
        "user-defined CA certificate",
        "The user who owns the server must be able to read repository.ca_file.",
    ),
    (
        "unable to flush|found outside of section|cipher header invalid",
        "The passphrase is not the one that the repository was made with, or that was made without one.",
    ),
    (r"\[050\]", "Another pgBackRest works on the same stanza: wait for it to end."),
    (r"\[068\]|\[087\]", "Set archiving up first (holdfast.postgres.wal_archive), and restart the server where that is due."),
    (r"\[082\]", "The server archived too late, or not at all: its log has the words of archive_command, unless that hangs; wal_timeout waits longer."),
    (
        "unable to find primary cluster",
        "Does the server run, and is it the primary? For a standby give pg2-host and pg2-path in engine_options, and "
        "backup-standby: y.",
    ),
    ("is this version of PostgreSQL supported", "Install a newer pgBackRest."),
    ("was previously stopped|stop file exists", "Somebody stopped it: pgbackrest start lets it work again."),
    ("No space left", "Make room there."),
    ("Permission denied|Read-only file system", "It must belong to the user who owns the server."),
)  # fmt: skip


def number(text: str) -> int:
    """The number of the first error; 0 where there is none."""
    found = _ERROR.search(_TIMES.sub("", text))
    return int(found[1]) if found else 0


def explain(text: str, most: int = 600) -> str:
    """What went wrong, in one line: the error's own words, and what to do where that is known."""
    plain = _TIMES.sub("", text)
    errors = _ERROR.findall(plain)
    message = "; ".join(_short(f"[{code}]: {said}") for code, said in errors) if errors else _short(plain)
    advice = next((advice for part, advice in _ADVICE if re.search(part, plain)), "")
    shown = message if len(message) <= most else message[:most] + " …"
    return f"{shown or 'It said nothing'}{'' if shown.endswith('.') else '.'} {advice}".strip()


def _short(said: str) -> str:
    """Without the headers of requests, secrets in addresses, and bytes that nobody can read."""
    code, message = (re.search(f"<{tag}>([^<]*)</{tag}>", said) for tag in ("Code", "Message"))
    store = re.search(r"x-ms-error-code: (\S+)", said)
    said = re.split(r"\s*\*\*\* ", said, maxsplit=1)[0]
    if code or store:
        parts = [found[1] for found in (code or store, message) if found and found[1]]
        said += " " + ": ".join(parts)
    said = re.sub(r"\bsig=[^&\s]+", "sig=(hidden)", " ".join(said.split()))
    return "".join(letter if letter.isprintable() and letter != "\ufffd" else "?" for letter in said)
