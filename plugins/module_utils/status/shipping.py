# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the shipping of WAL from this host, as sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

#: seconds for which a finished segment may wait to be shipped
LATE = 900


class Behind(NamedTuple):
    """Something that is wrong: ``code`` names the rule; ``text`` and ``remedy`` are for people."""

    code: str
    text: str
    remedy: str = ""


def behind_of(shipping: Optional[Mapping[str, Any]]) -> list[Behind]:
    """``shipping`` is what archiving/ship_state.py tells; None: nothing is shipped from here."""
    if shipping is None:
        return []
    found = []
    if shipping["problem"]:
        text = f"How far the WAL of {shipping['directory']} is shipped is not known: {shipping['problem']}"
        found.append(Behind("no_answer", text))
    for store in shipping["stores"]:
        if store["error"]:
            text = f"WAL is not shipped to {store['name']}: {store['error']}"
            found.append(
                Behind("shipping_fails", text, f"{store['waiting']} segments wait in {shipping['directory']}.")
            )
        elif store["waiting"] and store["seconds"] > LATE:
            text = f"{store['waiting']} segments wait to be shipped to {store['name']}, the oldest for {round(store['seconds'])} seconds."
            found.append(
                Behind("shipping_late", text, "Does its service run (holdfast-ship)? Or run the playbook ship.")
            )
    return found
