#!/usr/bin/env python3
"""The referee: ResNetSwift and its peers on the same weights, checked against each other, then measured in turns.

    python3 bench/compare.py --models resnet18,resnet50 --batch 1,8,32 --threads 1,2 --peers all

Makes a virtual environment for the peers on first use, builds `resnet` in release, prepares the models, checks logits,
measures, and writes bench/results/NAME.json, .md and .png. See bench/README.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers import AVX2_CAPABLE, REGISTRY  # noqa: E402
from referee import environment  # noqa: E402
from referee.ours import OursError  # noqa: E402

MODELS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def listed(kind, allowed=None):
    def parse(text):
        if allowed and text == "all":
            return list(allowed)
        values = [kind(part) for part in text.split(",") if part]
        for value in values:
            if allowed and value not in allowed:
                raise argparse.ArgumentTypeError(f"{value!r} is not one of {', '.join(allowed)}")
            if kind is int and value < 1:
                raise argparse.ArgumentTypeError(f"{value} is not positive")
        if not values:
            raise argparse.ArgumentTypeError("empty list")
        return values

    return parse


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=listed(str, MODELS), default=["resnet18", "resnet50"], help="all, or a list")
    parser.add_argument("--batch", type=listed(int), default=[1, 8, 32])
    parser.add_argument("--threads", type=listed(int), default=[len(os.sched_getaffinity(0))])
    parser.add_argument(
        "--peers",
        type=listed(str, tuple(REGISTRY)),
        default=list(REGISTRY),
        help="all, or a list of " + ", ".join(REGISTRY),
    )
    parser.add_argument(
        "--isa", choices=("auto", "avx2"), default="auto", help="avx2 holds us and those peers that can be held to AVX2"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns each one gets per cell")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a turn")
    parser.add_argument(
        "--start-models",
        type=lambda text: [] if text == "none" else listed(str, MODELS)(text),
        default=["resnet50"],
        help="models whose start and memory are measured: all, none, or a list",
    )
    parser.add_argument("--start-repeats", type=int, default=5)
    parser.add_argument("--out", default=str(environment.BENCH / "results" / "compare"), help="path without extension")
    parser.add_argument("--venv", default=str(environment.CACHE / "peers"), help="the peers' virtual environment")
    parser.add_argument(
        "--cache", default=str(environment.CACHE / "bench"), help="prepared models, build products, the peers' log"
    )
    parser.add_argument("--resnet", help="the resnet program to measure; without it a release build is made")
    parser.add_argument("--no-ours", action="store_true", help="measure the peers alone")
    parser.add_argument("--render", metavar="JSON", help="only write the table and the plots of an earlier run")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds <= 0 or arguments.start_repeats < 1:
        parser.error("--rounds, --seconds and --start-repeats must be positive")
    cores = len(os.sched_getaffinity(0))
    if max(arguments.threads) > cores:
        parser.error(f"--threads {max(arguments.threads)} asks for more than the {cores} cores there are")
    if max(arguments.batch) > 32:
        parser.error("--batch goes up to 32: that many pictures are prepared")
    return arguments


class Run:
    """What all cells share."""

    def __init__(self, arguments, program):
        from referee import machine
        from referee.ours import Ours

        self.venv, self.isa = arguments.venv, arguments.isa
        self.rounds, self.seconds = arguments.rounds, arguments.seconds
        self.peers = [key for key in arguments.peers if self.isa != "avx2" or key in AVX2_CAPABLE]
        self.cache = Path(arguments.cache)
        self.cache.mkdir(parents=True, exist_ok=True)
        self.log = str(self.cache / "peers.log")
        self.roofline = machine.build_roofline(self.cache / "build")
        self.ours = Ours(program, self.isa) if program else None
        self.say = say

    def folder(self, model):
        return self.cache / "models" / model

    def macs(self, model):
        return json.loads((self.folder(model) / "meta.json").read_text())["macs"]

    def prepare(self, models):
        from referee.checkpoints import is_ready

        for model in models:
            if is_ready(self.folder(model)):
                continue
            say(f"preparing {model} for all peers in {self.folder(model)}")
            with open(self.log, "ab") as log:
                done = subprocess.run(
                    [sys.executable, "-m", "referee.checkpoints", model, self.folder(model)],
                    cwd=environment.BENCH,
                    stdout=log,
                    stderr=log,
                )
            if done.returncode:
                raise SystemExit(f"error: {model} could not be prepared; see {self.log}")


def write(result, out):
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".json.partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(out.with_name(out.name + ".json"))


def render(result, out):
    from referee import plot, report

    Path(f"{out}.md").write_text(report.markdown(result, Path(out).name))
    for path in plot.draw(result, out):
        say(f"wrote {path}")
    say(f"wrote {out}.json and {out}.md")


def main():
    arguments = parse()
    versions = environment.ensure(arguments.venv, say)
    if Path(sys.prefix).resolve() != Path(arguments.venv).resolve():
        python = str(environment.python_of(arguments.venv))
        os.execv(python, [python, "-B", *sys.argv])
    if arguments.render:
        render(json.loads(Path(arguments.render).read_text()), arguments.render.removesuffix(".json"))
        return

    from referee import machine, ours
    from referee.starts import start_and_memory
    from referee.turns import Cell
    from referee.workers import find_jemalloc

    program = None if arguments.no_ours else Path(arguments.resnet or ours.build(say)).resolve()
    run = Run(arguments, program)
    if not find_jemalloc():
        say("no jemalloc found (Debian: libjemalloc2): PyTorch gets glibc's malloc, with huge pages and no trimming")
    run.prepare(dict.fromkeys(arguments.models + arguments.start_models))
    settings = {"rounds": run.rounds, "seconds": run.seconds, "isa": run.isa, "jemalloc": bool(find_jemalloc())}
    result = {
        "format": 1,
        "machine": machine.describe(),
        "versions": versions,
        "settings": settings,
        "cells": [],
        "starts": [],
    }
    for threads in arguments.threads:
        for model in arguments.models:
            for batch in arguments.batch:
                result["cells"].append(Cell(run, model, batch, threads).execute())
                write(result, arguments.out)
    for model in arguments.start_models:
        for batch in sorted({1, *arguments.batch}):
            say(f"{model}, batch {batch}: start to first result and memory, fresh processes")
            repeats = arguments.start_repeats if batch == 1 else 1
            result["starts"].append(start_and_memory(run, model, batch, max(arguments.threads), repeats))
            write(result, arguments.out)
    render(result, arguments.out)


if __name__ == "__main__":
    try:
        main()
    except OursError as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit("interrupted; what was finished is in the JSON file")
