"""What `deploy/` brings: a manifest that Kubernetes would take, and a dashboard of figures that there are."""

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
from authmint_service.settings import Settings, load_settings
from tests.service.conftest import SECRET_KEYS, Service

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = (ROOT / "deploy" / "kubernetes.yaml").read_text()
OBJECTS: dict[tuple[str, str], Any] = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(MANIFEST)}
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
PROCESS_MIB, HASH_MIB = 120, 19

Samples = dict[str, set[str]]


def pod(kind: str, name: str) -> Any:
    return OBJECTS[kind, name]["spec"]["template"]["spec"]


CONTAINER = pod("Deployment", "authmint")["containers"][0]
CONFIGURED = OBJECTS["ConfigMap", "authmint"]["data"]


@pytest.mark.parametrize("kind", [kind for kind, _ in OBJECTS])
def test_kubernetes_own_schema_takes_each_object_of_the_manifest_and_nothing_that_is_not_in_it(kind: str) -> None:
    for (found, _), one in OBJECTS.items():
        if found == kind:
            kubernetes_validate.validate(one, "1.37", strict=True)
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(one | {"nonsense": 1}, "1.37", strict=True)


def test_the_manifest_has_what_keeps_a_service_available_and_holds_no_secret() -> None:
    kinds = {kind for kind, _ in OBJECTS}
    assert {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Job"} <= kinds
    assert "Secret" not in kinds
    assert "password" not in MANIFEST.lower()
    labels = OBJECTS["Deployment", "authmint"]["spec"]["template"]["metadata"]["labels"]
    for kind, path in (
        ("Deployment", "selector.matchLabels"), ("Service", "selector"), ("PodDisruptionBudget", "selector.matchLabels"),
    ):  # fmt: skip
        selector = OBJECTS[kind, "authmint"]["spec"]
        for step in path.split("."):
            selector = selector[step]
        assert selector.items() <= labels.items()
    # A migration's pod is none that a request may go to.
    assert not labels.items() <= OBJECTS["Job", "authmint-migrate"]["spec"]["template"]["metadata"]["labels"].items()
    target = OBJECTS["HorizontalPodAutoscaler", "authmint"]["spec"]["scaleTargetRef"]
    assert ("apps/v1", "Deployment", "authmint") == (target["apiVersion"], target["kind"], target["name"])


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "authmint"), ("Job", "authmint-migrate")])
def test_no_container_may_more_than_it_needs_and_no_image_names_a_registry(kind: str, name: str) -> None:
    spec = pod(kind, name)
    assert spec["automountServiceAccountToken"] is False
    assert (True, 10001) == (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"])
    for container in spec["containers"]:
        security = container["securityContext"]
        assert (False, True) == (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"])
        assert ["ALL"] == security["capabilities"]["drop"]
        assert re.fullmatch(r"authmint-service:[\d.]+", container["image"])


def test_probes_ask_what_they_are_for_and_a_pod_has_time_to_drain() -> None:
    asked = {name: CONTAINER[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"} == asked
    assert {"http"} == {CONTAINER[f"{name}Probe"]["httpGet"]["port"] for name in asked}
    assert CONFIGURED["AUTHMINT_PORT"] == str(CONTAINER["ports"][0]["containerPort"])
    pause, drain = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"], int(CONFIGURED["AUTHMINT_DRAIN_SECONDS"])
    assert pod("Deployment", "authmint")["terminationGracePeriodSeconds"] > pause + drain + STOP_SECONDS


def test_the_memory_that_is_asked_for_is_that_of_the_processes_and_their_hashes() -> None:
    permits, processes = int(CONFIGURED["AUTHMINT_PASSWORD_HASH_WORKERS"]), int(CONFIGURED["AUTHMINT_WORKERS"])
    asked, most = (int(CONTAINER["resources"][side]["memory"].removesuffix("Mi")) for side in ("requests", "limits"))
    assert processes * (PROCESS_MIB + permits * HASH_MIB) <= asked <= most


def test_what_the_pods_are_told_is_a_complete_setting_for_production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert {name.removeprefix("AUTHMINT_").lower() for name in env} <= set(Settings.model_fields)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(_env_file=None)
    assert (False, 6, "0.0.0.0") == (settings.is_development, settings.shutdown_seconds, settings.host)
    pods = OBJECTS["HorizontalPodAutoscaler", "authmint"]["spec"]["maxReplicas"] + 1
    # PostgreSQL takes 100 by itself, and keeps a few for whoever repairs it.
    assert pods * settings.max_processes * settings.database_pool_size <= 97


async def test_every_figure_of_the_dashboard_is_told_with_the_labels_it_is_asked_by_and_every_figure_is_explained(
    service: Service, secret: str, dsn: str
) -> None:
    user, client = await service.add_user(), await service.add_client()
    await service.sign_in(client, user)
    connection = await asyncpg.connect(dsn)
    await connection.execute("ANALYZE sessions")
    await connection.close()
    told: Samples = {}
    families = list(text_string_to_metric_families((await service.http.get("/metrics")).text))
    for sample in (sample for family in families for sample in family.samples):
        told.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    expressions = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
    assert len(expressions) > 20
    for expression in expressions:
        names = re.findall(r"([a-zA-Z_:][\w:]*)\{", expression)
        assert names, expression
        assert set(re.findall(r"\bauthmint_\w+", expression)) == set(names), expression
        asked = {label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")}
        asked |= set(re.findall(r"[{,](\w+)=", expression))
        for name in names:
            assert name in told, name
            assert asked <= told[name], expression
    explained = (ROOT / "docs" / "operations.md").read_text()
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in explained, name


def test_the_dashboard_can_be_imported_its_panels_have_room_and_its_source_is_chosen() -> None:
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
