"""JSON schema of the RayJob fields that are used here, written from the reference of ``ray.io/v1`` (KubeRay 1.7).

Pod templates are left open: Kubernetes' own schema checks them.
"""

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": TEXT}
NAME: dict[str, Any] = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47}


def closed(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **optional},
    }


RAY_CLUSTER_SPEC = closed(
    {
        "headGroupSpec": closed(
            {"rayStartParams": TEXTS, "template": {"type": "object"}},
            serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
            enableIngress={"type": "boolean"},
            labels=TEXTS,
        )
    },
    workerGroupSpecs={
        "type": "array",
        "items": closed(
            {"groupName": NAME, "rayStartParams": TEXTS, "template": {"type": "object"}},
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            numOfHosts=COUNT,
            idleTimeoutSeconds=COUNT,
            labels=TEXTS,
        ),
    },
    rayVersion=TEXT,
    authOptions=closed(
        {}, mode={"enum": ["disabled", "token"]}, secretName=TEXT, enableK8sTokenAuth={"type": "boolean"}
    ),
    enableInTreeAutoscaling={"type": "boolean"},
    suspend={"type": "boolean"},
)

RAY_JOB = closed(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": closed({"name": NAME}, labels=TEXTS, annotations=TEXTS, namespace=TEXT),
        "spec": closed(
            {"rayClusterSpec": RAY_CLUSTER_SPEC},
            entrypoint=TEXT,
            runtimeEnvYAML=TEXT,
            jobId=TEXT,
            submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
            entrypointNumCpus={"type": "number"},
            entrypointNumGpus={"type": "number"},
            entrypointResources=TEXT,
            metadata=TEXTS,
            shutdownAfterJobFinishes={"type": "boolean"},
            ttlSecondsAfterFinished=COUNT,
            activeDeadlineSeconds=COUNT,
            backoffLimit=COUNT,
            suspend={"type": "boolean"},
        ),
    }
)
