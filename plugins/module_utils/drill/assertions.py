# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users assert of the data: one statement, one value, compared with what is expected. Pure but for asking the scratch server."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.checks.server import Connect
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.times import format_exact, parse_time

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

_SHOWN = 100  # characters of a value that come into the evidence


def _number(value: Any) -> Optional[decimal.Decimal]:
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = decimal.Decimal(str(value).strip())
    except decimal.InvalidOperation:
        return None
    return found if found.is_finite() else None


def _moment(value: Any) -> Optional[datetime.datetime]:
    try:
        return parse_time(value.isoformat() if isinstance(value, datetime.datetime) else str(value), "expect")
    except BadOption:
        return None


def _same_kind(found: Any, expected: Any) -> Optional[tuple[Any, Any]]:
    """Both as what can be compared: numbers, moments, else texts."""
    for understand in (_number, _moment):
        pair = understand(found), understand(expected)
        if None not in pair:
            return pair
    return as_text(found), as_text(expected)


def _compared(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(found: Any, expected: Any) -> bool:
        pair = _same_kind(found, expected)
        return pair is not None and holds(*pair)

    return compare


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": _compared(lambda found, expected: bool(found == expected)),
    "!=": _compared(lambda found, expected: bool(found != expected)),
    "<": _compared(lambda found, expected: bool(found < expected)),
    "<=": _compared(lambda found, expected: bool(found <= expected)),
    ">": _compared(lambda found, expected: bool(found > expected)),
    ">=": _compared(lambda found, expected: bool(found >= expected)),
    "matches": lambda found, expected: re.search(str(expected), as_text(found)) is not None,
}


def as_text(value: Any) -> str:
    """A value as PostgreSQL and YAML would both write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value.isoformat() if isinstance(value, (datetime.datetime, datetime.date)) else str(value)
    return text.lower() if text in ("True", "False") else text


@dataclass(frozen=True)
class Assertion:
    """``sql`` gives one value, which is compared with ``expect`` by ``operator``. ``timeout``: seconds; ``role``: as whom it is asked, None: as
    a superuser."""

    name: str
    database: str
    sql: str
    expect: Any
    operator: str
    timeout: int
    role: Optional[str]

    @classmethod
    def from_option(cls, option: Mapping[str, Any], where: str) -> Assertion:
        """Raises BadOption."""
        operator, expect = option.get("operator") or "==", option.get("expect")
        if operator == "matches":
            try:
                re.compile(str(expect))
            except re.error as exc:
                raise BadOption(f"{where}.expect", expect, f"is no regular expression: {exc}", "Mend it.") from exc
        return cls(
            name=str(option["name"]),
            database=str(option["database"]),
            sql=str(option["sql"]),
            expect=True if expect is None else expect,
            operator=operator,
            timeout=parse_duration(option.get("timeout") or "1min", f"{where}.timeout"),
            role=option.get("role"),
        )

    @property
    def sha256(self) -> str:
        """Of the statement, which may have data in it and is in no evidence itself."""
        return hashlib.sha256(self.sql.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What came of one. ``detail``: why there was no value that could be compared."""

    assertion: Assertion
    ok: bool
    found: Any
    seconds: float
    detail: Optional[str] = None

    def describe(self) -> dict[str, Any]:
        """For the evidence."""
        return {
            "name": self.assertion.name,
            "database": self.assertion.database,
            "sql_sha256": self.assertion.sha256,
            "operator": self.assertion.operator,
            "expected": shown(self.assertion.expect),
            "found": None if self.found is None else shown(self.found, True),
            "ok": self.ok,
            "seconds": self.seconds,
            "detail": self.detail,
        }

    def sentence(self) -> str:
        """For people."""
        head = f"The assertion {self.assertion.name!r} on {self.assertion.database!r}"
        if self.detail:
            return f"{head} {self.detail}"
        verb = "holds" if self.ok else "does not hold"
        return f"{head} {verb}: found {shown(self.found, True)}, expected {self.assertion.operator} {shown(self.assertion.expect)}."


def shown(value: Any, of_data: bool = False) -> str:
    """A value in the evidence. A text ``of_data`` may be somebody's name, and is not told."""
    if of_data and isinstance(value, str) and _number(value) is None and _moment(value) is None:
        return f"a text of {len(value)} characters"
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return format_exact(value)
    text = as_text(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def ask(connect: Connect, assertion: Assertion) -> Answer:
    """Ask it, and compare. One that fails, gives nothing, gives several rows or columns, or does not end, is an assertion that did not hold."""
    answer = value_of(connect, assertion)
    if answer.detail is not None:
        return answer
    try:
        return replace(answer, ok=OPERATORS[assertion.operator](answer.found, assertion.expect))
    except TypeError as exc:
        return replace(answer, ok=False, detail=f"cannot be compared with what is expected: {exc}.")


def value_of(connect: Connect, assertion: Assertion) -> Answer:
    """The one value of its statement, not yet compared."""
    import psycopg2

    began = time.monotonic()

    def answer(ok: bool, found: Any = None, detail: Optional[str] = None) -> Answer:
        return Answer(assertion, ok, found, round(time.monotonic() - began, 3), detail)

    try:
        with connect(assertion.database) as connection:
            return _ask(connection, assertion, answer)
    except psycopg2.Error as exc:
        if exc.pgcode == "57014":
            return answer(False, detail=f"did not end within {assertion.timeout} seconds (timeout), and was cancelled.")
        # The server's own first line: what follows it may have data in it.
        told = (
            (exc.diag.message_primary or str(exc).strip().splitlines()[0]) if str(exc).strip() else type(exc).__name__
        )
        code = f" (SQLSTATE {exc.pgcode})" if exc.pgcode else ""
        return answer(False, detail=f"failed{code}: {told.rstrip('.')}.")


def _ask(connection: Connection, assertion: Assertion, answer: Callable[..., Answer]) -> Answer:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [str(assertion.timeout * 1000)])
        if assertion.role:
            cursor.execute("SELECT set_config('role', %s, false)", [assertion.role])
        cursor.execute(assertion.sql)
        if cursor.description is None:
            return answer(False, detail="gives no row: it is no query.")
        rows = cursor.fetchmany(2)
        if len(cursor.description) != 1:
            return answer(False, detail=f"gives {len(cursor.description)} columns: it has to give one value.")
        if not rows:
            return answer(False, detail="gives no row: it has to give one value.")
        if len(rows) > 1:
            return answer(False, detail="gives several rows: it has to give one value.")
    found = rows[0][0]
    if found is None:
        return answer(False, detail="gives NULL, which is nothing that could be compared.")
    return answer(True, found)
