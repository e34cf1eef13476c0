#!/usr/bin/env python3
"""Training throughput and memory: ResNetSwift beside PyTorch, eager and compiled, contiguous and channels_last.

    python3 bench/compare_training.py --cases all --peers all

The same machinery as compare.py: one environment, a process for each way, turns, medians. See bench/README.md.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers import TRAINING  # noqa: E402
from referee import command  # noqa: E402
from referee.training import CASES, TrainingCell  # noqa: E402


def parse():
    options = command.parser(__doc__, "training", tuple(TRAINING), rounds=7, seconds=2.0)
    cases = command.listed(tuple(CASES))
    options.add_argument("--cases", type=cases, default=list(CASES), help="all, or a list of " + ", ".join(CASES))
    options.add_argument("--no-memory", action="store_true", help="leave out peak RSS, which takes fresh processes")
    return options.parse_args()


def main():
    arguments = parse()
    versions = command.enter(arguments)
    from referee import plot, report  # matplotlib: only the environment has it

    if arguments.render:
        result = json.loads(Path(arguments.render).read_text())
        out = arguments.render.removesuffix(".json")
        return command.render(result, out, report.training_markdown, plot.draw_training)

    run = command.Run(arguments, versions, arguments.peers)
    for threads in arguments.threads:
        for case in arguments.cases:
            run.add("cells", TrainingCell(run, case, threads).execute())
    if not arguments.no_memory:
        for case in arguments.cases:
            cell = TrainingCell(run, case, max(arguments.threads))
            run.say(f"{case}: peak memory, fresh processes")
            run.add("starts", cell.memory())
    command.render(run.result, run.out, report.training_markdown, plot.draw_training)


if __name__ == "__main__":
    command.guarded(main)
