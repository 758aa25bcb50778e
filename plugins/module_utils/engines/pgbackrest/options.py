# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of pgBackRest's configuration from our options. Pure.

Names: https://pgbackrest.org/configuration.html. pgBackRest reads ``pgbackrest.conf`` and what is in ``conf.d`` beside it, so
that secrets have a file of their own. By one ``--config-path`` it finds both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest.stores import (
    SECRETS,
    Settings,
    Version,
    store_settings,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngineOptions
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, ToolError
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.compression import Compression
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host
from ansible_collections.holdfast.postgres.plugins.module_utils.server.own_directories import LOGS, SPOOLS

OLDEST: Version = (2, 41)  # annotations, and repositories without number are gone
# The first version that knows a major version of PostgreSQL: https://pgbackrest.org/release.html
_KNOWS: Mapping[int, Version] = {15: (2, 41), 16: (2, 46), 17: (2, 53, 1), 18: (2, 55), 19: (2, 59)}
_TYPES = {"zstd": "zst", "gzip": "gz", "lz4": "lz4", "none": "none"}
# Half the time of pgBackRest's own level 3, and no larger: 69 against 123 ms, 5.6 against 5.8 MB a segment (rows of md5 sums).
_FAST = {"zstd": 1}
#: retention is decided by us: at its maximum pgBackRest expires nothing, and does not warn that it does not
NEVER = "9999999"
#: seconds that it waits for a byte; it tries four times
IO_TIMEOUT = 15
#: where acknowledgements of segments and locks are, and what runs in the background writes: the package's directories, for its user
SPOOL, LOG = "/var/spool/pgbackrest", "/var/log/pgbackrest"
#: our name of archive-push-queue-max, which says what it does
LOSES_WAL = "lose_wal_beyond"

# What other options of ours say, or what would make a backup that does not restore, or lose one.
_OURS = re.compile(
    r"stanza|config(-\w+)*|repo|repo\d*-(type|path|cipher-\w+|s3-(bucket|key|key-secret|token|endpoint|region|uri-style"
    r"|kms-key-id|sse-customer-key)|azure-\w+(-\w+)*|gcs-(bucket|endpoint)|storage-(port|ca-file|verify-tls|tag)|host(-\w+)*"
    r"|sftp-\w+(-\w+)*|local|target-time)|pg1?-(path|port|user|socket-path|host(-\w+)*)|compress(-type|-level)?"
    r"|log-level-(console|stderr)|log-timestamp|dry-run|set|type|target(-\w+)*|recovery-option|tablespace-map(-all)?|link-\w+|force"
)
_LOSING = re.compile(
    r"repo\d*-retention-(full|full-type|diff|archive-type)|expire-auto|archive(-push)?-queue-max|archive-(check|header-check|mode-check)"
    r"|exclude|online|db-(in|ex)clude|archive-mode|page-header-check"
)


@dataclass(frozen=True)
class Configuration:
    """What pgBackRest is told. ``main`` and ``secrets`` are texts of files; ``spool``, ``locks`` and ``logs`` directories that
    the owner must be able to write to; ``archive_kept`` the number of full backups for which a
    repository is to keep WAL without a gap, by its number, where the user said so; ``of_a_backup`` the arguments that a single
    backup is given, as what they say is its own affair."""

    main: str
    secrets: str
    spool: str
    locks: str
    logs: Optional[str]
    archive_kept: Mapping[int, int]
    of_a_backup: Sequence[str]


def check_version(version: Version, server_version_num: int) -> None:
    """Raises ToolError: the program is too old, altogether or for this server."""
    text = ".".join(map(str, version))
    major = server_version_num // 10000
    needed = max(OLDEST, _KNOWS.get(major, OLDEST))
    if version < needed:
        what = (
            f"pgBackRest {text} does not know PostgreSQL {major}"
            if needed > OLDEST
            else f"pgBackRest {text} is too old"
        )
        raise ToolError(
            f"{what}. Install version {'.'.join(map(str, needed))} or newer (packages of PostgreSQL's own repositories have it: "
            "https://apt.postgresql.org, https://yum.postgresql.org), or name another program by engine_program."
        )


def configuration(
    host: Host,
    options: RepositoryEngineOptions,
    stores: Sequence[Mapping[str, Any]],
    secret: Optional[str],
    version: Version,
    work: tuple[str, str],
) -> Configuration:
    """``stores`` are the options of repositories, made whole; ``secret`` the passphrase, wherever it came from; ``work`` the directories of
    the spool and the logs, unless an option says otherwise.

    Raises:
        BadOption: something that pgBackRest cannot do, each named.
    """
    name = options.server_name
    if name == "global":
        raise BadOption("server_name", name, "is a word of pgBackRest's", "Use another one.")
    if options.jobs < 1:
        raise BadOption("jobs", options.jobs, "is not a number of processes", "Use 1 or more.")
    extra, losing = _extra(options.extra)
    level = _FAST.get(options.compression) if options.level is None else options.level
    spool = extra.get("spool-path", work[0])
    found: dict[str, str] = {
        "compress-type": _TYPES[options.compression],
        **({} if level is None else {"compress-level": str(Compression(options.compression, level).level)}),
        "process-max": str(options.jobs),
        "archive-async": "y",
        "spool-path": spool,
        # In /tmp, where it is by default, anybody could be first.
        "lock-path": f"{spool}/lock",
        "log-path": work[1],
        "io-timeout": str(IO_TIMEOUT),
        # Else a backup waits for the next checkpoint, which may be minutes away.
        "start-fast": "y",
        "expire-auto": "n",
        **({"archive-push-queue-max": losing} if losing else {}),
    }
    repositories: Settings = []
    for number, store in enumerate(stores, 1):
        settings = [
            *store_settings(store, version),
            *_cipher(options.encryption or {}, secret),
            ("retention-full", NEVER),
        ]
        repositories += [(f"repo{number}-{setting}", value) for setting, value in settings]
    server = {"pg1-path": host.data_directory, "pg1-port": str(host.port), "pg1-user": host.user}
    if not host.host and host.socket_directory.startswith("/"):
        server["pg1-socket-path"] = host.socket_directory
    kept = {}
    for setting, value in extra.items():
        if re.fullmatch(r"repo\d+-retention-archive", setting):
            kept[int(setting[4:].partition("-")[0])] = _number(setting, value)
        elif re.match(r"pg\d+-", setting):
            server[setting] = value
        elif setting.startswith("repo"):
            repositories = [pair for pair in repositories if pair[0] != setting] + [(setting, value)]
        else:
            found[setting] = value
    secrets = [pair for pair in repositories if pair[0].partition("-")[2] in SECRETS]
    plain = [pair for pair in repositories if pair not in secrets]
    return Configuration(
        main=_text({"global": [*plain, *found.items()], name: list(server.items())}),
        secrets=_text({"global": secrets}),
        spool=found["spool-path"],
        locks=found["lock-path"],
        logs=None if found.get("log-level-file") == "off" else found["log-path"],
        archive_kept=kept,
        of_a_backup=tuple(
            f"--{name}={found[name]}" for name in ("compress-type", "compress-level", "process-max") if name in found
        ),
    )


def work_directories(config_dir: str, owner: str, usable: Callable[[str], bool]) -> tuple[str, str]:
    """Where its spool and its logs are by default: beside a configuration of one's own; for the system's the package's, where they are
    ``usable`` for the owner, else the owner's own, as a host has several owners."""
    if not config_dir.startswith("/etc/"):
        return os.path.join(config_dir, "pgbackrest", "spool"), os.path.join(config_dir, "pgbackrest", "log")
    spool, logs = (os.path.join(directory, owner, "pgbackrest") for directory in (SPOOLS, LOGS))
    return SPOOL if usable(SPOOL) else spool, LOG if usable(LOG) else logs


def config_path(config_dir: str, server_name: str) -> str:
    """The directory of a server's configuration."""
    return os.path.join(config_dir, "pgbackrest", server_name)


def _extra(given: Mapping[str, str]) -> tuple[dict[str, str], Optional[str]]:
    """The user's own settings, and the size beyond which WAL may be lost."""
    extra = dict(given)
    losing = extra.pop(LOSES_WAL, None)
    for name in extra:
        option = f"engine_options.{name}"
        if re.fullmatch("archive(-push)?-queue-max", name):
            raise BadOption(
                option, extra[name], "makes pgBackRest drop WAL and report that it was archived",
                f"If you would rather lose backups than have the server stop, say so: {LOSES_WAL}: {extra[name]}.",
            )  # fmt: skip
        if _LOSING.fullmatch(name):
            raise BadOption(
                option, extra[name], "can leave backups that do not restore, or delete some that should stay",
                "Leave it out; which backups stay is the option retention's to say.",
            )  # fmt: skip
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
            raise BadOption(option, extra[name], "is no name of an option of pgBackRest", "Write it as backup-standby.")
        if _OURS.fullmatch(name):
            raise BadOption(
                option, extra[name], "is what other options say", "Leave it out, and use those of the module."
            )
    return extra, losing


def _cipher(encryption: Mapping[str, Any], secret: Optional[str]) -> Settings:
    method = encryption.get("method") or "none"
    if method == "none":
        return []
    if method != "aes256":
        raise BadOption(
            "encryption.method", method, "is nothing that pgBackRest can do: it encrypts by a passphrase (AES-256)",
            "Use aes256, or the engine wal_g.",
        )  # fmt: skip
    if not secret:
        raise BadOption(
            "encryption.passphrase", None, "is missing", "Give encryption.passphrase or encryption.passphrase_file."
        )
    return [("cipher-type", "aes-256-cbc"), ("cipher-pass", secret)]


def seconds(name: str, value: str) -> float:
    """What an engine option says. Raises BadOption."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) or not float(value):
        raise BadOption(f"engine_options.{name}", value, "is not a number of seconds", "Write it like 15.")
    return float(value)


def _number(name: str, value: str) -> int:
    if not re.fullmatch("[1-9][0-9]*", value):
        raise BadOption(f"engine_options.{name}", value, "is not a number above zero", "Write it like 15.")
    return int(value)


def _text(sections: Mapping[str, Settings]) -> str:
    lines = ["# Written by holdfast.postgres: changes by hand are overwritten."]
    for name, settings in sections.items():
        lines += ["", f"[{name}]"]
        for setting, value in settings:
            hidden = setting.partition("-")[2] in SECRETS
            if not value or value != value.strip() or not value.isprintable():
                raise BadOption(
                    "encryption.passphrase" if setting.endswith("cipher-pass") else setting, "(hidden)" if hidden else value,
                    "cannot be written into pgBackRest's configuration: it is empty, has a line break or another control "
                    "character, or a blank at its ends", "Use another one.",
                )  # fmt: skip
            lines.append(f"{setting}={value}")
    return "\n".join(lines) + "\n"
