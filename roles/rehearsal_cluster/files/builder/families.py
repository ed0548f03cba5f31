# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go programs by family: one row is one module, of the workspace or alone, and the programs built from it."""

from __future__ import annotations

from dataclasses import dataclass

GO_LANGUAGE = "1.26.6"
KUBERNETES = "v1.36.3"
STAGING = KUBERNETES.replace("v1.", "v0.", 1)
# Stands in for the time and commit of a release build: the result must depend on the inputs only.
BUILD_DATE = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Program:
    """One main package and how long it takes to build from empty caches on two cores."""

    name: str
    package: str
    seconds: int


@dataclass(frozen=True)
class Family:
    """Programs that share a module, a version and link-time stamps."""

    name: str
    version: str
    requires: tuple[str, ...]
    programs: tuple[Program, ...]
    stamps: tuple[tuple[str, str], ...] = ()
    # Modules whose published go.sum must seed go.work.sum, with the substring of the wanted lines: the checksum
    # database does not know them (sigs.k8s.io/scheduler-library v0.1.0-alpha1, seen with kueue 0.19.2).
    seed_sums: tuple[tuple[str, str], ...] = ()
    # Outside of the workspace, with libraries of its own: those of the workspace do not fit, or would change by it.
    alone: bool = False


def _kubernetes_stamps(version: str) -> tuple[tuple[str, str], ...]:
    major, minor = version.lstrip("v").split(".")[:2]
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": BUILD_DATE,
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple((f"{package}.{key}", value) for package in packages for key, value in values.items())


def _helm_stamps(version: str) -> tuple[tuple[str, str], ...]:
    major, minor = KUBERNETES.lstrip("v").split(".")[:2]
    packages = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")
    capabilities = tuple(
        (f"{package}.{key}", value)
        for package in packages
        for key, value in (("k8sVersionMajor", major), ("k8sVersionMinor", minor))
    )
    return (("helm.sh/helm/v3/internal/version.version", version), *capabilities)


# The newest commit that the module proxy has: none of its releases resolves there.
ISTIO = "v0.0.0-20260827124520-eed52ebb66ad"
_PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
FAMILIES: tuple[Family, ...] = (
    Family(
        "kubernetes",
        KUBERNETES,
        (f"k8s.io/kubernetes {KUBERNETES}",),
        (
            Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", 25),
            Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 204),
            Program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 57),
            Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 5),
            Program("kubelet", "k8s.io/kubernetes/cmd/kubelet", 17),
            Program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", 7),
        ),
        _kubernetes_stamps(KUBERNETES),
    ),
    Family(
        "etcd",
        "v3.6.14",
        ("go.etcd.io/etcd/server/v3 v3.6.14",),
        (Program("etcd", "go.etcd.io/etcd/server/v3", 52),),
    ),
    Family(
        "crane",
        "v0.21.0",
        ("github.com/google/go-containerregistry v0.21.0",),
        (
            Program("crane", "github.com/google/go-containerregistry/cmd/crane", 5),
            Program("registry", "rehearsal/crane/registry", 2),
            Program("pause", "rehearsal/crane/pause", 1),
        ),
        (("github.com/google/go-containerregistry/cmd/crane/cmd.Version", "v0.21.0"),),
    ),
    Family(
        "helm",
        "v3.22.0",
        ("helm.sh/helm/v3 v3.22.0",),
        (Program("helm", "helm.sh/helm/v3/cmd/helm", 25),),
        _helm_stamps("v3.22.0"),
    ),
    Family(
        "coredns",
        "v1.14.6",
        ("github.com/coredns/coredns v1.14.6",),
        (Program("coredns", "rehearsal/coredns", 12),),
    ),
    Family(
        "lws",
        "v0.9.0",
        ("sigs.k8s.io/lws v0.9.0",),
        (Program("lws-manager", "sigs.k8s.io/lws/cmd", 10),),
        (("sigs.k8s.io/lws/pkg/version.GitVersion", "v0.9.0"), ("sigs.k8s.io/lws/pkg/version.BuildDate", BUILD_DATE)),
    ),
    Family(
        "router",
        "v0.7.1",
        # Its own llm-d-kv-cache v0.7.1 does not resolve on the module proxy; 0.8.1 and 0.9.0 (which the simulator
        # asks for, and the workspace therefore selects) are source-compatible.
        ("github.com/llm-d/llm-d-inference-scheduler v0.7.1", "github.com/llm-d/llm-d-kv-cache v0.8.1"),
        (
            Program("epp", "github.com/llm-d/llm-d-inference-scheduler/cmd/epp", 26),
            Program("pd-sidecar", "github.com/llm-d/llm-d-inference-scheduler/cmd/pd-sidecar", 3),
        ),
    ),
    Family(
        "simulator",
        "v0.10.2",
        ("github.com/llm-d/llm-d-inference-sim v0.10.2",),
        (Program("llm-d-inference-sim", "github.com/llm-d/llm-d-inference-sim/cmd/llm-d-inference-sim", 50),),
    ),
    Family(
        "kueue",
        "v0.19.2",
        ("sigs.k8s.io/kueue v0.19.2",),
        (Program("kueue-manager", "sigs.k8s.io/kueue/cmd/kueue", 58),),
        (("sigs.k8s.io/kueue/pkg/version.GitVersion", "v0.19.2"),),
        (("sigs.k8s.io/kueue@v0.19.2", "sigs.k8s.io/scheduler-library "),),
    ),
    Family(
        # The last version whose chart holds the CRD in a template: what an upgrade starts from.
        "lws-0.7",
        "v0.7.0",
        ("sigs.k8s.io/lws v0.7.0",),
        (Program("lws-manager-0.7", "sigs.k8s.io/lws/cmd", 247),),
        (("sigs.k8s.io/lws/pkg/version.GitVersion", "v0.7.0"), ("sigs.k8s.io/lws/pkg/version.BuildDate", BUILD_DATE)),
        alone=True,
    ),
    Family(
        "kwok",
        "v0.8.0",
        ("sigs.k8s.io/kwok v0.8.0",),
        (Program("kwok", "sigs.k8s.io/kwok/cmd/kwok", 226),),
        alone=True,
    ),
    Family(
        "prometheus-operator",
        "v0.83.0",
        (f"{_PROMETHEUS_OPERATOR} v0.83.0",),
        (
            Program("prometheus-operator", f"{_PROMETHEUS_OPERATOR}/cmd/operator", 300),
            Program("prometheus-config-reloader", f"{_PROMETHEUS_OPERATOR}/cmd/prometheus-config-reloader", 10),
        ),
        # It names the image of the config reloader by its own version.
        (("github.com/prometheus/common/version.Version", "0.83.0"),),
        alone=True,
    ),
    Family(
        "istio",
        ISTIO,
        (f"istio.io/istio {ISTIO}",),
        (
            Program("pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery", 280),
            Program("pilot-agent", "istio.io/istio/pilot/cmd/pilot-agent", 26),
        ),
        (("istio.io/istio/pkg/version.buildVersion", ISTIO.removeprefix("v")),),
        alone=True,
    ),
)


def family(name: str) -> Family:
    """Return the family of that name."""
    return next(row for row in FAMILIES if row.name == name)


def own_packages(row: Family) -> tuple[str, ...]:
    """Folders, relative to the family's, of the main packages that are part of this collection."""
    prefix = f"rehearsal/{row.name}"
    return tuple(
        p.package.removeprefix(prefix).lstrip("/") for p in row.programs if (p.package + "/").startswith(prefix + "/")
    )
