# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One key of a Secret, such as a token that is replaced in time: pods that mount it find the new value when they next start."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes import names
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.client import Cluster
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.errors import KubernetesError


@dataclass(frozen=True)
class SecretKey:
    """A key of a Secret, and where what was there before is kept."""

    cluster: Cluster
    secret: str
    key: str

    def __str__(self) -> str:
        return f"the key {self.key} of the Secret {self.secret}"

    @property
    def former(self) -> str:
        """The key of the value before."""
        return f"{self.key}.former"

    def read(self) -> Optional[str]:
        """Its value; None where there is no such Secret, or key. Raises KubernetesError."""
        found = self.cluster.get("Secret", self.secret)
        value = ((found or {}).get("data") or {}).get(self.key)
        if value is None:
            return None
        try:
            return base64.b64decode(value, validate=True).decode("ascii").strip()
        except (binascii.Error, ValueError) as exc:
            raise KubernetesError(
                f"{self} in the namespace {self.cluster.namespace} is no text. It was left as it is."
            ) from exc

    def write(self, value: str, dry_run: bool = False) -> None:
        """Put a value there, and the one that was there beside it; other keys stay. Raises KubernetesError."""
        there = self.cluster.get("Secret", self.secret)
        data = {self.key: _encoded(value)}
        if there is None:
            metadata = {"name": self.secret, "namespace": self.cluster.namespace, "labels": dict(names.MANAGED_BY)}
            made = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
            self.cluster.create(made, dry_run=dry_run)
            return
        before = (there.get("data") or {}).get(self.key)
        if before is not None:
            data[self.former] = before
        # Only what was read is replaced: somebody else may have put a newer one there.
        version = {"resourceVersion": there["metadata"].get("resourceVersion")}
        self.cluster.patch("Secret", self.secret, {"metadata": version, "data": data}, dry_run=dry_run)


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
