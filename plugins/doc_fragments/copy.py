# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module that copies between two repositories."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.doc_fragments.repository import describe_store


class ModuleDocFragment:
    # Annotated: ansible-test's yamllint reads plain assignments, and this is put together.
    DOCUMENTATION: str = f"""
options:
  source:
    description: Where backups are copied from. It has the suboptions of C(repository) elsewhere.
    type: dict
    required: true
    suboptions:
{describe_store("source", 6)}  target:
    description: Where they are copied to.
    type: dict
    required: true
    suboptions:
{describe_store("target", 6)}"""
