"""What ``plan --address`` says of a cluster, and what a cluster on this machine can't have. No Ray is started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from results import ResultStore
from study import cluster
from study.capacity import GIB, Node, capacity
from study.capacity_display import at_once, node_table, room_in_words
from study.cli import app
from study.design import Design
from study.folder import stored_outcomes
from study.loading import load_study
from study.planning import plan, plan_summary
from study.resolve import resolve
from study.resources import Resources

from .studies import Study, row

NODES = [
    Node(name="head", has={"CPU": 4.0, "memory": 8.0 * GIB, "object_store_memory": 1e9, "node:10.0.0.1": 1.0}),
    Node(name="node-1", has={"CPU": 16.0, "GPU": 2.0, "memory": 96.0 * GIB, "a100": 2.0, "node:10.0.0.2": 1.0}),
]


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Stand in for a cluster of ``NODES``; return the addresses that were asked for."""
    addresses: list[str | None] = []

    @contextlib.contextmanager
    def join(resources: Resources, *, address: str | None) -> Iterator[Path]:
        addresses.append(address)
        yield Path()

    monkeypatch.setattr(cluster, "cluster", join)
    monkeypatch.setattr(cluster, "nodes", lambda: NODES)
    return addresses


def planned(study: Study, *options: str, **resources: object) -> Result:
    path = study.write(resources=resources)
    return CliRunner().invoke(app, ["plan", str(path), "--out", str(study.folder / "out"), *options])


def test_plan_shows_the_nodes_and_what_fits_on_them(study: Study, joined: list[str | None]) -> None:
    result = planned(study, "--address", "10.0.0.1:6379", gpus_per_worker=0.5, custom={"a100": 0.5})
    assert result.exit_code == 0, result.output
    assert joined == ["10.0.0.1:6379"]
    cells = [line.split() for line in result.stdout.splitlines()]
    assert ["node", "CPU", "GPU", "memory", "custom", "workers"] in cells
    assert ["head", "4", "0", "8", "GiB", "0"] in cells
    assert ["node-1", "16", "2", "96", "GiB", "2", "a100", "4"] in cells
    assert result.stdout.splitlines()[-1] == "4 workers at a time"


def test_plan_without_an_address_asks_no_cluster(study: Study, joined: list[str | None]) -> None:
    result = planned(study)
    assert result.exit_code == 0, result.output
    assert joined == []
    assert "workers" not in result.stdout


def test_plan_shows_the_nodes_also_where_nothing_fits(study: Study, joined: list[str | None]) -> None:
    result = planned(study, "--address", "auto", gpus_per_worker=4)
    assert result.exit_code == 2
    assert "node-1" in result.stdout
    assert result.stderr.splitlines() == [
        "batchlaw: resources: a worker needs 1 CPU, 4 GPU, but no node has them: head has 4 CPU; "
        "node-1 has 16 CPU, 2 GPU; change resources, or add a node that has them"
    ]
    assert joined == ["auto"]


def test_the_table_fits_a_terminal_and_long_or_odd_names_neither_break_nor_steer_it() -> None:
    odd = Node(
        name="[red]ip-10-0-12-34[/red]\x1b[2J.eu-central-1.compute.internal", has={**NODES[1].has, "b\x1b[2J": 1.0}
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(node_table([*NODES, odd], capacity(Resources(), [*NODES, odd])))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "[red]" in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "20 workers at a time"),
        ({"cpus_per_worker": 16}, "1 worker at a time"),
        ({"workers": 6}, "3 crews of 6 workers at a time"),
        ({"workers": 20}, "1 crew of 20 workers at a time"),
        ({"max_concurrent": 3}, "3 workers at a time (resources.max_concurrent; 20 fit)"),
        ({"max_concurrent": 30}, "20 workers at a time"),
    ],
)
def test_what_runs_at_a_time_in_words(asked: dict[str, int], words: str) -> None:
    resources = Resources.model_validate(asked)
    found = capacity(resources, NODES)
    assert room_in_words(resources, found) == words
    assert words.startswith(at_once(resources, found.at_once))


def test_the_time_of_a_plan_is_shared_by_what_runs_at_a_time(study: Study) -> None:
    resolved = resolve(load_study(study.write()))
    design = Design(resolved.config)
    trials = design.trials({})
    # Half of the trials are stored, of both batch sizes: 38 steps of 10 s, and 20 s to set one up.
    stored = {
        t.trial_id: {
            **row(t, steps=10.0),
            "steps": 38,
            "train_seconds": 380.0,
            "evaluate_seconds": 0.0,
            "setup_seconds": 20.0,
        }
        for t in trials
        if t.spec.seed == 0
    }
    rows = plan(resolved, design, stored)
    assert [each.missing for each in rows] == [2, 2]
    trial = 20.0 + 40 * 10.0
    one = f"about {4 * trial / 60:.0f} min of one worker's time, judged by stored trials"
    assert plan_summary(rows, extendable=False).endswith(one)
    assert plan_summary(rows, extendable=False, places=2).endswith(f"{one}, so about {2 * trial / 60:.0f} min here")
    # However many places there are, a trial takes what it takes.
    assert plan_summary(rows, extendable=False, places=99).endswith(f"{one}, so about {trial / 60:.0f} min here")


def test_custom_resources_are_refused_where_no_cluster_is_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_start", lambda *_: pytest.fail("Ray was started"))
    path = study.write(resources={"custom": {"a100": 1.0}})
    result = CliRunner().invoke(app, ["run", str(path), "--out", str(study.folder / "out"), "--quiet"])
    assert result.exit_code == 2, result.output
    assert result.stderr.splitlines() == [
        "batchlaw: resources: custom ones are what a cluster was started with, but a cluster started here has no a100; "
        "join one that has it with --address, or leave custom out"
    ]
    assert stored_outcomes(ResultStore(study.folder / "out")) == {}


def test_a_cluster_started_here_holds_a_crew_and_what_ray_finds_by_itself_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray

    started = []
    monkeypatch.setattr(ray, "init", lambda **settings: started.append(settings["num_cpus"]))
    monkeypatch.setattr(cluster, "core_count", lambda: 2)
    asked = {"workers": 3, "cpus_per_worker": 2, "custom": {"accelerator_type:H100": 0.001}}
    for bound in (None, 2):
        resources = Resources.model_validate({**asked, "max_concurrent": bound})
        cluster._check_custom(resources)
        cluster._start(resources, tmp_path)
    cluster._start(Resources(), tmp_path)
    assert started == [6, 12, 2]


def test_nodes_are_named_by_host_and_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def entry(host: str, node_id: str, *, alive: bool = True) -> dict[str, object]:
        return {"NodeManagerHostname": host, "NodeID": node_id, "Alive": alive, "Resources": {"CPU": 1.0}}

    table = [entry("b", "0f" * 28), entry("b", "a1" * 28), entry("a", "c2" * 28), entry("a", "d3" * 28, alive=False)]
    monkeypatch.setattr(ray, "nodes", lambda: table)
    assert [node.name for node in cluster.nodes()] == ["a", "b/0f0f0f", "b/a1a1a1"]
