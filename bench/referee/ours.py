"""ResNetSwift's turn: the `resnet` tool, a fresh process each time."""

import json
import os
import subprocess
import time

from referee.environment import BENCH

ROOT = BENCH.parent


class OursError(Exception):
    pass


# As `make build` does it: the Swift runtime goes into the program.
BUILD = ["swift", "build", "-c", "release", "--static-swift-stdlib", "--product", "resnet"]


def build(say):
    say("building resnet in release")
    done = subprocess.run(BUILD, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise OursError(f"the release build failed\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    return ROOT / ".build" / "release" / "resnet"


class Ours:
    key = "resnetswift"
    title = "ResNetSwift"

    def __init__(self, program, isa):
        self.program = str(program)
        self.isa = isa

    def surroundings(self, threads):
        env = dict(os.environ)
        for name in ("LD_PRELOAD", "GLIBC_TUNABLES", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "CK_ISA"):
            env.pop(name, None)
        env["OMP_NUM_THREADS"] = str(threads)
        if self.isa == "avx2":
            env["CK_ISA"] = "avx2"
        return env

    def call(self, arguments, threads, timeout=900):
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            env=self.surroundings(threads),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode:
            raise OursError(f"resnet {arguments[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout

    @staticmethod
    def words_for(name, weights):
        """The options that name a model: shapes tell a ResNet, but not every network."""
        return ["--model", name, "--weights", weights]

    @staticmethod
    def predict_words(model, source, target, batch, threads):
        words = ["predict", *model, "--input", source, "--output", target]
        return list(map(str, [*words, "--batch", batch, "--threads", threads]))

    def predict(self, model, source, target, batch, threads):
        """`model` as in `words_for`."""
        self.call(self.predict_words(model, source, target, batch, threads), threads)

    def time(self, words, batch, threads, seconds):
        """What `resnet time --json` says: median_ms, min_ms, samples, plan_s, first_result_s, peak_rss_mib, ..."""
        rest = ["--batch", batch, "--threads", threads, "--seconds", seconds, "--json"]
        return json.loads(self.call(["time", *words, *rest], threads))

    def once(self, model, source, target, batch, threads):
        """Process start to written logits and process end: (seconds, peak RSS in MiB)."""
        words = [self.program, *self.predict_words(model, source, target, batch, threads)]
        env = self.surroundings(threads)
        begin = time.perf_counter()
        child = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        message = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise OursError(f"resnet predict failed: {message.decode(errors='replace').strip()[-500:]}")
        return seconds, usage.ru_maxrss / 1024
