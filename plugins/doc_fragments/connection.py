# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that connects to a server."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description: Host of the server. Without it libpq decides, by a service or the environment; else it is the local socket.
    type: str
  login_unix_socket:
    description: Directory of the server's Unix socket, instead of O(login_host).
    type: str
  login_port:
    description: Port of the server. Without it libpq decides, by a service or the environment; else it is 5432.
    type: int
  login_user:
    description: Role to connect as. By default the name of the operating system's user, as libpq does.
    type: str
  login_password:
    description:
      - Password of the role. Without it libpq looks into C(PGPASSFILE) and C(~/.pgpass).
      - It is handed to the client programs in a file of mode 0600, never in an argument list.
    type: str
  login_db:
    description: Database to connect to for what concerns the whole server.
    type: str
    default: postgres
  ssl_mode:
    description: How TLS is used and verified. See C(sslmode) of libpq, which decides without it (V(prefer), where nothing else is set).
    type: str
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: File with the certificate authorities that may have signed the server's certificate.
    type: path
    aliases: [ssl_rootcert]
  ssl_cert:
    description: File with the client's certificate.
    type: path
  ssl_key:
    description: File with the client's key.
    type: path
  connect_params:
    description: Any other parameters of libpq, such as V(service), or V(connect_timeout) (10 seconds unless given here).
    type: dict
    default: {}
  bin_dir:
    description:
      - Directory of PostgreSQL's client programs.
      - By default the usual directories and C(PATH) are searched for the server's own major version, else for the next newer one.
    type: path
requirements:
  - psycopg2 2.8 or newer (package C(python3-psycopg2), or C(psycopg2-binary) from PyPI), where the module runs
  - PostgreSQL's client programs, not older than the server, where the module runs
"""
