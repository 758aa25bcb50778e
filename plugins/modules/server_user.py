#!/usr/bin/python
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_user
short_description: Find out which user of a host owns its PostgreSQL server
version_added: 0.1.0
description:
  - Root does packages, files and services; the owner of a server speaks to it, and owns what it reads. Says who that is, so that
    a play that runs as root does each by the right one. The roles of this collection ask it first.
  - The user is O(become_user) where it is given. Else, where the play runs as root and the server is on its host, it is the owner of
    the server's socket, of O(data_directory), of the server at that port, or of the servers that run, or the user C(postgres), the
    first of these that there is. Else it is the user that the play runs as.
author:
  - holdfast.postgres contributors (@holdfast)
extends_documentation_fragment:
  - holdfast.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  become_user:
    description: The user, where it is known.
    type: str
  login_host:
    description: Host of the server. One that is not local has no owner here.
    type: str
  login_unix_socket:
    description: Directory of the server's socket.
    type: str
  login_port:
    description: Port of the server, 5432 where none is given.
    type: int
  data_directory:
    description: Directory of the server's data.
    type: str
"""

EXAMPLES = r"""
- name: Find out who owns the server
  holdfast.postgres.server_user:
  register: server

- name: Speak to it
  holdfast.postgres.pg_backup:
    repository:
      path: /backups
  become: "{{ server.become }}"
  vars:
    ansible_become_user: "{{ server.user }}"
    ansible_become_method: "{{ server.method }}"
"""

RETURN = r"""
user:
  description: Its name.
  returned: success
  type: str
become:
  description: What become is to be, so that a task runs as this user.
  returned: success
  type: bool
root:
  description: Whether the play runs as root, and may do what root alone can.
  returned: success
  type: bool
method:
  description: How to become it. V(su) where the play runs as root and there is no sudo.
  returned: success
  type: str
group:
  description: The user's primary group.
  returned: success
  type: str
home:
  description: The user's home.
  returned: success
  type: str
service:
  description:
    - The unit of systemd by which the server at that port runs, as far as that can be told. On Debian C(postgresql) stands for all servers of
      a host, and C(postgresql@15-main) for one.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """The action plugin of this name does it all."""
    module = AnsibleModule(
        argument_spec={
            "become_user": {"type": "str"},
            "login_host": {"type": "str"},
            "login_unix_socket": {"type": "str"},
            "login_port": {"type": "int"},
            "data_directory": {"type": "str"},
        },
        supports_check_mode=True,
    )
    module.fail_json(
        msg="holdfast.postgres.server_user is done by its action plugin, and cannot be run as a module alone."
    )


if __name__ == "__main__":
    main()
