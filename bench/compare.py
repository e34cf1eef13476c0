#!/usr/bin/env python3
"""The referee: ResNetSwift and its peers on the same weights, checked against each other, then measured in turns.

    python3 bench/compare.py --models resnet18,resnet50 --batch 1,8,32 --threads 1,2 --peers all

Makes a virtual environment for the peers on first use, builds `resnet` in release, prepares the models, checks logits,
measures, and writes bench/results/NAME.json, .md and .png. See bench/README.md.
"""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers import AVX2_CAPABLE, REGISTRY  # noqa: E402
from referee import checkpoints, command, environment  # noqa: E402
from referee.networks import NETWORKS  # noqa: E402


def parse():
    models = command.listed(tuple(NETWORKS))
    options = command.parser(__doc__, "compare", tuple(REGISTRY), rounds=15, seconds=0.4)
    options.add_argument("--models", type=models, default=["resnet18", "resnet50"], help="all, or a list")
    options.add_argument(
        "--batch", type=command.counts(checkpoints.PICTURES, "the pictures prepared"), default=[1, 8, 32]
    )
    options.add_argument(
        "--start-models",
        type=lambda text: [] if text == "none" else models(text),
        default=["resnet50"],
        help="models whose start and memory are measured: all, none, or a list",
    )
    options.add_argument("--start-repeats", type=command.positive(int), default=5)
    return options.parse_args()


def prepare(run, models):
    for model in models:
        folder = run.folder(model)
        if checkpoints.is_ready(folder):
            continue
        run.say(f"preparing {model} for all peers in {folder}")
        with open(run.log, "ab") as log:
            words = [sys.executable, "-m", "referee.checkpoints", model, folder]
            done = subprocess.run(words, cwd=environment.BENCH, stdout=log, stderr=log)
        if done.returncode:
            raise SystemExit(f"error: {model} could not be prepared; see {run.log}")


def main():
    arguments = parse()
    versions = command.enter(arguments)
    from referee import plot, report  # matplotlib: only the environment has it

    if arguments.render:
        result = json.loads(Path(arguments.render).read_text())
        return command.render(result, arguments.render.removesuffix(".json"), report.markdown, plot.draw)

    from referee.inference import InferenceCell
    from referee.starts import start_and_memory

    peers = [key for key in arguments.peers if arguments.isa != "avx2" or key in AVX2_CAPABLE]
    run = command.Run(arguments, versions, peers)
    prepare(run, dict.fromkeys(arguments.models + arguments.start_models))
    for threads in arguments.threads:
        for model in arguments.models:
            for batch in arguments.batch:
                run.add("cells", InferenceCell(run, model, batch, threads).execute())
    for model in arguments.start_models:
        for batch in sorted({1, *arguments.batch}):
            run.say(f"{model}, batch {batch}: start to first result and memory, fresh processes")
            repeats = arguments.start_repeats if batch == 1 else 1
            run.add("starts", start_and_memory(run, model, batch, max(arguments.threads), repeats))
    command.render(run.result, run.out, report.markdown, plot.draw)


if __name__ == "__main__":
    command.guarded(main)
