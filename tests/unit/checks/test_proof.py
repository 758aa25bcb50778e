# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is missing after a landing ends the run: a check that only wrote it down would let the run say ok."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.checks.proof import Proof
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError


def test_what_is_missing_is_an_error() -> None:
    proof = Proof(proven=["One can connect."])
    proof.add(Proof(missing=["The table a is not there.", "The view b is empty."]))
    with pytest.raises(ServerError, match=r"^It is not used\. The table a is not there\. The view b is empty\.$"):
        proof.require("It is not used.")
    with pytest.raises(ServerError, match=r"^The table a"):
        proof.require()


def test_what_is_lost_or_unproven_is_none() -> None:
    Proof(proven=["One can connect."], unproven=["Rows were not counted."], lost=["A slot."]).require()
