# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a capture is in a repository: one list that kubectl takes as it is, the same bytes for the same objects (pure)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import bounded
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.kinds import Manifests

#: the engine's name, and its artifact's
ENGINE, OBJECTS = "kubernetes_objects", "objects.json"
# etcd takes 1.5 MiB for an object, and nested as deep as the API nests (x-kubernetes-preserve-unknown-fields has no bound of its own)
_DEEPEST = 100
# A digest must be no quick way to guess what is in a Secret: as many rounds as a signature has (pipeline/signature.py).
_ROUNDS = 1_000_000


def encode(objects: Manifests) -> bytes:
    """``kubectl apply -f`` reads it; each object keeps the order of its fields, so that it can be read by people too."""
    content = {"apiVersion": "v1", "kind": "List", "items": objects}
    return (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def decode(data: bytes) -> Manifests:
    """Raises ValueError: it is no such list."""
    content = bounded.loads(data, _DEEPEST)
    items = content.get("items") if isinstance(content, dict) else None
    if not isinstance(items, list) or not items:
        raise ValueError("it has no objects")
    for one in items:
        named = isinstance(one, dict) and isinstance(one.get("metadata"), dict) and one["metadata"].get("name")
        if not named or not all(isinstance(one.get(name), str) for name in ("apiVersion", "kind")):
            raise ValueError("it has something that is no object")
    return items


def digest(content: bytes) -> dict[str, str]:
    """Of a content, for the record: whoever has the same content can tell, and nobody else."""
    salt = secrets.token_hex(16)
    return {"salt": salt, "value": _value(content, salt)}


def is_of(mark: Any, content: bytes) -> bool:
    """Whether a digest is of this content."""
    if not isinstance(mark, Mapping) or not all(isinstance(mark.get(name), str) for name in ("salt", "value")):
        return False
    return hmac.compare_digest(_value(content, mark["salt"]), mark["value"])


def _value(content: bytes, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", hashlib.sha256(content).digest(), salt.encode(), _ROUNDS).hex()
