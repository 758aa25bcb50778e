# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the pod that playbooks run in."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  image:
    description:
      - The collection's own image, as the cluster pulls it. C(make image) of the collection's checkout builds one.
    type: str
  image_pull_policy:
    description: When the image is pulled. By default as Kubernetes decides by the image's tag.
    type: str
    choices: [Always, IfNotPresent, Never]
  image_pull_secrets:
    description: Secrets of the namespace with credentials for the image's registry.
    type: list
    elements: str
    default: []
  server_name:
    description:
      - The server's name in repositories. It becomes the host of the run's inventory, and C(holdfast_server_name), unless O(variables) has one.
    type: str
    default: main
  variables:
    description:
      - The variables of the run, such as C(holdfast_repository), C(holdfast_login_host) and C(holdfast_retention). They lie in a Secret, never in an
        environment or in arguments. A text with braces is itself, and no template in the pod.
      - C(holdfast_backup_lock_wait) is V(240) by default, as the lock of a pod that was killed stays for three minutes.
    type: dict
    default: {}
  variables_from:
    description:
      - Variables whose values are keys of Secrets that are in the namespace, such as the server's password. They are mounted, and read when the
        run begins, so that a password that was rotated there is known to the next run.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: Name of the variable.
        type: str
        required: true
      secret:
        description: Name of the Secret.
        type: str
        required: true
      key:
        description: The key in it.
        type: str
        required: true
  secrets:
    description:
      - Secrets that are mounted as directories of files, name to path, such as one with a SAS token that C(sas_token_file) of a repository reads.
    type: dict
    default: {}
  claims:
    description: PersistentVolumeClaims of the namespace that are mounted, name to path.
    type: dict
    default: {}
  nfs:
    description: Directories of NFS servers that are mounted.
    type: list
    elements: dict
    default: []
    suboptions:
      server:
        description: The NFS server.
        type: str
        required: true
      export:
        description: The directory that it exports.
        type: str
        required: true
      path:
        description: Where it is mounted.
        type: str
        required: true
  read_only:
    description:
      - Paths of O(claims) and O(nfs) at which nothing can be written, such as where others left their dumps.
      - O(fs_group) concerns these as well. Kubernetes gives the files of a claim that is C(ReadWriteOnce) to that group.
    type: list
    elements: str
    default: []
  resources:
    description: C(requests) and C(limits) of the container, as Kubernetes writes them.
    type: dict
    default: {}
  run_as_user:
    description: Numeric user id of the run. By default the image's, or on OpenShift one of the namespace's.
    type: int
  fs_group:
    description:
      - Numeric group id that the claims' directories get, so that the run can write there. V(-1) leaves it to the cluster, as OpenShift wants it.
    type: int
    default: 1000
"""
