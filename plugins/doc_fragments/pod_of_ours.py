# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option ``pod``: the pods of ours that work on a server's data, in a module's own words for what they do there."""

from __future__ import annotations

_IMAGE = r"""
      image:
        description: The collection's own image, as the cluster pulls it.
        type: str
        required: true
      image_pull_policy:
        description: When the image is pulled. By default as Kubernetes decides by the image's tag.
        type: str
        choices: [Always, IfNotPresent, Never]
      image_pull_secrets:
        description: Secrets of the namespace with credentials for the image's registry.
        type: list
        elements: str
        default: []
"""
_WHAT_IT_RUNS = r"""
      variables:
        description: More variables of the playbook C(recover), such as C(holdfast_encryption). They lie in a Secret.
        type: dict
        default: {}
      variables_from:
        description: Variables whose values are keys of Secrets that are in the namespace.
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
        description: Secrets that are mounted as directories of files, name to path.
        type: dict
        default: {}
      claims:
        description: Claims that are mounted besides the server's own, name to path, such as one with the repository.
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
        description: Paths of O(pod.claims) and O(pod.nfs) at which nothing can be written.
        type: list
        elements: str
        default: []
      resources:
        description: C(requests) and C(limits) of the container that lays the backup out.
        type: dict
        default: {}
"""


# Annotated, as ansible-test's yamllint cannot read what is put together, and looks at plain assignments alone.
class ModuleDocFragment:
    LAYING_OUT: str = (
        r"""
options:
  pod:
    description: The pods of ours, by the options of M(holdfast.postgres.k8s_job). They run as whoever owns the data.
    type: dict
    required: true
    suboptions:
"""
        + _IMAGE
        + _WHAT_IT_RUNS
    )

    CLONING: str = (
        r"""
options:
  pod:
    description: The pods of ours, by the options of M(holdfast.postgres.k8s_job).
    type: dict
    required: true
    suboptions:
"""
        + _IMAGE
        + _WHAT_IT_RUNS
        + r"""
      run_as_user:
        description: Number of the user that PostgreSQL runs as. Needed where the server's pod starts as root and does not say it.
        type: int
      fs_group:
        description: Numeric group of the new volume's top, where the server's pod does not say it, so that the user can write there. V(-1) leaves it alone.
        type: int
"""
    )

    EXCHANGING: str = (
        r"""
options:
  pod:
    description: The pods of ours that look, and exchange the data.
    type: dict
    required: true
    suboptions:
"""
        + _IMAGE
        + r"""
      run_as_user:
        description: Number of the user that PostgreSQL runs as. Needed where the data is lost, and the pod starts as root.
        type: int
"""
    )
