"""Databases are backed up, learners' keys for as short a time as they must be, and certificates are watched."""

from __future__ import annotations

import re
from itertools import pairwise

from tests.deploy.manifests import Installation
from vitne.dev.stack import DATABASES

#: Days for which a destroyed key of a learner may still be in a backup.
LONGEST_KEY_BACKUP = 2


def test_there_is_a_database_for_each_service_and_keys_are_apart(installation: Installation) -> None:
    wanted = {name for names in DATABASES.values() for name in names}
    found = {cluster["spec"]["bootstrap"]["initdb"]["database"] for cluster in installation.all("Cluster")}
    assert found == {name.replace("issuer_keys", "learner_keys") for name in wanted}
    for cluster in installation.all("Cluster"):
        assert cluster["spec"]["enableSuperuserAccess"] is False
        assert "hostnossl all all all reject" in cluster["spec"]["postgresql"]["pg_hba"]


def test_each_database_is_backed_up_and_archived(production: Installation) -> None:
    stores = {store["metadata"]["name"]: store["spec"] for store in production.all("ObjectStore")}
    scheduled = {backup["spec"]["cluster"]["name"]: backup["spec"] for backup in production.all("ScheduledBackup")}
    assert set(scheduled) == {cluster["metadata"]["name"] for cluster in production.all("Cluster")}
    for cluster in production.all("Cluster"):
        name = cluster["metadata"]["name"]
        (plugin,) = cluster["spec"]["plugins"]
        assert plugin["isWALArchiver"] is True
        store = stores[plugin["parameters"]["barmanObjectName"]]
        assert scheduled[name]["pluginConfiguration"]["name"] == plugin["name"]
        assert len(scheduled[name]["schedule"].split()) == 6
        days = int(store["retentionPolicy"].removesuffix("d"))
        assert days <= LONGEST_KEY_BACKUP if name == "learner-keys-db" else days >= 14
        for part in ("wal", "data"):
            assert store["configuration"][part]["encryption"]
        assert cluster["spec"]["instances"] == 3


def test_keys_share_neither_bucket_nor_credentials(production: Installation) -> None:
    stores = [store["spec"]["configuration"] for store in production.all("ObjectStore")]
    assert len({store["destinationPath"] for store in stores}) == len(stores)
    assert len({store["s3Credentials"]["accessKeyId"]["name"] for store in stores}) == len(stores)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)h", text)
    assert match
    return int(match[1]) * 3600


def test_certificates_are_renewed_before_alerts_and_alerts_come_before_the_end(production: Installation) -> None:
    groups = [group for rules in production.all("PrometheusRule") for group in rules["spec"]["groups"]]
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    bounds = []
    for name in ("VitneCertificateExpires", "VitneCertificateExpiresNow"):
        match = re.search(r"< (\d+) \* 3600", alerts[name]["expr"])
        assert match
        bounds.append(int(match[1]) * 3600)
    for certificate in production.all("Certificate"):
        spec = certificate["spec"]
        assert spec["privateKey"]["rotationPolicy"] == "Always"
        steps = [_seconds(spec["duration"]), _seconds(spec["renewBefore"]), *bounds, 0]
        assert all(earlier > later for earlier, later in pairwise(steps)), certificate["metadata"]["name"]


def test_the_auditor_reads_all_but_learners_keys(installation: Installation) -> None:
    """Its role is granted what it reads by migrations, and is no other's; the database of keys does not know it."""
    for cluster in installation.all("Cluster"):
        roles = cluster["spec"].get("managed", {}).get("roles", [])
        if cluster["metadata"]["name"] == "learner-keys-db":
            assert roles == []
        else:
            (role,) = roles
            assert role["name"] == "auditor"
            assert "inRoles" not in role
            assert not {"superuser", "createdb", "createrole", "bypassrls"} & set(role)
