"""``batchlaw submit``: a study as a job of a Ray cluster, or as a file that starts one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .arguments import StudyArgument
from .terminal import line, print_file

if TYPE_CHECKING:
    from .job_server import Job, JobServer

INTERRUPTED = 130
Cloud = Literal["local", "aws", "gcp"]
_JOB, _FILE, _MACHINES = "The job", "A file instead", "Machines of the file"


def submit(
    study: StudyArgument,
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="Job server of a Ray cluster, such as http://127.0.0.1:8265.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="URL|DIR", help="Place of the results (default: in the study's storage_path).")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show what the job prints until it ends.", rich_help_panel=_JOB)
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="End the study's job; what is stored stays.", rich_help_panel=_JOB)
    ] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Package this file or folder of the study's folder too.", rich_help_panel=_JOB
        ),
    ] = None,
    install_pins: Annotated[
        bool,
        typer.Option("--install-pins", help="Let pip install the versions used here first.", rich_help_panel=_JOB),
    ] = False,
    any_versions: Annotated[
        bool, typer.Option("--any-versions", help="Run with other versions than here too.", rich_help_panel=_JOB)
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed trials again.", rich_help_panel=_JOB)
    ] = False,
    entrypoint_cpus: Annotated[
        float, typer.Option(metavar="X", min=0, help="Processors to reserve for the driver.", rich_help_panel=_JOB)
    ] = 0.0,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Trust a cluster that asks for no token.", rich_help_panel=_JOB)
    ] = False,
    kuberay: Annotated[
        bool, typer.Option("--kuberay", help="Print a RayJob for Kubernetes.", rich_help_panel=_FILE)
    ] = False,
    ray_up: Annotated[
        Cloud | None,
        typer.Option("--ray-up", help="Print a cluster file for 'ray up'.", rich_help_panel=_FILE),
    ] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Print a script for sbatch.", rich_help_panel=_FILE)] = False,
    nodes: Annotated[int, typer.Option(min=1, help="Machines, besides the head.", rich_help_panel=_MACHINES)] = 1,
    cpus_per_node: Annotated[
        int | None, typer.Option(min=1, help="Default: what one trial needs.", rich_help_panel=_MACHINES)
    ] = None,
    gpus_per_node: Annotated[
        int | None, typer.Option(min=0, help="Default: what one trial needs.", rich_help_panel=_MACHINES)
    ] = None,
    memory_gib_per_node: Annotated[
        float | None, typer.Option(min=1, help="Default: by what a trial needs.", rich_help_panel=_MACHINES)
    ] = None,
    dashboard_host: Annotated[
        str, typer.Option(help="Where the job server of the file's cluster listens.", rich_help_panel=_MACHINES)
    ] = "127.0.0.1",
    image: Annotated[
        str | None, typer.Option(help="Kubernetes: the image of every pod.", rich_help_panel=_MACHINES)
    ] = None,
    claim: Annotated[
        str | None, typer.Option(help="Kubernetes: volume claim for results.", rich_help_panel=_MACHINES)
    ] = None,
    secret: Annotated[
        str | None, typer.Option(help="Kubernetes: secret with variables.", rich_help_panel=_MACHINES)
    ] = None,
    service_account: Annotated[str | None, typer.Option(help="Kubernetes.", rich_help_panel=_MACHINES)] = None,
    partition: Annotated[str | None, typer.Option(help="Slurm.", rich_help_panel=_MACHINES)] = None,
    time_limit: Annotated[
        str | None, typer.Option("--time", help="Slurm: as sbatch reads it.", rich_help_panel=_MACHINES)
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="ray up local: each machine, head first.", rich_help_panel=_MACHINES)
    ] = None,
    ssh_user: Annotated[str, typer.Option(help="ray up.", rich_help_panel=_MACHINES)] = "ubuntu",
    region: Annotated[str | None, typer.Option(help="ray up aws; of gcp the zone.", rich_help_panel=_MACHINES)] = None,
    machine_type: Annotated[str | None, typer.Option(help="ray up aws, gcp.", rich_help_panel=_MACHINES)] = None,
    project: Annotated[str | None, typer.Option(help="ray up gcp.", rich_help_panel=_MACHINES)] = None,
) -> None:
    """Run a study as a job of a Ray cluster, or print a file that starts a cluster for it.

    Only the platform's code and the study's own files are sent. Results land where the study's storage_path says, and
    can be read while the job runs.
    """
    from .cluster_files import FileOptions, chosen_kind, cluster_file
    from .job_server import open_job_server
    from .loading import find_study, load_study
    from .manifests.ray_up import Place
    from .resolve import resolve
    from .study_files import study_files
    from .submit import Submission, already_running, find_running, results_place
    from .submit import submit as submit_job

    kind = chosen_kind(kuberay=kuberay, ray_up=ray_up, slurm=slurm)
    if kind is not None and address is not None:
        raise typer.BadParameter(f"--address sends a job, so leave out --{kind}")
    if address is None and kind is None:
        raise typer.BadParameter(
            "--address is required: the URL of a cluster's job server (or --kuberay, --ray-up, --slurm)"
        )
    if follow and stop:
        raise typer.BadParameter("--stop ends the job, so leave out --follow")
    if install_pins and any_versions:
        raise typer.BadParameter("--install-pins installs the versions used here, so leave out --any-versions")
    path = find_study(study)
    loaded = load_study(path)
    place = results_place(loaded.config, out)
    if kind is not None:
        resolved = resolve(loaded)
        options = FileOptions(
            nodes=nodes,
            cpus_per_node=cpus_per_node,
            gpus_per_node=gpus_per_node,
            memory_gib_per_node=memory_gib_per_node,
            dashboard_host=dashboard_host,
            image=image,
            claim=claim,
            secret=secret,
            service_account=service_account,
            partition=partition,
            time_limit=time_limit,
            place=Place(
                provider=ray_up or "local",
                hosts=host or [],
                region=region,
                machine_type=machine_type,
                project=project,
                ssh_user=ssh_user,
            ),
        )
        files = study_files(resolved, include=include or [])
        text = cluster_file(kind, resolved, files, path=path, out=place, options=options, any_versions=any_versions)
        print_file(text)
        return
    assert address is not None
    again = shlex.join(["batchlaw", "submit", study, "--address", address, *(["--out", out] if out else [])])
    again += " --no-token" if no_token else ""
    # Asked before the study is resolved, which takes torch and seconds.
    server = open_job_server(address, token=not no_token)
    running = find_running(server, loaded.config.name, place)
    if stop:
        _stop(server, running, loaded.config.name, place)
        return
    if running is not None and not follow:
        raise already_running(running, place)
    if running is not None:
        job = running.name
        line(f"{job} runs already, into {place}")
    else:
        resolved = resolve(loaded)
        submission = Submission(
            study=resolved,
            files=study_files(resolved, include=include or []),
            out=place,
            install_pins=install_pins,
            any_versions=any_versions,
            retry_failed=retry_failed,
            cpus=entrypoint_cpus,
        )
        job, staged = submit_job(server, submission)
        line(f"{job}: {staged.files} files, {staged.size_bytes / 1e6:.1f} MB, batchlaw {staged.packaged.version}")
        line(f"results: {place}")
    if not follow:
        line(f"progress: batchlaw status {place}")
        line(f"output: {again} --follow")
        line(f"end it: {again} --stop")
        return
    _follow(server, job)


def _follow(server: JobServer, job: str) -> None:
    try:
        ended = server.follow(job, line)
    except KeyboardInterrupt:
        line(f"batchlaw: {job} goes on; the same command shows it again, --stop ends it", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if ended.status == "SUCCEEDED":
        return
    if ended.status == "STOPPED":
        line(f"batchlaw: {job} was stopped; what is stored stays, and a new submission goes on with the rest", err=True)
        raise typer.Exit(INTERRUPTED)
    if ended.exit_code is None:  # it never ran: the log says nothing of why
        line(f"batchlaw: {job} failed: {' '.join(ended.message.split())}", err=True)
    raise typer.Exit(ended.exit_code or 1)


def _stop(server: JobServer, running: Job | None, name: str, place: str) -> None:
    from .errors import ConfigError

    if running is None:
        raise ConfigError(
            f"{server.address}: no job of the study {name} into {place} runs there, so none can be stopped"
        )
    job = server.stop(running.name)
    if not job.ended:
        raise ConfigError(
            f"{server.address}: {job.name} was asked to stop, but is still {job.status.lower()}; ask again"
        )
    line(f"{job.name} has ended ({job.status.lower()}); what is stored in {place} stays")
