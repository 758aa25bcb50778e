# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server's backups are by all rules, as a table and as alerts. Pure, but for ``look``."""

from __future__ import annotations

import datetime
import difflib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import named_repositories
from ansible_collections.holdfast.postgres.plugins.module_utils.status import metrics
from ansible_collections.holdfast.postgres.plugins.module_utils.status.alerts import CODES, LEVELS, Alert, level
from ansible_collections.holdfast.postgres.plugins.module_utils.status.measure import (
    has_repository,
    last_evidence,
    measure,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.status.overview import Overview, look as overview
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.standing import GOOD, UNKNOWN, Standing
from ansible_collections.holdfast.postgres.plugins.module_utils.status.rules.table import RULES, Limit, Rule
from ansible_collections.holdfast.postgres.plugins.module_utils.status.text import in_short
from ansible_collections.holdfast.postgres.plugins.module_utils.units import table

#: alerts of the overview that a rule says with its own limits
_SAID = {"overdue": "newest_backup", "no_backup": "newest_backup"}
_MARKS = {"ok": "ok", "warning": "WARNING", "critical": "CRITICAL"}


@dataclass(frozen=True)
class Row:
    """One line of the table: ``severity`` is ok, warning or critical."""

    rule: str
    title: str
    severity: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Asked:
    """What a user said of a rule: None where nothing."""

    enabled: bool
    severity: Optional[str]
    limits: Mapping[str, Any]


class Rules:
    """The rules with what the user's option says of them.

    Raises:
        BadOption: there is no such rule or limit, or it cannot be that.
    """

    def __init__(self, option: Mapping[str, Any]) -> None:
        self._asked: dict[str, Asked] = {}
        for name, said in option.items():
            if name not in RULES and name not in CODES and not str(name).startswith("wal_"):
                near = difflib.get_close_matches(str(name), [*RULES, *CODES], n=1)
                meant = f"Did you mean {near[0]}? " if near else ""
                raise BadOption(
                    "rules", name, "is no rule", f"{meant}There are: {', '.join([*RULES, *sorted(CODES)])}, and wal_…."
                )
            self._asked[name] = _asked(str(name), said)

    def enabled(self, name: str) -> bool:
        """Whether a rule is asked at all."""
        return name not in self._asked or self._asked[name].enabled

    def severity(self, name: str, otherwise: str) -> str:
        """How bad it is when a rule does not hold."""
        asked = self._asked.get(name)
        return asked.severity if asked and asked.severity else otherwise

    def limits(self, name: str) -> dict[str, Any]:
        """What a rule compares with."""
        asked = self._asked.get(name)
        own = asked.limits if asked else {}
        return {limit: own.get(limit, _default(name, limit, spec)) for limit, spec in RULES[name].limits.items()}


def _default(name: str, limit: str, spec: Limit) -> Any:
    return parse_duration(spec.default, f"rules.{name}.{limit}") if isinstance(spec.default, str) else spec.default


def _asked(name: str, said: Any) -> Asked:
    if isinstance(said, bool):
        return Asked(said, None, {})
    if not isinstance(said, Mapping):
        raise BadOption(
            "rules", said, f"is nothing that {name} can be", "Write false, or its limits and severity as a dictionary."
        )
    rest = dict(said)
    enabled, severity = rest.pop("enabled", True), rest.pop("severity", None)
    if severity is not None and severity not in LEVELS[1:]:
        raise BadOption(f"rules.{name}.severity", severity, "is no severity", f"Use {' or '.join(LEVELS[1:])}.")
    known = RULES[name].limits if name in RULES else {}
    unknown = sorted(set(rest) - set(known))
    if unknown:
        raise BadOption(
            f"rules.{name}", unknown[0], "is no limit of it", f"It has: {', '.join([*known, 'severity', 'enabled'])}."
        )
    limits = {limit: _limit(f"rules.{name}.{limit}", value, known[limit]) for limit, value in rest.items()}
    return Asked(str(enabled).lower() not in ("false", "no", "0"), severity, limits)


def _limit(option: str, value: Any, spec: Limit) -> Any:
    if spec.kind == "duration":
        return parse_duration(str(value), option)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 < number < 1e12:
        raise BadOption(option, value, "is no number above zero", "Write one, such as 2 or 0.5.")
    return number if spec.kind == "share" else int(number)


def judge(standing: Standing, alerts: Sequence[Alert], rules: Rules) -> list[Row]:
    """A row for each rule that had something to say, in their order; then what else is wrong."""
    rows = []
    for name, rule in RULES.items():
        row = _row(name, rule, standing, rules)
        if row is not None:
            rows.append(row)
    failed = standing.found.failures()
    for alert in alerts:
        known = alert.code == "damaged" and any(name in alert.text for name in failed)
        if not known and rules.enabled(alert.code) and alert.code not in _SAID:
            rows.append(_of_alert(alert, rules))
    return rows


def _row(name: str, rule: Rule, standing: Standing, rules: Rules) -> Optional[Row]:
    if not rules.enabled(name):
        return None
    seen = rule.look(standing, rules.limits(name))
    if seen is None:
        return None
    if seen.state == GOOD:
        return Row(name, rule.title, "ok", seen.text)
    worst = seen.severity or ("warning" if seen.state == UNKNOWN else rule.severity)
    return Row(name, rule.title, rules.severity(name, worst), seen.text, seen.remedy)


def _of_alert(alert: Alert, rules: Rules) -> Row:
    title = alert.code.replace("_", " ").capitalize()
    return Row(alert.code, title, rules.severity(alert.code, alert.severity), alert.text.rstrip("."), alert.remedy)


def of_rows(rows: Sequence[Row]) -> list[Alert]:
    """What is wrong, the worst first."""
    bad = [
        Alert(row.severity, row.rule, f"{row.title}: {row.text}.", row.remedy) for row in rows if row.severity != "ok"
    ]
    return sorted(bad, key=lambda alert: LEVELS.index(alert.severity), reverse=True)


def lines(server_name: str, rows: Sequence[Row]) -> list[str]:
    """A table, what is wrong first; then what to do."""
    alerts = of_rows(rows)
    order = sorted(rows, key=lambda row: LEVELS.index(row.severity), reverse=True)
    told = [f"{server_name}: {level(alerts)}, {in_short(alerts)}"]
    told += table([(_MARKS[row.severity], row.title, row.text) for row in order])
    told += [f"{row.title}: {row.remedy}" for row in order if row.severity != "ok" and row.remedy]
    return told


def look(
    params: Mapping[str, Any], every: Optional[int], space: str, now: datetime.datetime, version: str
) -> dict[str, Any]:
    """Look at everything that the options name, and judge it, for a module's result. ``version``: the collection's. Raises BadOption."""
    began = time.monotonic()
    dummy, standing, rows = see(params, every, space, now)
    alerts = of_rows(rows)
    worst = level(alerts)
    more = {}
    if params["metrics"]:
        tiers = [name for name, _options, _where in named_repositories(params)] if has_repository(params) else []
        run = metrics.Run(version, now, time.monotonic() - began, tiers)
        evidence = last_evidence(standing.found) if standing else None
        more = {"metrics": metrics.produce(params["server_name"], run, standing, alerts, evidence)}
    return {
        "status": worst,
        "summary": f"{params['server_name']}: {worst}, {in_short(alerts)}"
        + (f": {'; '.join(alert.text.rstrip('.') for alert in alerts[:3])}" if alerts else ""),
        "lines": lines(params["server_name"], rows),
        "alerts": [alert.describe() for alert in alerts],
        "rules": [vars(row) for row in rows],
        **more,
    }


def see(
    params: Mapping[str, Any], every: Optional[int], space: str, now: datetime.datetime
) -> tuple[Overview, Optional[Standing], list[Row]]:
    """The same, as what was seen, what of it rules look at (None: nothing could be read), and what each says. Raises BadOption."""
    rules = Rules(params["rules"])
    seen = overview(params, every, space, now)
    standing = _standing(params, seen)
    return seen, standing, _judged(seen, standing, rules)


def _standing(params: Mapping[str, Any], seen: Overview) -> Optional[Standing]:
    """What rules look at; None: nothing could be read."""
    if seen.found is None or seen.health is None:
        return None
    measured = measure(params, seen.found)
    return Standing(
        seen.found,
        seen.health,
        seen.now,
        seen.every,
        seen.archiver,
        measured.disks,
        measured.findings,
        measured.domains,
    )


def _judged(seen: Overview, standing: Optional[Standing], rules: Rules) -> list[Row]:
    if standing is None:
        return [_of_alert(alert, rules) for alert in seen.alerts if rules.enabled(alert.code)]
    return judge(standing, seen.alerts, rules)
