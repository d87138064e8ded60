"""A study as a script for sbatch: Ray on every node of the allocation for as long as the study runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from .kuberay import object_name
from .machines import Machines

# Every word that comes from the user stands in single quotes; nothing of it is read by the shell.
_SCRIPT = """\
#!/bin/bash
{directives}
# {name}: a study on this allocation. Send it with: sbatch FILE
# Programs, study and results must lie where every node sees them. The nodes are exclusive, since Ray is stopped at the
# end by name. What is stored stays; the same script goes on with the rest.
set -euo pipefail
umask 077

export PATH={programs}:"$PATH"
# A token of this job alone: in its environment, in no file and on no command line.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

read -r head < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000))

exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \\
  ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \\
  --temp-dir="/tmp/ray-$SLURM_JOB_ID" --dashboard-host={dashboard_host} {start} \\
  -- batchlaw run {study} --out {out} --address "$head:$port"
"""


def slurm_script(
    name: str,
    *,
    study: Path | str,
    out: str,
    machines: Machines,
    programs: Path,
    dashboard_host: str = "127.0.0.1",
    partition: str | None = None,
    time_limit: str | None = None,
) -> str:
    """Return the script.

    Args:
        name: of the study.
        study: its file, or a preset's name.
        out: where the results go.
        machines: nodes of the allocation.
        programs: the folder of ``batchlaw`` and ``ray``, seen by every node.
        dashboard_host: the address on which the head's job server listens.
        partition: of the cluster; its default when None.
        time_limit: as sbatch reads it; the partition's when None.
    """
    directives = {
        "job-name": object_name(name),
        "nodes": machines.nodes,
        "ntasks-per-node": 1,
        "exclusive": None,
        "cpus-per-task": machines.cpus,
        "gpus-per-node": machines.gpus or False,
        "mem": f"{round(machines.memory_gib * 1024)}M",
        "partition": partition or False,
        "time": time_limit or False,
    }
    lines = [
        f"#SBATCH --{key}" if value is None else f"#SBATCH --{key}={value}"
        for key, value in directives.items()
        if value is not False
    ]
    start = [f"--num-cpus={machines.cpus}", f"--num-gpus={machines.gpus}"]
    if machines.custom:
        start.append(f"--resources={json.dumps(dict(machines.custom))}")
    return _SCRIPT.format(
        directives="\n".join(lines),
        name=object_name(name),
        programs=_quoted(programs),
        dashboard_host=_quoted(dashboard_host),
        start=" ".join(map(_quoted, start)),
        study=_quoted(study),
        out=_quoted(out),
    )


def _quoted(word: Path | str) -> str:
    return shlex.quote(str(word))
