# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: collection_archive
author:
  - holdfast.postgres contributors (@holdfast)
version_added: 0.1.0
short_description: This collection in one file, to put onto a host
description:
  - Packs what runs of this collection, as it is installed on the controller, into one file there, and returns its path. The same
    content gives the same bytes.
  - The role schedule uses it, so that a host runs what the controller does.
options:
  _terms:
    description: None.
    required: false
"""

EXAMPLES = r"""
- name: Put the collection onto the host
  ansible.builtin.copy:
    src: "{{ lookup('holdfast.postgres.collection_archive') }}"
    dest: /usr/local/lib/holdfast/collection.tar.gz
    mode: "0644"
"""

RETURN = r"""
_raw:
  description: The path of the file on the controller. It is gone when the play ends.
  type: list
  elements: str
"""

import gzip
import os
import tarfile
from pathlib import Path
from typing import Any, Optional

from ansible import constants
from ansible.plugins.lookup import LookupBase

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("meta", "playbooks", "plugins", "roles", "COPYING", "MANIFEST.json", "galaxy.yml")
BELOW = "ansible_collections/holdfast/postgres"


def pack(path: Path, root: Path = ROOT) -> None:
    """Write the file: names in order, without times and owners, so that only a change of the content changes it."""
    with (
        open(path, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for part in PARTS:
            for file in sorted([root / part] if (root / part).is_file() else (root / part).rglob("*")):
                if not file.is_file() or file.suffix == ".pyc":
                    continue
                entry = tarfile.TarInfo(f"{BELOW}/{file.relative_to(root)}")
                entry.size, entry.mode = file.stat().st_size, 0o644
                with open(file, "rb") as stream:
                    archive.addfile(entry, stream)


class LookupModule(LookupBase):  # type: ignore[misc]
    """collection_archive"""

    def run(self, terms: list[str], variables: Optional[dict[str, Any]] = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        # Ansible's own temporary directory of this run, which it removes
        path = Path(constants.DEFAULT_LOCAL_TMP) / f"holdfast-collection-{os.getpid()}.tar.gz"
        if not path.exists():
            pack(path)
        return [str(path)]
