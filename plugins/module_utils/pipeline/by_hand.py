# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pipeline did, undone by hand: lines of shell for RESTORE.txt. Pure."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.record import Record

UNPACK = {".zst": "zstd -q -d -c", ".gz": "gzip -d -c", ".lz4": "lz4 -q -d -c"}
DECRYPT = {
    "aes256": 'gpg --batch --quiet --pinentry-mode loopback --passphrase-file "$PASSPHRASE_FILE" --decrypt',
    "pgp": "gpg --batch --quiet --decrypt",
}


def read(key: str, encryption: str) -> str:
    """A shell pipeline that prints an artifact's content; file names are our own and safe."""
    commands, name = [f"cat ./{key}"], key
    if name.endswith(".gpg"):
        commands.append(DECRYPT[encryption])
        name = name[: -len(".gpg")]
    for suffix, command in UNPACK.items():
        if name.endswith(suffix):
            commands.append(command)
    return " | ".join(commands)


def secrets(record: Record) -> list[str]:
    """Comments that say what decrypting needs; none where nothing is encrypted."""
    method = record.encryption["method"]
    if method == "aes256":
        return [
            "# A file with the passphrase as its only line (no byte-order mark, no CRLF), mode 0600:",
            "#   export PASSPHRASE_FILE=/root/passphrase",
        ]
    if method == "pgp":
        return [f"# gpg must hold a secret key of: {', '.join(record.encryption['recipients'])}"]
    return []


def checksums(record: Record) -> list[str]:
    """A command that compares every artifact with its sum."""
    sums = [f"{artifact.sha256}  ./{artifact.key}" for artifact in record.artifacts]
    return ["sha256sum --quiet --check <<'SUMS'", *sums, "SUMS"]
