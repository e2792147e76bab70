"""The files of `deploy/`: a manifest that Kubernetes accepts, and a dashboard of metrics that exist."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import asyncpg
import kubernetes_validate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from authmint_service.serving.workers import STOP_SECONDS
from authmint_service.settings import load_settings, variable_names
from tests.service.conftest import SECRET_KEYS, Service

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = (ROOT / "deploy" / "kubernetes.yaml").read_text()
OBJECTS: dict[tuple[str, str], Any] = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(MANIFEST)}
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
PROCESS_MIB, HASH_MIB = 120, 19

Labels = dict[str, set[str]]


def pod(kind: str, name: str) -> Any:
    return OBJECTS[kind, name]["spec"]["template"]["spec"]


CONTAINER = pod("Deployment", "authmint")["containers"][0]
CONFIGURED = OBJECTS["ConfigMap", "authmint"]["data"]


@pytest.mark.parametrize("kind", [kind for kind, _ in OBJECTS])
def test_kubernetes_own_schema_accepts_each_object_of_the_manifest_and_no_unknown_field(kind: str) -> None:
    for (found, _), one in OBJECTS.items():
        if found == kind:
            kubernetes_validate.validate(one, "1.37", strict=True)
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(one | {"nonsense": 1}, "1.37", strict=True)


def test_the_manifest_has_what_keeps_a_service_available_and_holds_no_secret() -> None:
    kinds = {kind for kind, _ in OBJECTS}
    assert {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Job"} <= kinds
    assert "Secret" not in kinds
    assert "password" not in MANIFEST.replace("AUTHMINT_PASSWORD_HASH_WORKERS", "").lower()
    labels = OBJECTS["Deployment", "authmint"]["spec"]["template"]["metadata"]["labels"]
    for kind, path in (
        ("Deployment", "selector.matchLabels"), ("Service", "selector"), ("PodDisruptionBudget", "selector.matchLabels"),
    ):  # fmt: skip
        selector = OBJECTS[kind, "authmint"]["spec"]
        for step in path.split("."):
            selector = selector[step]
        assert selector.items() <= labels.items()
    # The Service must not send requests to the pod of a migration.
    assert not labels.items() <= OBJECTS["Job", "authmint-migrate"]["spec"]["template"]["metadata"]["labels"].items()
    target = OBJECTS["HorizontalPodAutoscaler", "authmint"]["spec"]["scaleTargetRef"]
    assert ("apps/v1", "Deployment", "authmint") == (target["apiVersion"], target["kind"], target["name"])


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "authmint"), ("Job", "authmint-migrate")])
def test_containers_have_no_more_rights_than_they_need_and_images_name_no_registry(kind: str, name: str) -> None:
    spec = pod(kind, name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert (True, 10001) == (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"])
    for container in spec["containers"]:
        security = container["securityContext"]
        assert (False, True) == (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"])
        assert ["ALL"] == security["capabilities"]["drop"]
        assert re.fullmatch(r"authmint-service:[\d.]+", container["image"])


def test_each_probe_uses_its_own_route_and_a_pod_has_time_to_drain() -> None:
    paths = {name: CONTAINER[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"} == paths
    assert {"http"} == {CONTAINER[f"{name}Probe"]["httpGet"]["port"] for name in paths}
    assert CONFIGURED["AUTHMINT_PORT"] == str(CONTAINER["ports"][0]["containerPort"])
    pause, draining = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"], int(CONFIGURED["AUTHMINT_DRAIN_SECONDS"])
    assert pod("Deployment", "authmint")["terminationGracePeriodSeconds"] > pause + draining + STOP_SECONDS


def test_prometheus_is_sent_to_the_port_of_the_metrics_by_the_annotations_and_by_the_page() -> None:
    port = CONFIGURED["AUTHMINT_INTERNAL_PORT"]
    (name,) = (one["name"] for one in CONTAINER["ports"] if str(one["containerPort"]) == port)
    annotations = OBJECTS["Deployment", "authmint"]["spec"]["template"]["metadata"]["annotations"]
    assert port == annotations["prometheus.io/port"]
    page = " ".join((ROOT / "deploy" / "README.md").read_text().split())
    assert [name] == re.findall(r"a PodMonitor on the label `[^`]+` and the port `(\w+)`", page)


def test_the_requested_memory_is_that_of_the_processes_and_their_hashes() -> None:
    slots, processes = int(CONFIGURED["AUTHMINT_PASSWORD_HASH_WORKERS"]), int(CONFIGURED["AUTHMINT_WORKERS"])
    requested, limit = (int(CONTAINER["resources"][side]["memory"].removesuffix("Mi")) for side in ("requests", "limits"))
    assert processes * (PROCESS_MIB + slots * HASH_MIB) <= requested <= limit


def test_the_pods_have_complete_settings_for_production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, env = pod("Deployment", "authmint"), dict(CONFIGURED)
    (volume,) = spec["volumes"]
    mounted = {f"{CONTAINER['volumeMounts'][0]['mountPath']}/{item['path']}": item["key"] for item in volume["secret"]["items"]}
    for variable in CONTAINER["env"]:
        if "valueFrom" in variable:
            assert "authmint" == variable["valueFrom"]["secretKeyRef"]["name"]
            env[variable["name"]] = "postgresql://authmint@postgres/authmint"
        else:
            file = tmp_path / mounted[variable["value"]]
            file.write_text(SECRET_KEYS[file.name.replace("-", "_")])
            env[variable["name"]] = str(file)
    assert set(env) <= set(variable_names())
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(_env_file=None)
    assert (False, 6, "0.0.0.0") == (settings.is_development, settings.shutdown_seconds, settings.host)
    pods = OBJECTS["HorizontalPodAutoscaler", "authmint"]["spec"]["maxReplicas"] + 1
    # PostgreSQL allows 100 by default, and reserves a few for administrators.
    assert pods * settings.max_processes * settings.database_pool_size <= 97


async def test_every_metric_of_the_dashboard_is_reported_with_its_labels_and_every_metric_is_documented(
    service: Service, secret: str, dsn: str
) -> None:
    user, client = await service.add_account(), await service.add_client()
    await service.sign_in(client, user)
    connection = await asyncpg.connect(dsn)
    await connection.execute("ANALYZE authmint.sessions")
    await connection.close()
    reported: Labels = {}
    families = list(text_string_to_metric_families((await service.internal("/metrics")).text))
    for sample in (sample for family in families for sample in family.samples):
        reported.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    expressions = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
    assert len(expressions) > 20
    for expression in expressions:
        names = re.findall(r"([a-zA-Z_:][\w:]*)\{", expression)
        assert names, expression
        assert set(re.findall(r"\bauthmint_\w+", expression)) == set(names), expression
        labels = {label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")}
        labels |= set(re.findall(r"[{,](\w+)=", expression))
        for name in names:
            assert name in reported, name
            assert labels <= reported[name], expression
    documented = (ROOT / "docs" / "operations.md").read_text()
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in documented, name


def test_the_dashboard_can_be_imported_its_panels_do_not_overlap_and_its_source_is_a_variable() -> None:
    assert len(PANELS) == len({panel["id"] for panel in PANELS})
    for one, other in combinations((panel["gridPos"] for panel in PANELS), 2):
        apart = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
        assert apart, (one, other)
    assert all(0 <= panel["gridPos"]["x"] <= 24 - panel["gridPos"]["w"] for panel in PANELS)
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert ("datasource", "prometheus") == (variables["datasource"]["type"], variables["datasource"]["query"])
    drawn = [panel for panel in PANELS if panel["type"] != "row"]
    sources = [panel["datasource"] for panel in drawn] + [
        target["datasource"] for panel in drawn for target in panel["targets"]
    ]
    assert {"${datasource}"} == {source["uid"] for source in sources}
    assert {"A"} <= {target["refId"] for panel in drawn for target in panel["targets"]}
    assert {"id", "__inputs"}.isdisjoint(DASHBOARD)
