# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudNativePG in the lab: its own operator, its own objects, a server of it that is reached as applications reach it."""

from __future__ import annotations

import base64
from contextlib import closing

import psycopg2
import pytest
from lab.kubernetes.api import Namespace
from lab.kubernetes.cloudnative_pg import API, cluster, is_ready
from lab.waiting import wait_until


@pytest.mark.extended
@pytest.mark.usefixtures("cloudnative_pg")
def test_a_cluster_of_one_instance_takes_a_row(namespace: Namespace) -> None:
    """Ready by its own condition; reached by the Service and the Secret that the operator made; gone with its claim."""
    namespace.apply(cluster("shop"))
    try:
        made = namespace.wait(API, "Cluster", "shop", is_ready, 180)
        assert made["status"]["currentPrimary"] == "shop-1" and made["status"]["readyInstances"] == 1
        secret = {
            key: base64.b64decode(value).decode()
            for key, value in namespace.get("v1", "Secret", "shop-app")["data"].items()
        }
        address = namespace.get("v1", "Service", "shop-rw")["spec"]["clusterIP"]
        login = {"user": secret["username"], "password": secret["password"], "dbname": secret["dbname"]}
        with closing(psycopg2.connect(host=address, connect_timeout=10, **login)) as connection:
            with connection, connection.cursor() as cursor:
                cursor.execute("create table t as select 42 as n")
            with connection, connection.cursor() as cursor:
                cursor.execute("select n from t")
                assert cursor.fetchall() == [(42,)]
    finally:
        # Before the namespace: whose pods may take half an hour for their end, and are made anew while the Cluster is there.
        namespace.delete(API, "Cluster", "shop")
        wait_until(lambda: not namespace.list("v1", "Pod"), 60, 0.2)
    wait_until(lambda: not namespace.list("v1", "PersistentVolumeClaim"), 60, 0.2)
