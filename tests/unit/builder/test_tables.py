# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables: every name that a row uses exists, and the committed workspace fits the table of families."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from builder import charts, debian, families, programs, recipes, scenarios, tokenizer
from builder.errors import BuildError
from builder.families import FAMILIES, Family
from builder.scenarios import SCENARIOS, Scenario
from loading import load_file

ROOT = Path(__file__).resolve().parents[3]
# What the cluster role takes from a manifest.
PROGRAMS = {
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "crane",
    "helm",
    "coredns",
    "registry",
}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return load_file(programs.WORKSPACE / "generate.py", "generate")


@pytest.mark.parametrize("row", SCENARIOS, ids=lambda row: row.name)
def test_scenarios_name_what_exists(row: Scenario) -> None:
    built = {program.name for name in row.families for program in families.family(name).programs}
    built |= {program for name in row.packages for program, _path in debian.package(name).programs}
    assert built >= PROGRAMS
    for name in row.systems:
        debian.system(name)
    for name in row.charts:
        charts.chart(name)
    for name in row.definitions:
        charts.definitions(name)
    layers = [layer for name in row.images for layer in recipes.image(name).layers]
    copied = {source.partition("/")[0] for layer in layers for _path, source in layer.definitions}
    assert copied <= set(row.definitions)
    assert {source for layer in layers for _path, source in layer.programs} <= built
    assert {source for layer in layers for _path, source in layer.wheels} <= set(recipes.WHEELS)
    assert all((recipes.IMAGES_FOLDER / source).is_dir() for layer in layers for _path, source in layer.folders)
    assert {source for layer in layers for _path, source in layer.wheel_sets} <= set(recipes.WHEEL_SETS)
    assert {source for layer in layers for _path, source in layer.generated} <= set(recipes.GENERATED)


def test_unknown_scenario_lists_the_known_ones() -> None:
    with pytest.raises(BuildError, match="no scenario 'kind'") as caught:
        scenarios.scenario("kind")
    assert "standalone" in caught.value.fix


def test_programs_have_one_name_each() -> None:
    names = [program.name for row in FAMILIES for program in row.programs]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)
def test_workspace_fits_the_table(
    row: Family, generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = programs.WORKSPACE / row.name
    committed = (folder / "go.mod").read_text()
    monkeypatch.setattr(generate, "HERE", tmp_path)
    generate.write_mod(row)
    assert committed == (tmp_path / row.name / "go.mod").read_text()
    lock = (folder / "modules.lock").read_text().splitlines()
    assert lock == sorted(set(lock))
    assert all(line.startswith("rehearsal/") or re.search(r" h1:\S{43}=$", line) for line in lock)
    assert any(line.startswith(row.requires[0] + " ") for line in lock)
    for package in families.own_packages(row):
        assert (folder / package / "main.go").exists()
    assert (f"\t./{row.name}\n" in (programs.WORKSPACE / "go.work").read_text()) is not row.alone


def test_stamps_satisfy_charts_that_ask_for_a_kubernetes_version() -> None:
    stamps = dict(families.family("kubernetes").stamps)
    assert stamps["k8s.io/component-base/version.gitVersion"] == families.KUBERNETES
    assert stamps["k8s.io/client-go/pkg/version.gitMajor"] == "1"
    assert stamps["k8s.io/client-go/pkg/version.gitMinor"] == "36"
    helm = dict(families.family("helm").stamps)
    assert helm["helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor"] == "36"
    assert programs.link_flags(families.family("lws")).startswith("-s -w -X sigs.k8s.io/lws/pkg/version.GitVersion=v")


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("pause", "pause:3.10"),
        ("envoy", "envoyproxy/envoy:distroless-v1.33.2"),
        ("llm-d-cuda", "llm-d/llm-d-cuda:v0.7.0"),
    ],
)
def test_short_names_are_what_containerd_asks_for(name: str, short: str) -> None:
    assert recipes.image(name).short == short


# The Go modules of this generation of the router cannot be had, so the rehearsal runs the one before it; agentgateway
# is Rust, with dependencies outside of any registry.
NOT_BUILT = {
    "llm_d_router_standalone",
    "llm_d_router_gateway",
    "agentgateway",
    "agentgateway_crds",
    "agentgateway_controller",
    "agentgateway_proxy",
}
ISTIO = {"istio_base", "istiod", "istio_pilot", "istio_proxy"}


@pytest.mark.parametrize(
    ("name", "without"),
    [
        # No image is pulled on a fake node, and no real one is a GB200 tray.
        ("standalone", {"kueue", "vllm_gb200"} | ISTIO | NOT_BUILT),
        ("istio", {"kueue", "vllm_gb200"} | NOT_BUILT),
        ("full", {"vllm_gb200"} | NOT_BUILT),
    ],
)
def test_scenarios_have_what_the_local_inventory_deploys(name: str, without: set[str]) -> None:
    tables = [
        yaml.safe_load((ROOT / name).read_text())
        for name in ("roles/wide_ep/vars/main.yml", "inventories/local/group_vars/wide_ep/main.yml")
    ]
    images = {**tables[0]["_wide_ep_default_images"], **tables[1]["wide_ep_image_overrides"]}
    row = scenarios.scenario(name)
    assert {images[key] for key in images.keys() - without} <= {recipes.image(item).reference for item in row.images}
    overrides = tables[1]["wide_ep_chart_overrides"]
    published = {
        key: {**chart, **overrides.get(key, {})} for key, chart in tables[0]["_wide_ep_default_charts"].items()
    }
    wanted = {f"{chart['ref']}:{chart['version']}" for key, chart in published.items() if key not in without}
    assert wanted <= {charts.chart(item).reference for item in row.charts}


def test_old_lws_is_the_last_one_whose_chart_owns_the_crd() -> None:
    row = scenarios.scenario("full")
    assert charts.chart("lws:0.7.0").reference == "registry.k8s.io/lws/charts/lws:0.7.0"
    assert {"lws", "lws:0.7.0"} <= set(row.charts)
    assert charts.chart("lws").version != "0.7.0"
    assert recipes.image("lws-0.7").reference.endswith(":v" + charts.chart("lws:0.7.0").version)


def test_operator_names_its_reloader_by_the_version_that_is_built() -> None:
    stamps = dict(families.family("prometheus-operator").stamps)
    reloader = recipes.image("prometheus-config-reloader").reference
    assert reloader.endswith(":v" + stamps["github.com/prometheus/common/version.Version"])


@pytest.mark.parametrize("row", recipes.IMAGES, ids=lambda row: row.name)
def test_users_are_numbers(row: recipes.Image) -> None:
    assert re.fullmatch(r"\d+:\d+", row.user)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("lws", "registry.k8s.io/lws/charts/lws:0.9.0"),
        ("kueue", "registry.k8s.io/kueue/charts/kueue:0.19.2"),
        ("standalone", "registry.k8s.io/gateway-api-inference-extension/charts/standalone:v1.5.0"),
    ],
)
def test_charts_keep_their_published_names(name: str, reference: str) -> None:
    assert charts.chart(name).reference == reference


def test_a_set_of_wheels_is_pinned_by_hashes_and_holds_the_release_of_its_image() -> None:
    row = recipes.WHEEL_SETS["inference-perf"]
    lines = row.requirements.read_text().splitlines()
    pinned = [line for line in lines if "==" in line and not line.startswith("#")]
    assert f"inference-perf=={recipes.INFERENCE_PERF} \\" in pinned
    assert len(pinned) > 50
    for number, line in enumerate(lines):
        if line in pinned:
            assert re.fullmatch(r"[a-z0-9-]+==\S+ \\", line)
            assert re.match(r"    --hash=sha256:[0-9a-f]{64}", lines[number + 1])


def test_a_set_of_wheels_is_another_for_another_machine() -> None:
    row = recipes.WHEEL_SETS["inference-perf"]
    assert row.key("amd64") != row.key("arm64")
    assert row.key("amd64") == row.key("amd64")


def test_an_image_without_a_kind_of_parts_does_not_say_so() -> None:
    """Else a kind that is new would have every image of every scenario built again."""
    layer = recipes.image("envoy").described()["layers"][0]
    assert set(layer) == {"programs", "wheels", "folders", "links"}
    assert "wheel_sets" in recipes.image("inference-perf").described()["layers"][0]


def test_the_tokenizer_gives_back_as_many_tokens_as_it_was_given() -> None:
    """The load generator drops prompts for which that does not hold."""
    made = json.loads(tokenizer.files()["tokenizer.json"])
    vocabulary = made["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(6401))
    assert all(re.fullmatch(r"[a-z]{4}", word) for word in vocabulary if word != tokenizer.UNKNOWN)
    assert made["pre_tokenizer"] == {"type": "Whitespace"}, "words between blanks, one token each"
    assert tokenizer.files() == tokenizer.files()


def test_a_cluster_can_be_made_of_every_scenario() -> None:
    path = ROOT / "roles/rehearsal_cluster/meta/argument_specs.yml"
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
    options = [spec["options"]["rehearsal_cluster_scenario"] for spec in specs if "options" in spec]
    choices = [option["choices"] for option in options if "choices" in option]
    assert choices
    assert all(set(given) == {row.name for row in SCENARIOS} for given in choices)
