#!/usr/bin/env python3
"""Shared cores: how much slower everybody gets when other programs want the same cores.

    python3 bench/shared_cores.py --models resnet18,resnet50 --batch 1 --peers onnxruntime,openvino --rounds 5

Runs 0, 1 and 2 spinning processes, each pinned to a core of its own, and with each number of them measures
everybody in turns: ours on all cores and on one, and the peers. Small networks are measured too, ours alone: the peers'
files are made for the referee's networks only. Writes OUT.json and OUT.md. A slowdown compares medians over rounds of
the mean time of a run: under competition runs fall into fast and slow ones, and a median run tells of one kind only.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers import REGISTRY  # noqa: E402
from referee import checkpoints, command, machine  # noqa: E402
from referee.networks import NETWORKS  # noqa: E402

LOADS = (0, 1, 2)
SMALL = {"cifar_resnet14": 8, "cifar_resnet20": 1}  # batch sizes
SPIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


@contextlib.contextmanager
def spinning(count):
    """So many processes of ordinary priority that do nothing but compute, a core each."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    busy = [subprocess.Popen([sys.executable, "-c", SPIN, str(core)]) for core in cores]
    try:
        time.sleep(0.2 if busy else 0)
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def parse():
    options = command.parser(__doc__, "shared-cores", tuple(REGISTRY), rounds=5, seconds=0.6)
    options.add_argument("--models", type=command.listed(tuple(NETWORKS)), default=["resnet18", "resnet50"])
    options.add_argument(
        "--batch", type=command.counts(checkpoints.PICTURES, "the pictures prepared"), default=[1]
    )
    return options.parse_args()


def mean_of_ours(answer):
    """Milliseconds a batch over the whole turn."""
    return answer["batch"] / answer["images_per_s"] * 1e3 if "images_per_s" in answer else answer["median_ms"]


def measure(say, title, ways, rounds):
    """ways: {name: function that returns milliseconds}. In turns, under each load."""
    row = {"title": title, "ways": {name: {} for name in ways}}
    for load in LOADS:
        times = {name: [] for name in ways}
        with spinning(load):
            for _ in range(rounds):
                for name, run in ways.items():
                    times[name].append(run())
        for name, values in times.items():
            row["ways"][name][str(load)] = {"ms": statistics.median(values), "rounds": values}
        say(f"  {title}, {load} spinning: " + ", ".join(f"{k} {statistics.median(v):.2f} ms" for k, v in times.items()))
    for way in row["ways"].values():
        for load in way.values():
            load["slowdown"] = load["ms"] / way["0"]["ms"]
    return row


def small_network(run, name, batch):
    words = ["--model", name]
    cores = len(os.sched_getaffinity(0))

    def ours(threads):
        return lambda: mean_of_ours(run.ours.time(words, batch, threads, run.seconds))

    return measure(
        run.say, f"{name}, batch {batch}", {f"ours, {cores} threads": ours(cores), "ours, 1 thread": ours(1)}, run.rounds
    )


def network(run, name, batch):
    from referee.inference import InferenceCell

    cores = len(os.sched_getaffinity(0))

    class Shared(InferenceCell):
        def measure(self):
            def peer(key):
                def turn():
                    times = self.workers[key].ask({"do": "measure", "seconds": run.seconds}, 60 + 60 * run.seconds)
                    return statistics.fmean(times["times"])

                return turn

            def ours(threads):
                return lambda: mean_of_ours(run.ours.time(self.words, batch, threads, run.seconds))

            ways = {f"ours, {cores} threads": ours(cores), "ours, 1 thread": ours(1)} if run.ours else {}
            ways.update({self.entries[key]["title"]: peer(key) for key in self.workers})
            self.row = measure(run.say, f"{name}, batch {batch}", ways, run.rounds)
            return [machine.roofline(run.roofline, cores, 0.2)]

        def execute(self):
            run.say(f"{name}, batch {batch}: loading and checking")
            try:
                self.load()
                self.measure()
            finally:
                for worker in self.workers.values():
                    worker.close()
                for left in self.scratch.iterdir():
                    left.unlink()
                self.scratch.rmdir()
            return self.row

    return Shared(run, name, batch, cores).execute()


def markdown(result, name):
    lines = [f"# {name}", "", "Slowdown with one and with two spinning processes, each pinned to a core.", ""]
    lines += [f"Machine: {result['machine'].get('cpu', '')}. {result['settings']['rounds']} rounds of "
              f"{result['settings']['seconds']} s each.", ""]
    lines += ["| | | alone, ms | 1 spinning | 2 spinning |", "| --- | --- | ---: | ---: | ---: |"]
    for row in result["cells"]:
        for way, loads in row["ways"].items():
            slow = [f"{loads[str(load)]['slowdown']:.2f}" for load in LOADS[1:]]
            lines.append(f"| {row['title']} | {way} | {loads['0']['ms']:.2f} | {slow[0]} | {slow[1]} |")
    return "\n".join(lines) + "\n"


def main():
    arguments = parse()
    if arguments.render:
        result, out = json.loads(Path(arguments.render).read_text()), arguments.render.removesuffix(".json")
        return command.render(result, out, markdown, lambda *_: [])
    versions = command.enter(arguments)
    run = command.Run(arguments, versions, arguments.peers)
    for model in arguments.models:
        checkpoints_are_ready(run, model)
    if run.ours:
        for name, batch in SMALL.items():
            run.add("cells", small_network(run, name, batch))
    for name in arguments.models:
        for batch in arguments.batch:
            run.add("cells", network(run, name, batch))
    command.render(run.result, run.out, markdown, lambda *_: [])


def checkpoints_are_ready(run, model):
    from compare import prepare

    prepare(run, [model])


if __name__ == "__main__":
    command.guarded(main)
