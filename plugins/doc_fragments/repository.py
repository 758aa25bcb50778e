# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that looks into a repository."""

from __future__ import annotations

# What describes a store, for every option that does. OPTION stands for that option's name.
STORE = """
type:
  description:
    - Kind of the store. V(s3) is Amazon S3 and all that speaks its language.
  type: str
  choices: [file, s3, azure, gcs]
  default: file
path:
  description:
    - An existing directory on the host where the module runs, such as a local disk, or an NFS or volume mount (V(file)).
    - It is never created by this module, as a directory that is missing most often is a mount that is.
  type: path
bucket:
  description: The bucket (V(s3), V(gcs)).
  type: str
container:
  description: The container (V(azure)).
  type: str
account:
  description: The storage account (V(azure)).
  type: str
prefix:
  description: What the keys of all objects begin with; a slash is put behind it. Other prefixes of the bucket stay untouched.
  type: str
  default: ''
endpoint_url:
  description: Where the store is, when it is not the vendor's own.
  type: str
region:
  description: Region of the bucket (V(s3), V(gcs)). By default the profile's or the environment's.
  type: str
access_key:
  description:
    - Access key (V(s3)). Without one the environment, the profile, a web identity (EKS IRSA) and the instance's role are asked.
  type: str
secret_key:
  description: Secret key (V(s3)).
  type: str
session_token:
  description: Session token of temporary keys (V(s3)).
  type: str
profile:
  description: Profile of C(~/.aws) of the user that runs the module (V(s3)).
  type: str
role_arn:
  description: Role to assume (V(s3)); its credentials are renewed while the module runs.
  type: str
external_id:
  description: External id that the role asks for (V(s3)).
  type: str
sts_endpoint_url:
  description: Where the role is assumed, when it is not AWS (V(s3)).
  type: str
addressing_style:
  description: Whether the bucket is named in the path or in the host (V(s3)).
  type: str
  choices: [auto, path, virtual]
  default: auto
sse:
  description: Encryption by the store (V(s3)).
  type: str
  choices: [AES256, 'aws:kms']
sse_kms_key_id:
  description: Key for O(OPTION.sse=aws:kms).
  type: str
sse_customer_key:
  description: Key of your own for the store to encrypt with (SSE-C), 32 bytes in base64 (V(s3)). Without it nothing can be read.
  type: str
object_lock:
  description: Lock the objects of a backup against deletion (V(s3), in a bucket that has object lock).
  type: str
  choices: [governance, compliance]
object_lock_for:
  description: How long they are locked, such as V(30d). Retention that wants to delete one earlier reports it, and it stays.
  type: str
tags:
  description: Tags of every object (V(s3), V(azure)).
  type: dict
request_checksum_calculation:
  description:
    - When boto3 sends checksums of its own (V(s3)). Older S3-compatible stores refuse them, and want V(when_required); then
      the signature over each part's sha256 protects it.
  type: str
  choices: [when_supported, when_required]
account_key:
  description: Key of the storage account (V(azure)).
  type: str
connection_string:
  description: Connection string (V(azure)).
  type: str
sas_token:
  description: SAS token of the container (V(azure)), with the permissions rwdlc.
  type: str
sas_token_file:
  description: File of mode 0600 with the SAS token (V(azure)); M(holdfast.postgres.azure_sas) keeps it fresh.
  type: path
client_id:
  description:
    - Client id of a managed identity (V(azure)). Without key, token and connection string an identity is asked for, by the
      package azure-identity.
  type: str
credentials:
  description:
    - Secrets by the names that the keys of Kubernetes secrets usually have, such as C(AWS_ACCESS_KEY_ID), C(ACCESS_SECRET_KEY),
      C(AZURE_STORAGE_KEY), C(AZURE_CONNECTION_STRING).
  type: dict
credentials_file:
  description: A service account's key file (V(gcs)). Without it the workload identity is asked.
  type: path
project:
  description: Project (V(gcs)).
  type: str
storage_class:
  description:
    - Storage class or access tier of the objects of a backup, by the store's own word (STANDARD_IA, Cool, NEARLINE).
  type: str
ca_file:
  description: File of the CA that signed the store's certificate.
  type: path
validate_certs:
  description: Whether the store's certificate is checked. Keep it so.
  type: bool
  default: true
bandwidth_limit:
  description: Bytes per second at most, up or down, all parts together.
  type: int
part_size:
  description:
    - Bytes of a part. The module's memory is bounded by it times O(OPTION.concurrency) + 2, for each object being written or
      read.
    - Of an object of more than 1000 parts, each further 1000 parts are larger by this.
  type: int
  default: 16777216
concurrency:
  description: Parts that go up or down at the same time.
  type: int
  default: 4
"""


def _indent(text: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{line}\n" if line else "\n" for line in text.strip().splitlines())


def describe_store(option: str, spaces: int) -> str:
    """The suboptions of an option that describes a store (``name``, or ``name[]`` where it is a list of them)."""
    return _indent(STORE.replace("OPTION", option), spaces)


_SERVER_NAME = """  server_name:
    description: The server's name in the repository, which is the folder that its backups lie in.
    type: str
    default: main
"""

_POLICY = """
keep_last:
  description: So many of the newest.
  type: int
keep_within:
  description: All that are younger than this, such as V(30d).
  type: str
keep_daily:
  description: The newest of each of so many days that have one.
  type: int
keep_weekly:
  description: The newest of each of so many weeks that have one.
  type: int
keep_monthly:
  description: The newest of each of so many months that have one.
  type: int
keep_yearly:
  description: The newest of each of so many years that have one.
  type: int
min_keep:
  description: Never fewer verified backups than this.
  type: int
  default: 1
pins:
  description: Ids of backups that always stay.
  type: list
  elements: str
  default: []
count:
  description: No more than so many.
  type: int
max_age:
  description: None older than this, such as V(30d).
  type: str
"""


class ModuleDocFragment:
    # Annotated: ansible-test's yamllint reads plain assignments, and these are put together.
    DOCUMENTATION: str = f"""
options:
  repository:
    description: Where backups are kept.
    type: dict
    required: true
    suboptions:
{describe_store("repository", 6)}{_SERVER_NAME}"""

    STORE: str = f"""
options:
  repository:
    description: The repository. Its bucket or container is meant.
    type: dict
    required: true
    suboptions:
{describe_store("repository", 6)}"""

    RECORD: str = f"""
options:
  repository:
    description:
      - Where the run's record is read, as it is reached from here. Without it the result has what the pod said alone.
    type: dict
    suboptions:
{describe_store("repository", 6)}"""

    SEVERAL: str = f"""
options:
  repository:
    description: Where backups are kept. Either this or O(repositories).
    type: dict
    suboptions:
{describe_store("repository", 6)}  repositories:
    description:
      - Several repositories (tiers) that get the backup, such as a local directory and a store elsewhere. The server is read once.
      - When one fails, the others get their backup, and the run fails at its end, saying which has what. The next run copies
        to the one that failed what the others have, if O(holdfast.postgres.pg_backup#module:max_age) finds that fresh
        enough.
    type: list
    elements: dict
    suboptions:
      name:
        description: The tier's name in messages. By default its type and number.
        type: str
      retention:
        description:
          - Which backups stay in this tier. By default as O(holdfast.postgres.pg_backup#module:retention) says, whose suboptions
            are the same.
        type: dict
        suboptions:
{_indent(_POLICY, 10)}{describe_store("repositories[]", 6)}{_SERVER_NAME}"""

    ENCRYPTION = r"""
options:
  encryption:
    description:
      - How artifacts are encrypted. It is done by C(gpg), so stock C(gpg) decrypts.
      - For a restore, what was encrypted is known from the manifest, and only the secret is needed.
    type: dict
    suboptions:
      method:
        description:
          - V(aes256) encrypts with a passphrase, V(pgp) to the public keys of O(encryption.recipients).
        type: str
        choices: [none, aes256, pgp]
        default: none
      passphrase:
        description: The passphrase, of V(aes256), or of the secret key when a V(pgp) backup is restored.
        type: str
      passphrase_file:
        description: File of mode 0600 whose first line is the passphrase.
        type: path
      recipients:
        description: Key ids of the keyring, or paths of public-key files (what has a slash is a path).
        type: list
        elements: str
        default: []
      gpg_home:
        description: C(GNUPGHOME) of the keyring. By default the user's.
        type: path
"""

    RETENTION: str = f"""
options:
  retention:
    description:
      - Which backups stay. A backup stays when any C(keep_*) rule wants it. Only verified backups satisfy a rule.
      - Or the rule of the common guides, O(retention.count) and O(retention.max_age), by which a backup goes when either
        is exceeded. The two kinds cannot be mixed.
      - The rules hold for each scope (engine, way of encryption, databases, selections) by itself, as only backups of one scope can
        stand in for each other. M(holdfast.postgres.pg_backup) prunes those of its own scope, M(holdfast.postgres.backup_prune) all.
      - Pinned backups and those that another one needs always stay, as do those that are from the future, taken while a
        clock was wrong.
      - Rules of the calendar (C(keep_daily) to C(keep_yearly)) come with a C(keep_within) of V(48h), unless it is given, as otherwise
        tonight's backup would displace this morning's, and with it what was dropped in between.
      - A backup that is less than half as large as the one of its kind before it never displaces that one in the run that made it.
      - Before anything is deleted, all that stays is looked at. What lacks an artifact, or has one of another size, displaces nothing.
      - A C(keep_*) of 0 is the same as none.
      - Without any rule everything stays. Days, weeks (ISO) and months are those of UTC. A change of summer
        time costs no night, as what is 20 hours or more older than the next newer one stays with its day.
    type: dict
    suboptions:
{_indent(_POLICY, 6)}"""
