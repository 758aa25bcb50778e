# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples with stores of README.md and docs/stores.md, as they are written, against real servers.

A reader has an inventory, a vars.yml with what is secret or his own, and the files that the examples name. So has this test;
that the stores are elsewhere, libraries hear from their own environment variables.
"""

from __future__ import annotations

import ast
import datetime
import getpass
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.module_utils.argspec import STORE
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lab.playbooks import CHECKOUT, collections_path
from lab.servers import Server, clean_environment
from lab.stores import REGION, AzureServer, GcsServer, S3Server

README, STORES = CHECKOUT / "README.md", CHECKOUT / "docs/stores.md"
TROUBLESHOOTING = CHECKOUT / "docs/troubleshooting.md"
ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page, in order; of the README those about stores."""
    text = page.read_text(encoding="utf-8")
    if page == README:
        text = text[text.index("\n## Into an object store\n") : text.index("\n## To any moment\n")]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def files(page: Path) -> dict[str, str]:
    """What a page wants in files, by the names in their first lines."""
    found = {}
    for block in blocks(page, "yaml"):
        name = re.match(r"# ([a-z0-9-]+\.yml)\b", block)
        assert name, f"{page.name} has an example without a file name:\n{block}"
        found[name[1]] = block
    return found


def commands(page: Path) -> list[str]:
    """The blocks of a page that run playbooks."""
    return [block for block in blocks(page, "text") if "ansible-playbook" in block]


class Desk:
    """A reader's working directory, which is his home too."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        controller = Path(sys.executable).parent
        self._environment = {
            **{name: value for name, value in clean_environment().items() if not name.startswith(("ANSIBLE_", "AWS_"))},
            "PATH": f"{controller}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
            **environment,
        }
        (home / "inventory").write_text(f"[all]\nlocalhost {self.here()}\n")
        for page in (README, STORES):
            for name, text in files(page).items():
                (home / name).write_text(text, encoding="utf-8")

    @staticmethod
    def here() -> str:
        """Whoever runs the tests made the files that the examples name; a server's owner may not read them."""
        python = f"ansible_python_interpreter={sys.executable}"
        return f"ansible_connection=local {python} holdfast_become_user={getpass.getuser()}"

    def run(self, lines: str, **environment: str) -> str:
        """Lines as they would be pasted. Returns what they said."""
        done = subprocess.run(
            ["bash", "-e", "-c", lines],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.home,
            env={**self._environment, **environment},
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{lines}\n{done.stdout}"
        return done.stdout


class Tokens(BaseHTTPRequestHandler):
    """Gives every service account a token, as Google's server does."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "lab", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def shop(server_factory: Any) -> Server:
    server: Server = server_factory(16)
    server.psql("CREATE DATABASE shop;")
    server.psql("CREATE TABLE items AS SELECT n, 'item ' || n AS name FROM generate_series(1, 1000) n;", "shop")
    return server


@pytest.fixture(scope="module")
def desk(
    s3: S3Server, azure: AzureServer, gcs: GcsServer, shop: Server, tmp_path_factory: pytest.TempPathFactory
) -> Desk:
    home = tmp_path_factory.mktemp("desk")
    (home / "backups").mkdir()
    for bucket in ("acme-backups", "acme-cnpg", "acme-offsite"):
        s3.make_bucket(bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.make_bucket("backups")
    azure.make_container("postgres")
    gcs.make_bucket("acme-backups")
    key, secret = s3.user(ALLOWED)
    variables = {
        **{f"holdfast_{name}": value for name, value in shop.login().items()},
        "holdfast_bin_dir": str(shop.bindir),
        "vault_access_key": key,
        "vault_secret_key": secret,
        "vault_connection_string": azure.connection_string,
        "vault_account_key": azure.account_key,
        "storage_account": azure.account,
        "store_url": s3.endpoint_url,
    }
    (home / "vars.yml").write_text(json.dumps(variables))
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text(
        f"[backups]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\nregion = eu-central-1\n"
    )
    stores = {
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_CA_BUNDLE": str(s3.ca_file),
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "REQUESTS_CA_BUNDLE": str(azure.ca_file),  # the library for Azure reads this one
        "STORAGE_EMULATOR_HOST": gcs.endpoint_url,
    }
    return Desk(home, stores)


def manifests(keys: Sequence[str], prefix: str) -> int:
    """How many backups lie below a prefix."""
    return sum(key.startswith(f"{prefix}localhost/") and key.endswith("/manifest.json") for key in keys)


def in_s3(server: S3Server, bucket: str) -> list[str]:
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def in_azure(server: AzureServer, container: str) -> list[str]:
    return [blob.name for blob in server.client().get_container_client(container).list_blobs()]


def in_google(server: GcsServer, bucket: str) -> list[str]:
    return [blob.name for blob in server.client().list_blobs(bucket)]


def on_disk(desk: Desk) -> list[str]:
    root = desk.home / "backups"
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]


def test_the_examples_of_the_readme(desk: Desk, s3: S3Server, azure: AzureServer, gcs: GcsServer, shop: Server) -> None:
    first, tiers, rest = commands(README)
    desk.run(first)
    assert manifests(in_s3(s3, "acme-backups"), "postgres/") == 1
    # "Any of them goes behind vars.yml"
    backup = first.splitlines()[-1]
    assert "-e @s3.yml" in backup
    for name in ("ceph", "azure", "gcs"):
        desk.run(backup.replace("@s3.yml", f"@{name}.yml"))
    assert manifests(in_s3(s3, "backups"), "") == 1
    assert manifests(in_azure(azure, "postgres"), "") == 1
    assert manifests(in_google(gcs, "acme-backups"), "") == 1

    desk.run(tiers)
    assert manifests(on_disk(desk), "") == 1
    assert manifests(in_azure(azure, "postgres"), "nightly/") == 1
    assert shop.query("SELECT count(*), sum(n) FROM items", "shop_yesterday") == [(1000, 500500)]

    wals = [f"wals/0000000100000000/{number:024X}.gz" for number in range(20)]
    for wal in wals:
        s3.client().put_object(Bucket="acme-cnpg", Key=f"postgres-v17/{wal}", Body=wal.encode())
    desk.run(rest)
    assert in_s3(s3, "acme-cnpg") == [f"postgres-v17-backup/{wal}" for wal in wals]
    token = desk.home / ".azure_sas"
    assert token.stat().st_mode & 0o777 == 0o600
    reader = azure.client(token.read_text().strip()).get_container_client("postgres")
    assert manifests([blob.name for blob in reader.list_blobs()], "nightly/") == 1


@pytest.mark.extended
def test_the_examples_of_stores(desk: Desk, s3: S3Server, azure: AzureServer) -> None:
    made, tiers, copied = commands(STORES)
    desk.run(made)
    assert manifests(in_s3(s3, "acme-locked"), "postgres/") == 1
    policy = json.loads((desk.home / "policy.json").read_text())
    assert "arn:aws:s3:::acme-locked/postgres/*" in policy["Statement"][2]["Resource"]
    desk.run(tiers)
    assert manifests(in_s3(s3, "acme-backups"), "near/") == 1
    assert manifests(in_azure(azure, "postgres"), "elsewhere/") == 1
    desk.run(copied)
    assert manifests(in_s3(s3, "acme-offsite"), "copies/") == 1


def test_every_way_to_authenticate(desk: Desk, s3: S3Server, azure: AzureServer, gcs: GcsServer) -> None:
    """Each of these files is the variables of a host, and one play checks them all: it writes, reads and deletes."""
    ways = [name for name in files(STORES) if re.match(r"(s3|azure|gcs)-", name)]
    assert len(ways) > 5
    role = _role(s3)
    with HTTPServer(("127.0.0.1", 0), Tokens) as tokens:
        threading.Thread(target=tokens.serve_forever, daemon=True).start()
        _service_account(desk.home / "gcs-key.json", f"http://127.0.0.1:{tokens.server_port}/token")
        (desk.home / ".azure_sas").write_text(azure.sas("postgres", "rwdlc", _next_year()))
        (desk.home / ".azure_sas").chmod(0o600)
        # Where the vendor's own endpoint is meant, it is said beside the example that it is elsewhere.
        elsewhere = {"azure": azure.endpoint_url, "gcs-hmac": s3.endpoint_url}
        hosts = []
        for name in ways:
            host = name.removesuffix(".yml")
            hosts.append(f"{host} {desk.here()}")
            mine = desk.home / "host_vars" / host
            mine.mkdir(parents=True)
            (mine / "1-example.yml").write_text((desk.home / name).read_text())
            url = elsewhere.get(host) or elsewhere.get(host.partition("-")[0])
            (mine / "2-lab.yml").write_text(json.dumps({"holdfast_repository": {"endpoint_url": url}} if url else {}))
        (desk.home / "stores").write_text("[all]\n" + "\n".join(hosts) + "\n")
        check = f"ansible-playbook -i stores holdfast.postgres.check -v -e @vars.yml -e backup_role_arn={role}"
        said = desk.run(check, ANSIBLE_HASH_BEHAVIOUR="merge", ANSIBLE_FORKS="4")
        tokens.shutdown()
    assert said.count("it comes back as it was written") == len(ways)


def _next_year() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=365)


def _role(s3: S3Server) -> str:
    key, secret = s3.user(ALLOWED)
    iam = boto3.session.Session().client(
        "iam",
        endpoint_url=s3.endpoint_url,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=str(s3.ca_file),
    )
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
    made = iam.create_role(RoleName="backup", AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName="backup", PolicyName="lab", PolicyDocument=json.dumps(ALLOWED))
    arn: str = made["Role"]["Arn"]
    return arn


def _service_account(path: Path, token_uri: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {"type": "service_account", "project_id": "lab", "private_key": pem, "token_uri": token_uri}
    path.write_text(json.dumps({**account, "client_email": "backup@lab.example", "private_key_id": "1"}))


# What the pages say of the product, held against the product


def _said(tree: ast.AST) -> list[str]:
    """Every text in a program, with an ellipsis for what is put into it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
            found.append("".join(parts))
    return found


def _programs(folder: str = "plugins") -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((CHECKOUT / folder).rglob("*.py"))]


def _quoted(page: Path, after: str) -> list[str]:
    """What the first cells of a page's tables quote."""
    text = page.read_text(encoding="utf-8")
    cells = re.findall(r"^\| (.*?) \|", text[text.index(after) :], re.MULTILINE)
    return [words for cell in cells for words in re.findall(r"`([^`]+)`", cell)]


def _matches(words: str, text: str) -> bool:
    return re.search(".*".join(re.escape(part.strip()) for part in words.split("…")), text, re.DOTALL) is not None


@pytest.mark.parametrize(
    ("page", "after"),
    [(TROUBLESHOOTING, "## Stores"), (STORES, "## What the preflight says")],
    ids=["errors", "findings"],
)
def test_what_a_page_quotes_is_what_the_product_prints(page: Path, after: str) -> None:
    said = [text for program in _programs() for text in _said(program)]
    quoted = _quoted(page, after)
    assert len(quoted) > 20
    assert [words for words in quoted if not any(_matches(words, text) for text in said)] == []


def test_every_finding_and_every_code_has_its_place() -> None:
    findings, codes = _quoted(STORES, "## What the preflight says"), _quoted(TROUBLESHOOTING, "## Stores")
    for program in _programs("plugins/module_utils/repositories"):
        for node in ast.walk(program):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                level, words = node.args
                if isinstance(level, ast.Constant) and level.value != "fine" and not isinstance(words, ast.Name):
                    said = _said(words)
                    assert any(_matches(quote, text) for text in said for quote in findings), said
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_ADVICE":
                assert set(ast.literal_eval(node.value)) <= set(codes)


def test_repositories_in_examples_have_only_options_that_exist() -> None:
    pages = [yaml.safe_load(text) for page in (README, STORES) for text in files(page).values()]
    examples = [task for program in _programs() for task in _examples(program)]
    found = [store for part in (*pages, *examples) for store in _stores(part)]
    assert len(found) > 30
    known = {*STORE, "name", "retention"}
    assert [store for store in found if not set(store) <= known] == []


def _examples(program: ast.Module) -> list[Any]:
    for node in program.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            tasks: list[Any] = yaml.safe_load(ast.literal_eval(node.value))
            return tasks
    return []


def _stores(part: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in an example that describes a repository."""
    for key, value in part.items() if isinstance(part, dict) else ():
        name = key.removeprefix("holdfast_").removeprefix("copy_").removeprefix("rotate_credentials_")
        if name == "repositories":
            yield from value
        elif name in ("repository", "target", "source") and isinstance(value, dict):
            yield value
        else:
            yield from _stores(value)
