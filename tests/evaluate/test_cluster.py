"""Jobs over two Ray nodes: the rows of local processes, a killed worker replaced, and what cannot be done said."""

import os
import signal
import sys
import threading
import time

import psutil
import pytest

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster

from nanopilot.cli import main
from nanopilot.evaluate import cluster, suite
from nanopilot.evaluate.suite import Ray, Suite

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no node can import a test


def squares(job):
    (trace := open(job["trace"], "a")).write(f"{job['seed']} {os.getpid()} {ray.get_runtime_context().get_node_id()}\n")
    trace.close()
    time.sleep(0.5)
    if job["seed"] == 4:
        raise RuntimeError("no map")
    if job["seed"] == 5:
        os._exit(9)
    return {"success": job["seed"] % 2 == 0, "mean_speed": float(job["seed"] ** 2), "reason": os.path.basename(os.getcwd())}


def succeeds(job):
    return {"success": True}


@pytest.fixture(scope="module")
def two_nodes():
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def test_two_nodes_do_every_job_once_though_a_worker_is_killed(two_nodes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trace, path = tmp_path / "trace", tmp_path / "toy.json"
    killed: list[str] = []

    def kill_the_first() -> None:
        while not (trace.exists() and trace.read_text().endswith("\n")):
            time.sleep(0.02)
        seed, pid, _ = trace.read_text().splitlines()[0].split()
        os.kill(int(pid), signal.SIGKILL)
        killed.append(seed)

    killer = threading.Thread(target=kill_the_first, daemon=True)
    killer.start()
    jobs = [{"seed": k, "trace": str(trace)} for k in range(6)]
    report = suite.run(Suite("toy", squares, ("success",), ("mean_speed",)), jobs, Ray(two_nodes.address), path)
    killer.join(10)
    tried = [line.split()[0] for line in trace.read_text().splitlines()]
    assert tried.count(killed[0]) == 2  # its job was done again
    assert tried.count("5") == cluster.TRIES  # and this one gave up
    assert len({line.split()[2] for line in trace.read_text().splitlines()}) == 2  # both nodes worked
    rows = report.rows
    assert [row["job"]["seed"] for row in rows] == list(range(6))
    assert [row.get("mean_speed") for row in rows] == [0.0, 1.0, 4.0, 9.0, None, None]
    assert rows[0]["reason"] == tmp_path.name  # relative paths mean this folder there, too
    assert rows[4]["error"] == "RuntimeError: no map" and "WorkerCrashed" in rows[5]["error"]
    assert len(path.with_suffix(".rows.jsonl").read_text().splitlines()) == 6  # nothing twice
    assert report.summary["success"] == 2 / 6 and report.summary["errors"] == 2


def test_a_node_at_ansucceeds_is_named(two_nodes, monkeypatch):
    monkeypatch.setattr(cluster, "this_commit", lambda: "not this one")
    report = suite.run(Suite("toy", succeeds, ("success",), ()), [{"seed": 0}], Ray(two_nodes.address))
    assert "not not this one" in report.rows[0]["error"] and report.summary["success"] == 0


def test_a_cluster_of_this_machine_ends_with_the_run():
    before = set(psutil.Process().children(recursive=True))
    report = suite.run(Suite("toy", succeeds, ("success",), ()), [{"seed": 0}, {"seed": 1}], Ray(workers=2))
    assert report.summary["success"] == 1.0
    time.sleep(1.0)
    assert not [p for p in set(psutil.Process().children(recursive=True)) - before if p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    "given, said", [(["127.0.0.1:1"], "no Ray cluster at 127.0.0.1:1"), (["here"], "host:port"), (["a:1", "b:2"], "one address, not 2")]
)
def test_no_cluster_is_one_clear_line(capsys, given, said):
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "minute", "--seeds", "3", "--ray", *given])
    assert end.value.code == 2 and said in capsys.readouterr().err
