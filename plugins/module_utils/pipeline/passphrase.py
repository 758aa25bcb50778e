# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a passphrase is: one line of text, the same whether it comes from an option or a file. Pure.

gpg takes the first line of what it is given for the key. So a second line would protect nothing, and whatever stood in it would decrypt:
it is refused. The end of the one line (LF or CRLF) and a byte-order mark belong to the file, not to the key.
"""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def clean(data: bytes, option: str, shown: object) -> bytes:
    """The key in what an option or a file holds; ``shown`` is what may be shown of it.

    Raises:
        BadOption: it is empty, or more than one line.
    """
    way_out = "Put the passphrase there as one line of UTF-8."
    if data.startswith(_UTF16):
        raise BadOption(option, shown, "is UTF-16", way_out)
    data = data[len(_BOM) :] if data.startswith(_BOM) else data
    data = data[:-1] if data.endswith(b"\n") else data
    data = data[:-1] if data.endswith(b"\r") else data
    if not data:
        raise BadOption(option, shown, "is empty", way_out)
    if b"\n" in data or b"\r" in data:
        raise BadOption(option, shown, "has more than one line: only the first would be the key", way_out)
    if b"\0" in data:
        raise BadOption(option, shown, "has a zero byte", way_out)
    return data
