#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_ship
short_description: Bring WAL from a directory into stores
version_added: 0.1.0
description:
  - Takes the finished segments of the write-ahead log, and the histories of timelines, from the directory that C(pg_receivewal) or a server's
    C(archive_command) fills (M(holdfast.postgres.wal_archive)), and brings them into every other repository, as
    C(SERVER_NAME/_wal/NAME.zst.gpg). So the engine V(pg_basebackup) has WAL in any store.
  - Nothing is ever written over other content, each file is read back, and a store gets them in their order. A segment leaves the directory
    when all stores have it and O(keep) newer ones are there. Where the directory is that of a repository itself, nothing leaves; what no
    backup needs is removed by M(holdfast.postgres.wal_audit), there and in stores.
  - A run may be killed at any step; the next one goes on. A store that is away keeps the WAL in the directory.
  - Runs on the host of the directory, as its owner or root. It does not connect to the server.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
  - holdfast.postgres.attributes.actiongroup
  - holdfast.postgres.repository.several
  - holdfast.postgres.repository.encryption
  - holdfast.postgres.run.lock
  - holdfast.postgres.run.progress
attributes:
  action_group:
    support: full
    membership:
      - holdfast.postgres.repository
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  wal_directory:
    description:
      - The directory in which C(SERVER_NAME/_wal) has the WAL, as M(holdfast.postgres.wal_archive) was given it.
      - By default the one of O(repositories) that is of type V(file).
    type: path
  keep:
    description:
      - How many of the newest segments stay in the directory, at least one, as C(pg_receivewal) goes on behind it. More of them make a
        recovery of the last minutes quicker by hand.
      - Where the directory's disk has no room for two more segments, only one stays.
    type: int
    default: 16
  jobs:
    description: How many files are packed and read back at the same time.
    type: int
    default: 4
  compression:
    description: How a segment is compressed that is not yet. One that is goes as it is.
    type: str
    choices: [zstd, gzip, lz4, none]
    default: zstd
  compression_level:
    description: Level of the compression. By default one that a store is not waited for.
    type: int
  accept_new_server:
    description:
      - The WAL in the stores is another server's (by its system identifier), and that is right, since this server replaces it.
    type: bool
    default: false
  follow:
    description:
      - Go on until told to stop, as a service does; the role P(holdfast.postgres.ship#role) installs one. A store that is away is waited
        for. What no waiting mends, such as other content under a segment's name, ends it with an error.
    type: bool
    default: false
  store_wait:
    description:
      - With O(follow), how long a store that is away is waited for, such as V(5min). Then the run ends with an error that says why, for
        whoever runs it to see, and to begin it anew. By default for ever, and M(holdfast.postgres.backup_facts) on its host tells of it.
    type: str
seealso:
  - module: holdfast.postgres.wal_archive
  - module: holdfast.postgres.wal_audit
  - module: holdfast.postgres.pg_recover
"""

EXAMPLES = r"""
- name: Bring what a receiver has got into a bucket, encrypted
  holdfast.postgres.wal_ship:
    wal_directory: /var/lib/postgresql/wal
    server_name: shop
    repository:
      type: s3
      bucket: backups
      region: eu-central-1
    encryption:
      method: aes256
      passphrase_file: /etc/holdfast/passphrase

- name: Have a second copy of an archive in a store
  holdfast.postgres.wal_ship:
    repositories:
      - {name: disk, type: file, path: /backups}
      - {name: far, type: gcs, bucket: backups}
"""

RETURN = r"""
plan:
  description: What was, or in check mode would be, done.
  returned: always
  type: list
  elements: str
shipped:
  description: How many files came into a store.
  returned: success
  type: int
removed:
  description: How many left the directory.
  returned: success
  type: int
stores:
  description:
    - Each store with its C(name) and C(repository), how many files were C(sent) to it, the C(last_segment) that it has, and the C(error) by
      which it failed.
  returned: always
  type: list
  elements: dict
elapsed:
  description: Seconds that the module took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_options import (
    await_directory,
    open_shipper,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.archiving.ship_result import describe
from ansible_collections.holdfast.postgres.plugins.module_utils.durations import parse_duration
from ansible_collections.holdfast.postgres.plugins.module_utils.module import execute
from ansible_collections.holdfast.postgres.plugins.module_utils.pipeline.encryption import Encryption
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.stopping import remains
from ansible_collections.holdfast.postgres.plugins.module_utils.workspace import workspace


def work(module: AnsibleModule, warnings: list[str]) -> dict[str, Any]:
    """Ship."""
    params = module.params
    patience = parse_duration(params["store_wait"], "store_wait") if params["store_wait"] else None
    progress = Progress(None if module.check_mode else params["progress_file"])
    with workspace() as space:
        encryption = Encryption(params["encryption"], space)
        try:
            if params["follow"] and not module.check_mode:
                await_directory(params, progress)
            directory, shipper, stores = open_shipper(params, encryption, space, progress)
            if module.check_mode:
                done = shipper.plan()
            else:
                left = "What is in the stores is whole, and nothing left the directory that one lacks: the next run goes on."
                with (
                    directory.lock(params["lock_wait"]),
                    remains(left, changed=lambda: any(store.sent for store in stores)),
                ):
                    if params["follow"]:
                        shipper.follow(patience)
                    done = shipper.once()
        finally:
            encryption.close()
            progress.finish()
    warnings.extend(done.warnings)
    result = describe(done, stores)
    if module._diff:
        result["diff"] = {"prepared": "".join(f"+ {step}\n" for step in done.plan)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argspec.REPOSITORIES,
            **argspec.ENCRYPTION,
            **argspec.LOCK,
            **argspec.PROGRESS,
            "wal_directory": {"type": "path"},
            "keep": {"type": "int", "default": 16},
            "jobs": {"type": "int", "default": 4},
            "compression": {"type": "str", "choices": ["zstd", "gzip", "lz4", "none"], "default": "zstd"},
            "compression_level": {"type": "int"},
            "accept_new_server": {"type": "bool", "default": False},
            "follow": {"type": "bool", "default": False},
            "store_wait": {"type": "str"},
        },
        required_one_of=[("repository", "repositories")],
        mutually_exclusive=[("repository", "repositories")],
        supports_check_mode=True,
    )
    execute(module, work, psycopg2=False)


if __name__ == "__main__":
    main()
