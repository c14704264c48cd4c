"""The RayJob and the RayCluster against KubeRay's API reference (1.6), Kubernetes' schemas and what we pin."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {
    "RayJobSpec": {
        "activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata",
        "clusterSelector", "submitterConfig", "managedBy", "deletionStrategy", "entrypoint", "runtimeEnvYAML", "jobId",
        "submissionMode",
        "entrypointResources", "entrypointNumCpus", "entrypointNumGpus", "ttlSecondsAfterFinished", "suspend",
        "shutdownAfterJobFinishes",
    },
    "RayClusterSpec": {
        "authOptions", "suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations", "enableInTreeAutoscaling",
        "gcsFaultToleranceOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs",
    },
    "HeadGroupSpec": {
        "template", "headService", "enableIngress", "resources", "labels", "rayStartParams", "serviceType",
    },
    "WorkerGroupSpec": {
        "suspend", "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "resources", "labels",
        "rayStartParams", "template", "scaleStrategy", "numOfHosts",
    },
}  # fmt: skip


KUBERNETES = "1.34"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "infra" / "kubernetes" / name).read_text())


@pytest.fixture
def cluster() -> dict[str, Any]:
    return read("cluster.yaml")["spec"]


def test_a_study_s_cluster_is_the_one_that_stays(cluster: dict[str, Any]) -> None:
    job, standing = read("study.yaml"), read("cluster.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert (standing["apiVersion"], standing["kind"]) == ("ray.io/v1", "RayCluster")
    assert set(job["spec"]) <= FIELDS["RayJobSpec"]
    assert job["spec"]["rayClusterSpec"] == cluster


def test_every_field_is_one_of_kuberay_s(cluster: dict[str, Any]) -> None:
    assert set(cluster) <= FIELDS["RayClusterSpec"]
    assert set(cluster["headGroupSpec"]) <= FIELDS["HeadGroupSpec"]
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= FIELDS["WorkerGroupSpec"]
    assert cluster["authOptions"] == {"mode": "token"}, "whoever reaches Ray's ports runs code"


def test_its_pods_are_kubernetes_s(cluster: dict[str, Any]) -> None:
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_ray_of_the_image_is_the_one_that_kuberay_is_told_of(cluster: dict[str, Any]) -> None:
    (pinned,) = re.findall(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert cluster["rayVersion"] == pinned


def test_the_container_runs_what_the_readme_says() -> None:
    recipe = (ROOT / "infra" / "Containerfile").read_text()
    makefile = (ROOT / "Makefile").read_text()
    asked = set(re.findall(r"make (test|demo)\b", recipe)) | set(re.findall(r'"make", "(\w+)"', recipe))
    assert asked == {"test", "demo"}
    assert "$(VENV)/.installed" in makefile
    assert "RUN make .venv/.installed" in recipe
