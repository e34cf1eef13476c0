"""What the two commands share: options, the switch into the peers' environment, the run, writing results."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from referee import environment, machine, ours
from referee.workers import find_jemalloc


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def listed(allowed):
    """An option's type: names with commas between, or "all"."""

    def parse(text):
        if text == "all":
            return list(allowed)
        values = [part for part in text.split(",") if part]
        for value in values:
            if value not in allowed:
                raise argparse.ArgumentTypeError(f"{value!r} is not one of {', '.join(allowed)}")
        if not values:
            raise argparse.ArgumentTypeError("the list is empty")
        return values

    return parse


def counts(most, of):
    """An option's type: whole numbers from 1 to `most` with commas between."""

    def parse(text):
        try:
            values = [int(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers") from None
        for value in values:
            if not 1 <= value <= most:
                raise argparse.ArgumentTypeError(f"{value} is not in 1...{most}: {of}")
        return values

    return parse


def positive(kind):
    def parse(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not positive")
        return value

    return parse


def parser(text, name, peers, rounds, seconds):
    """The options that both commands have."""
    options = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0))
    add = options.add_argument
    add("--threads", type=counts(cores, "the cores there are"), default=[cores], help="thread counts")
    add("--peers", type=listed(peers), default=list(peers), help="all, or a list of " + ", ".join(peers))
    add("--isa", choices=("auto", "avx2"), default="auto", help="avx2: held to AVX2, those peers that can be")
    add("--rounds", type=positive(int), default=rounds, help="turns each one gets per cell")
    add("--seconds", type=positive(float), default=seconds, help="length of a turn")
    add("--out", default=str(environment.BENCH / "results" / name), help="path of the results, without extension")
    add("--venv", default=str(environment.CACHE / "peers"), help="the peers' virtual environment")
    add("--cache", default=str(environment.CACHE / "bench"), help="prepared models, build products, the peers' log")
    add("--resnet", metavar="PROGRAM", help="the resnet to measure; without it a release build is made")
    add("--no-ours", action="store_true", help="measure the peers alone")
    add("--render", metavar="JSON", help="only write the table and the plots of an earlier run")
    return options


def enter(arguments):
    """Makes the environment if needed and goes on in its Python; returns the versions in it."""
    found = environment.ensure(arguments.venv, say)
    if Path(sys.prefix).resolve() != Path(arguments.venv).resolve():
        python = str(environment.python_of(arguments.venv))
        os.execv(python, [python, "-B", *sys.argv])
    return found


class Run:
    """What all cells share, and the result that grows with them."""

    def __init__(self, arguments, versions, peers):
        self.venv, self.isa, self.out = arguments.venv, arguments.isa, Path(arguments.out)
        self.rounds, self.seconds = arguments.rounds, arguments.seconds
        self.peers, self.say = peers, say
        self.cache = Path(arguments.cache)
        self.cache.mkdir(parents=True, exist_ok=True)
        self.log = str(self.cache / "peers.log")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self.cache / "inductor")
        self.roofline = machine.build_roofline(self.cache / "build")
        program = None if arguments.no_ours else Path(arguments.resnet or ours.build(say)).resolve()
        self.ours = ours.Ours(program, self.isa) if program else None
        jemalloc = bool(find_jemalloc())
        if not jemalloc:
            say(
                "no jemalloc found (Debian: libjemalloc2): PyTorch gets glibc's malloc, with huge pages and no trimming"
            )
        self.result = {
            "format": 1,
            "machine": machine.describe(),
            "versions": versions,
            "settings": {"rounds": self.rounds, "seconds": self.seconds, "isa": self.isa, "jemalloc": jemalloc},
            "cells": [],
            "starts": [],
        }

    def folder(self, model):
        return self.cache / "models" / model

    def macs(self, model):
        return json.loads((self.folder(model) / "meta.json").read_text())["macs"]

    def add(self, part, value):
        """Appends to the result and writes it, whole or not at all."""
        self.result[part].append(value)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        partial = self.out.with_name(self.out.name + ".json.partial")
        partial.write_text(json.dumps(self.result, indent=1) + "\n")
        partial.replace(self.out.with_name(self.out.name + ".json"))


def render(result, out, markdown, draw):
    """Writes OUT.md and the plots."""
    Path(f"{out}.md").write_text(markdown(result, Path(out).name))
    for path in [f"{out}.md", *draw(result, out)]:
        say(f"wrote {path}")


def guarded(main):
    try:
        main()
    except ours.OursError as failure:
        sys.exit(f"error: {failure}")
    except KeyboardInterrupt:
        sys.exit("interrupted; what was finished is in the JSON file")
