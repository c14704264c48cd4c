"""The RayJob against the fields that KubeRay's API reference (1.6) names, and the versions that we pin."""

import re
from pathlib import Path
from typing import Any

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


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "infra" / "kubernetes" / "study.yaml").read_text())


def test_every_field_is_one_of_kuberay_s(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert set(spec) <= FIELDS["RayJobSpec"]
    assert set(cluster) <= FIELDS["RayClusterSpec"]
    assert set(cluster["headGroupSpec"]) <= FIELDS["HeadGroupSpec"]
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= FIELDS["WorkerGroupSpec"]
    assert cluster["authOptions"] == {"mode": "token"}, "whoever reaches Ray's ports runs code"


def test_the_ray_of_the_image_is_the_one_that_kuberay_is_told_of(job: dict[str, Any]) -> None:
    (pinned,) = re.findall(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned


def test_the_container_runs_what_the_readme_says() -> None:
    recipe = (ROOT / "infra" / "Containerfile").read_text()
    makefile = (ROOT / "Makefile").read_text()
    asked = set(re.findall(r"make (test|demo)\b", recipe)) | set(re.findall(r'"make", "(\w+)"', recipe))
    assert asked == {"test", "demo"}
    assert "$(VENV)/.installed" in makefile
    assert "RUN make .venv/.installed" in recipe
