# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last line of every play: what a run did, in words and figures, out of its module's result. Pure.

What a result does not have is left out; what is not known is said to be so, and never taken for good.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.described import (
    encryption,
    source_size,
    stored_size,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import KINDS
from ansible_collections.holdfast.postgres.plugins.module_utils.units import (
    ago,
    count,
    listing,
    rate,
    size,
    took,
    when,
)

Result = Mapping[str, Any]
MOST = 3  # sentences of a kind


def said(result: Result, job: str, check: bool = False, now: Optional[datetime.datetime] = None) -> str:
    """What a role says in the end. ``job``: the role's name; ``check``: it ran in check mode."""
    if result.get("skipped"):
        return _SKIPPED.get(job, "Nothing was done.")
    if result.get("failed"):
        return str(result.get("msg", "It failed."))
    plan = list(result.get("plan") or [])
    if (check or result.get("check_mode")) and job not in _READS:
        return f"Check mode, nothing was done. It would: {_steps(plan)}" if plan else "Nothing to do."
    return _JOBS[job](result, now or datetime.datetime.now(datetime.timezone.utc))


def _backup(result: Result, now: datetime.datetime) -> str:
    record = result.get("backup")
    if not record:
        return "There is no backup."
    tiers = [tier["name"] for tier in result.get("tiers") or [] if tier.get("backup")]
    stored, source, seconds = stored_size(record), source_size(record), result.get("elapsed")
    kind = f"{record.get('kind')} " if record.get("kind") in KINDS else ""
    what = f"{kind}backup {record['id']}"
    if not result.get("changed"):
        head = f"Nothing to do: the {what} is of {ago(record.get('stopped_at'), now)}"
    else:
        head = f"{what[0].upper()}{what[1:]}"
        if record.get("databases"):
            head += f" of {count(len(record['databases']), 'database')}"
    parts = [head]
    if source is not None:
        parts.append(f"{size(source)} on the server")
    parts.append(f"{size(stored)} stored" if stored is not None else "stored size unknown")
    if result.get("changed") and seconds:
        parts.append(took(seconds) + (f" ({rate(source, seconds)})" if source else ""))
    if len(tiers) > 1 or tiers and tiers != ["the repository"]:
        parts.append(f"in {listing(tiers)}")
    parts.append(encryption(record))
    parts.append("verified" if record.get("verified_at") else "not verified")
    sentences = [", ".join(parts) + "."]
    if result.get("pruned"):
        sentences.append(f"Deleted {count(len(result['pruned']), 'older backup')}.")
    return " ".join([*sentences, *_proof(result)])


def _restore(result: Result, _now: datetime.datetime) -> str:
    done, known = result.get("restored") or [], result.get("unchanged") or []
    if not done:
        if known:
            return f"Nothing to do: {listing(known)} {'is' if len(known) == 1 else 'are'} restored already, and unchanged since."
        return _steps(result["plan"]) if result.get("plan") else "Nothing to do."
    names = [entry["database"] for entry in done]
    sources = list(dict.fromkeys(entry["from"] for entry in done if entry.get("from")))
    parts = [f"Restored {listing(names)}" + (f" from {listing(sources)}" if sources else "")]
    source, seconds = source_size(result.get("backup") or {}), result.get("elapsed")
    whole = len(names) == len((result.get("backup") or {}).get("databases") or [])
    if source is not None and whole:
        parts.append(f"{size(source)} when it was backed up")
    if seconds:
        parts.append(took(seconds) + (f" ({rate(source, seconds)})" if source and whole else ""))
    if result.get("backup"):
        parts.append(encryption(result["backup"]))
    kept = [entry["old_database"] for entry in done if entry.get("old_database")]
    sentences = [", ".join(parts) + "."]
    if known:
        sentences.append(f"Unchanged since they were restored: {listing(known)}.")
    if kept:
        sentences.append(f"What was there is kept as {listing(kept)}.")
    return " ".join([*sentences, *_proof(result)])


def _recover(result: Result, now: datetime.datetime) -> str:
    landed = result.get("recovery") or {}
    if not result.get("changed"):
        return "Nothing to do: the server was recovered so already, and nothing was written since."
    record = result.get("backup") or {}
    parts = [f"Recovered from the backup {_known(landed.get('backup') or record.get('id'))}"]
    if landed.get("lsn"):
        parts[0] += f" to {landed['lsn']} on timeline {_known(landed.get('timeline'))}"
    committed = landed.get("commit_time")
    parts.append(f"the last transaction is of {when(committed, now)}" if committed else "no transaction was replayed")
    stored, seconds = stored_size(record), result.get("elapsed")
    if stored:
        parts.append(f"{size(stored)} read")
    if seconds:
        parts.append(took(seconds) + (f" ({rate(stored, seconds)})" if stored else ""))
    if record:
        parts.append(encryption(record))
    sentences = [", ".join(parts) + "."]
    if landed.get("kept"):
        sentences.append(f"What was there is in {listing(landed['kept'])}.")
    if landed.get("isolated"):
        sentences.append(
            f"{count(len(landed['isolated']), 'setting keeps', 'settings keep')} it to itself (recovery.isolated)."
        )
    return " ".join([*sentences, *_proof(result), *(landed.get("next_steps") or [])])


def _drill(result: Result, _now: datetime.datetime) -> str:
    found = result.get("evidence")
    if not found:
        return "Nothing to do: a drill that passed is recent enough."
    backup, measured = found.get("backup") or {}, found.get("measured") or {}
    parts = [f"Drill of the backup {_known(backup.get('id'))} out of {_known(backup.get('tier'))}: {found['verdict']}"]
    rto, rpo = measured.get("rto_seconds"), measured.get("rpo_seconds")
    parts.append(f"back and written to within {took(rto)} (RTO)" if rto is not None else "RTO not measured")
    parts += [f"{took(rpo)} would have been lost (RPO)"] if rpo is not None else []
    rows = [*found.get("checks", []), *found.get("assertions", [])]
    held = sum(1 for row in rows if row["ok"])
    parts.append(f"{held} of {count(len(rows), 'check')} held")
    return " ".join(
        [", ".join(parts) + ".", *found.get("reasons", []), f"The evidence is {result.get('evidence_at')}."]
    )


def _copy(result: Result, _now: datetime.datetime) -> str:
    names = result.get("copied") or []
    if not result.get("changed"):
        return "Nothing to do: all is there."
    keys = result.get("objects", 0)
    what = f"Copied {count(len(names), 'backup')}" if names and result.get("what") != "prefix" else "Copied"
    parts = [f"{what}, {count(keys, 'object')}, {size(result.get('size', 0))}"]
    if result.get("elapsed"):
        parts.append(f"{took(result['elapsed'])} ({rate(result.get('size', 0), result['elapsed'])})")
    if result.get("copied_by_store"):
        parts.append(f"{result['copied_by_store']} of them by the store itself")
    return ", ".join(parts) + ". All of it was verified in the target."


def _capture(result: Result, now: datetime.datetime) -> str:
    """Of objects in Kubernetes: captured, deleted, or made again."""
    found = result.get("objects")
    record = result.get("backup") or {}
    if found is None:
        if not record:
            return _joined("Done:", result["plan"]) if result.get("plan") else "Nothing to do."
        kept = count(len((record.get("consistency") or {}).get("objects") or ()), "object")
        if not result.get("changed"):
            return f"Nothing to do: {record['id']} has {kept}, of {ago(record.get('stopped_at'), now)}."
        head = f"{record['id']} has {kept}, {encryption(record)}."
        left = [_joined("Left out:", result["left_out"])] if result.get("left_out") else []
        return " ".join([head, *left, *_proof(result)])
    states = [str(one.get("state")) for one in found]
    told = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return " ".join([f"{record.get('id')}: {count(len(found), 'object')}, {listing(told)}.", *_proof(result)])


def _prune(result: Result, _now: datetime.datetime) -> str:
    gone, decisions = result.get("pruned") or [], result.get("retention") or []
    stays = sum(1 for decision in decisions if decision.get("keep"))
    rest = f" {count(stays, 'backup stays', 'backups stay')}." if decisions else ""
    if not gone:
        return f"Nothing to delete.{rest}"
    names = [str(entry.get("id", entry)) if isinstance(entry, Mapping) else str(entry) for entry in gone]
    return f"Deleted {count(len(gone), 'backup')}: {listing(names)}.{rest}"


def _monitor(result: Result, _now: datetime.datetime) -> str:
    path, changed = result.get("path") or "The file", result.get("changed")
    if not result.get("written"):
        return f"{path} is gone." if changed else "There is no file of this server."
    return f"{path} is written, and says {'something else than before' if changed else 'the same as before'}."


def _verify(result: Result, _now: datetime.datetime) -> str:
    good, left = result.get("verified") or [], result.get("left") or []
    fresh = result.get("fresh") or 0
    later = f" {count(len(left), 'backup')} left for the next run." if left else ""
    if not good:
        return f"Nothing to do: {count(fresh, 'backup is', 'backups are')} proven already.{later}"
    levels = listing(sorted({str(entry.get("level")) for entry in good}))
    seconds, read = result.get("elapsed"), result.get("bytes") or 0
    parts = [f"{count(len(good), 'backup')} good by {levels}", f"{size(read)} read"]
    if seconds:
        parts.append(f"{took(seconds)} ({rate(read, seconds)})" if read else took(seconds))
    cleared = [str(entry["id"]) for entry in good if entry.get("cleared")]
    again = f" Good again: {listing(cleared)}." if cleared else ""
    known = f" {count(fresh, 'other was', 'others were')} proven before." if fresh else ""
    return " ".join([f"{', '.join(parts)}.{again}{known}{later}", *_proof(result)])


def _check(result: Result, _now: datetime.datetime) -> str:
    lines = []
    for entry in result.get("repositories") or []:
        wrong = [*(f"error: {text}" for text in entry.get("errors") or []), *entry.get("warnings", [])]
        head = f"{_upper(str(entry.get('repository')))}: {count(len(entry.get('fine') or []), 'thing')} fine"
        lines.append(_joined(f"{head}, {count(len(wrong), 'doubt')}:" if wrong else head, wrong))
    return " ".join(lines) or "No repository was looked at."


def _archive(result: Result, _now: datetime.datetime) -> str:
    into = f" into {result['archive']}" if result.get("archive") else ""
    head = (
        f"{result.get('engine', 'WAL')} archives{into}."
        if result.get("archive_command") or result.get("receiver")
        else ""
    )
    if not result.get("changed"):
        head = f"Nothing to do: {head}" if head else "Nothing to do."
    sentences = [head or _joined("Done:", result.get("plan") or [])]
    if result.get("waiting"):
        sentences.append(f"{listing(result['waiting'])} take effect with the server's next restart.")
    return " ".join(sentences)


def _canary(result: Result, _now: datetime.datetime) -> str:
    """What a segment that was seen to arrive proves."""
    seen = result.get("canary") or {}
    if not seen:
        return _SKIPPED["canary"]
    text = f"A segment arrived within {took(seen['seconds'])}"
    if seen.get("backup"):
        return f"{text}; a recovery up to it begins with the backup {seen['backup']}."
    return f"{text}. No recovery leads to it: {seen.get('unreachable') or 'there is no backup of the whole server yet'}"


def _audit(result: Result, _now: datetime.datetime) -> str:
    findings = result.get("findings")
    if findings is None:
        return _SKIPPED["audit"]
    wrong = [f"{entry['level']}: {entry['text']}" for entry in findings if entry["level"] != "fine"]
    fine = [entry["text"] for entry in findings if entry["level"] == "fine"]
    head = f"{count(result.get('looked_at', 0), 'name')} read."
    removed = result.get("removed_count")
    return " ".join(filter(None, [head, _joined("", wrong or fine), f"{removed} removed." if removed else ""]))


def _standby(result: Result, _now: datetime.datetime) -> str:
    found = result.get("standby") or {}
    if "method" not in found:
        lag, seconds = found.get("lag_bytes"), found.get("lag_seconds")
        behind = "how far behind is not known" if lag is None else f"{size(lag)} behind"
        late = "how old that is is not known" if seconds is None else took(seconds)
        return " ".join([f"It follows on timeline {_known(found.get('timeline'))}, {behind}, {late}.", *_proof(result)])
    how = {
        "follow": "it only had to follow",
        "rewind": "made by pg_rewind",
        "copy": "made by a copy of the primary",
        "backup": "made from a backup",
    }.get(str(found["method"]), str(found["method"]))
    first = f"It follows ({_known(found.get('state'))}), " + (how if result.get("changed") else "as it did") + "."
    kept = [f"What was there is in {listing(found['kept'])}."] if found.get("kept") else []
    more = ["A setting takes effect only with a restart."] if found.get("restart_required") else []
    return " ".join([first, *kept, *more, *_proof(result)])


def _promote(result: Result, _now: datetime.datetime) -> str:
    found = result.get("standby") or {}
    was = "" if result.get("changed") else "Nothing to do: "
    seconds = f", {took(result['elapsed'])}" if result.get("changed") and result.get("elapsed") else ""
    return " ".join(
        [
            f"{was}{'A' if not was else 'a'} primary, on timeline {_known(found.get('timeline'))}{seconds}.",
            *_proof(result),
        ]
    )


def _restore_point(result: Result, _now: datetime.datetime) -> str:
    point = result.get("restore_point") or {}
    return f"The restore point {_known(point.get('name'))} is at {_known(point.get('lsn'))}, in the segment {_known(point.get('segment'))}."


def _rotate_credentials(result: Result, now: datetime.datetime) -> str:
    until = f"Valid until {when(result.get('expires_at'), now)}."
    if not result.get("changed"):
        return f"Nothing to do. {until}"
    text = f"{_joined('Done:', result.get('plan') or [])} {until}"
    if result.get("former_path"):
        text += f" The former one is in {result['former_path']} and stays valid until {when(result.get('former_expires_at'), now)}."
    return text


def _passphrase(result: Result, _now: datetime.datetime) -> str:
    if not result.get("changed"):
        return "Nothing to do: the passphrase is there, and not due."
    former = result.get("former_path")
    before = f" The backups so far need the former one, which is in {former}." if former else ""
    return (
        f"The new passphrase is {result.get('passphrase', 'in its file')} (printed this once). Keep a copy elsewhere: without it no backup that "
        f"it encrypted can be restored.{before}"
    )


def _ship(result: Result, _now: datetime.datetime) -> str:
    stores = result.get("stores") or []
    if not result.get("changed"):
        head = "Nothing to do: each store has what is finished."
    else:
        head = f"Shipped {count(result.get('shipped') or 0, 'file')}, and {count(result.get('removed') or 0, 'file')} left the directory."
    last = [f"{store['name']} has {store['last_segment']}" for store in stores if store.get("last_segment")]
    return f"{head} The newest segment: {listing(last)}." if last else head


def _of_run(result: Result, _now: datetime.datetime) -> str:
    """What the run in the cluster said as it ended."""
    return str((result.get("run") or {}).get("line") or "Nothing was run.")


def _kubernetes_restore(result: Result, now: datetime.datetime) -> str:
    if result.get("run"):
        return _of_run(result, now)
    if not result.get("changed"):
        return "Nothing to do: it is restored so already."
    return " ".join(
        [_upper(_steps(result.get("plan") or ["it is restored"])), *_proof(result), *(result.get("next_steps") or [])]
    )


def _runbook(result: Result, _now: datetime.datetime) -> str:
    run = result.get("run")
    if not run:
        return "No runbook was run."
    head = f"{_known(run.get('scenario'))}, {_known(run.get('mode'))} ({_known(run.get('id'))}): "
    notes = list(run.get("notes") or [])
    if run.get("outcome") == "rolled_back":
        kept = " ".join(["Nothing of production had been replaced. What was kept of it stays.", *notes])
        return f"{head}taken back. {kept}"
    measured, wanted = run.get("measured") or {}, run.get("objectives") or {}
    parts = [
        f"{name.upper()} {took(measured[key])}" + (f" of {took(wanted[key])}" if wanted.get(key) else "")
        if measured.get(key) is not None
        else f"{name.upper()} not measured"
        for name, key in (("rto", "rto_seconds"), ("rpo", "rpo_seconds"))
    ]
    return " ".join([f"{head}{_known(run.get('verdict'))}, {', '.join(parts)}.", *notes])


_JOBS: dict[str, Callable[[Result, datetime.datetime], str]] = {
    "archive": _archive,
    "audit": _audit,
    "backup": _backup,
    "canary": _canary,
    "capture": _capture,
    "check": _check,
    "copy": _copy,
    "drill": _drill,
    "kubernetes_backup": _of_run,
    "kubernetes_restore": _kubernetes_restore,
    "monitor": _monitor,
    "promote": _promote,
    "prune": _prune,
    "recover": _recover,
    "restore": _restore,
    "restore_point": _restore_point,
    "rotate_credentials": _rotate_credentials,
    "rotate_passphrase": _passphrase,
    "runbook": _runbook,
    "ship": _ship,
    "standby": _standby,
    "verify": _verify,
}
_SKIPPED = {
    "canary": "That segments arrive was not looked at.",
    "audit": "The archive is its engine's, and was not read here.",
    "ship": "The service was looked after, and ships what comes.",
}
_READS = {"audit", "canary", "check"}  # in check mode they do the same


def _proof(result: Result) -> list[str]:
    proof = result.get("proof") or {}
    kinds = (("proven", "Proven:"), ("unproven", "Not proven:"), ("lost", "Lost:"))
    return [_joined(head, proof[kind]) for kind, head in kinds if proof.get(kind)]


def _joined(head: str, sentences: Sequence[str]) -> str:
    """A head and the first sentences, each with its end; and how many more there are."""
    shown = [text if text.endswith((".", "!", "?")) else f"{text}." for text in map(str, sentences[:MOST])]
    more = [f"And {len(sentences) - MOST} more."] if len(sentences) > MOST else []
    if head and not shown:
        return f"{head.rstrip(':')}."
    return " ".join(filter(None, [head, *shown, *more]))


def _steps(plan: Sequence[Any]) -> str:
    """All of a plan."""
    return "; ".join(str(step).rstrip(".") for step in plan) + "."


def _known(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
