# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery, or a clone, has written down: an annotation of its StatefulSet, changed only as it was read, so that of two runs one alone goes on.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import meta
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import (
    Conflict,
    KubernetesError,
    Missing,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.names import PREFIX, RECOVERY
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.lease import KIND, name_of_lease
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.place import HIDDEN
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.steps import KNOWN

ANNOTATION = RECOVERY
#: of a clone, so that it can be recovered as any other server once it stands
CLONE = f"{PREFIX}clone-run"
_AGAIN = 10  # looks at an object that others change meanwhile


@dataclass(frozen=True)
class Entry:
    """One recovery. ``id``: of its hidden directory; ``step``: the one that was begun last; ``digest``: of what was asked for; ``target``: that
    in words; ``hidden``: the directory in the volume that holds what it makes and keeps, from the mount on; ``user``, ``group``: whose the data
    is; ``policy``: the volume's, before; ``run``: which run has it; ``why``: of a way back."""

    id: str
    step: str
    digest: str
    target: str
    began: str
    run: str
    hidden: str = ""
    user: int = -1
    group: int = -1
    volume: str = ""
    policy: str = ""
    landed: str = ""  # where it came to, as JSON
    why: str = ""
    stood_at: str = ""  # of a way back: the step from which

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def parse(text: Optional[str], annotation: str = ANNOTATION) -> Optional[Entry]:
    """What an annotation says; None: there is none. Raises KubernetesError: it was changed by somebody."""
    if text is None:
        return None
    try:
        content: Any = json.loads(text)
        entry = Entry(**content)
        if entry.step not in KNOWN or not isinstance(entry.user, int):
            raise ValueError(entry.step)
        if entry.hidden and not re.fullmatch(rf"/.*/{re.escape(HIDDEN)}/{re.escape(entry.id)}", entry.hidden):
            raise ValueError(entry.hidden)  # what is removed in the end
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise KubernetesError(
            f"The annotation {annotation} says nothing that is known here ({exc}): somebody changed it, or a newer version of this collection wrote "
            "it. Nothing was done. What a recovery keeps lies in the volume, in .holdfast; run it with the version that began it."
        ) from exc
    return entry


def forget(stateful_set: str, annotation: str = ANNOTATION) -> str:
    """The commands after which nothing is known of a recovery any more."""
    return f"kubectl annotate statefulset {stateful_set} {annotation}- && kubectl delete lease {name_of_lease(stateful_set)}"


class Journal:
    """The annotation of one StatefulSet. Every write asks first whether it still says what this run wrote last. ``may_lack``: the StatefulSet is one
    that is made by the run.

    Of a recovery the Lease has it too, for the day on which the StatefulSet is deleted and applied anew (``helm upgrade --force``), and its annotations are
    gone while its volume is as it was. It never has one that the StatefulSet has not, but then.
    """

    def __init__(
        self, cluster: Cluster, stateful_set: str, annotation: str = ANNOTATION, may_lack: bool = False
    ) -> None:
        self._cluster, self._name, self._annotation, self._may_lack = cluster, stateful_set, annotation, may_lack
        self.entry: Optional[Entry] = None
        self.read()

    def read(self) -> Optional[Entry]:
        """What stands there now. Raises KubernetesError."""
        if self._may_lack and self._cluster.get("StatefulSet", self._name) is None:
            self.entry = None
        else:
            self.entry = self._of(self._object())
        return self.entry

    def _of(self, found: Manifest) -> Optional[Entry]:
        both = [found]
        if self._is_copied:
            both.append(self._cluster.get(KIND, name_of_lease(self._name)) or {})
        for one in both:
            text = (meta(one).get("annotations") or {}).get(self._annotation)
            if text is not None:
                return parse(text, self._annotation)
        return None

    @property
    def _is_copied(self) -> bool:
        """A clone whose StatefulSet is gone is none any more."""
        return self._annotation != CLONE

    def write(self, entry: Optional[Entry]) -> None:
        """Write it down; None: nothing is under way any more. Raises KubernetesError: another run has it."""
        for _attempt in range(_AGAIN):
            found = self._object()
            there = self._of(found)
            # Or what this very request has written, whose answer was lost on the way.
            known = {one.run if one else "" for one in (self.entry, entry)}
            if (there.run if there else "") not in known:
                raise KubernetesError(
                    f"Another run has taken the recovery of the StatefulSet {self._name} over (it stands at: {there.step if there else 'its end'}). "
                    "This one leaves it alone."
                )
            body = {
                "metadata": {
                    "resourceVersion": meta(found)["resourceVersion"],
                    "annotations": {self._annotation: entry.text() if entry else None},
                }
            }
            if entry is None:
                self._copy(None)
            try:
                self._cluster.patch("StatefulSet", self._name, body)
            except Conflict:
                continue
            if entry is not None:
                self._copy(entry.text())
            self.entry = entry
            return
        raise Conflict(f"The StatefulSet {self._name} is being changed by somebody all the time.")

    def note(self, **changes: Any) -> Entry:
        """Change some of it. Raises KubernetesError."""
        if self.entry is None:
            raise AssertionError("nothing is under way")
        made = replace(self.entry, **changes)
        self.write(made)
        return made

    def _copy(self, text: Optional[str]) -> None:
        if not self._is_copied:
            return
        with contextlib.suppress(Missing):  # somebody deleted it
            self._cluster.patch(
                KIND, name_of_lease(self._name), {"metadata": {"annotations": {self._annotation: text}}}
            )

    def _object(self) -> Any:
        found = self._cluster.get("StatefulSet", self._name)
        if found is None:
            raise Missing(f"The StatefulSet {self._name} was deleted meanwhile.")
        return found
