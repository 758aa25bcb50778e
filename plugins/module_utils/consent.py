# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be agreed to before a run destroys something: a run without it is refused, and a plan without it says what it would need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError


class Consent:
    """What a plan found to be missing. ``looking``: it is made to be looked at (check mode), so that nothing has to be agreed to yet."""

    def __init__(self, looking: bool = False) -> None:
        self.looking = looking
        #: options of the module, with the values that agree
        self.missing: dict[str, Any] = {}
        #: how a run would be refused, the first of all
        self.refusal: Optional[HoldfastError] = None

    def need(self, refusal: HoldfastError, **options: Any) -> None:
        """These options are missing: note them, or where this is no plan to look at, raise the refusal. Lists of one option add up."""
        if not self.looking:
            raise refusal
        self.refusal = self.refusal or refusal
        for name, value in options.items():
            before = self.missing.get(name)
            if isinstance(value, list) and isinstance(before, list):
                value = list(dict.fromkeys([*before, *value]))
            self.missing[name] = value

    def need_all(self, needs: Sequence[tuple[HoldfastError, Mapping[str, Any]]]) -> None:
        """Several things at once, as who is asked for one after the other gives up. The refusal is the first one's, and says all."""
        if needs and not self.looking:
            first = needs[0][0]
            first.args = (" Besides: ".join(str(refusal) for refusal, _options in needs),)
            raise first
        for refusal, options in needs:
            self.need(refusal, **options)

    def steps(self) -> list[str]:
        """The last line of a plan; none where nothing is missing."""
        if not self.missing:
            return []
        said = ", ".join(f"{name}: {_as_yaml(value)}" for name, value in self.missing.items())
        return [f"do all this only when it is agreed to: {said}"]


def _as_yaml(value: Any) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value).lower()
