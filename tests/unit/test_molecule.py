# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of extensions/molecule. Kind: a scenario that is green because nothing ran: Molecule takes a play without hosts for a success, and a
sequence without its playbook for a warning. That they run is `make molecule`'s."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).resolve().parents[2] / "extensions/molecule"
SCENARIOS = sorted(path.parent.name for path in HERE.glob("*/molecule.yml"))
CONFIG = yaml.safe_load((HERE / "config.yml").read_text())


def test_the_hosts_are_those_of_the_inventory() -> None:
    (host,) = yaml.safe_load((HERE / "inventory.yml").read_text())["all"]["hosts"]
    assert any("inventory.yml" in one for one in CONFIG["ansible"]["executor"]["args"]["ansible_playbook"])
    for path in HERE.glob("*/*.yml"):
        plays = yaml.safe_load(path.read_text())
        if path.name != "molecule.yml":
            assert all(play.get("hosts", host) == host for play in plays), path


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_a_scenario_is_to_do_is_there(name: str) -> None:
    own = yaml.safe_load((HERE / name / "molecule.yml").read_text())
    sequence = {**CONFIG, **own}["scenario"]["test_sequence"]
    wanted = {step for step in sequence if step != "idempotence"}
    assert {path.stem for path in (HERE / name).glob("*.yml")} - {"molecule"} == wanted
    assert name == "default" or {"converge", "idempotence", "verify"} <= set(sequence)
