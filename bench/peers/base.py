"""What every peer can do: load a network, take pictures, run, give logits.

A job is a dict:
    model, batch, threads       what to run
    size, classes               pictures are (3, size, size); logits a picture
    folder                      the prepared model (see referee/checkpoints.py for the files in it)
    isa                         "auto" or "avx2"
    start                       True when only the way from process start to the first result counts: no trials
"""

import time

import numpy as np


class Peer:
    def load(self, job):
        """Prepares the network for pictures of (batch, 3, size, size) float32."""
        raise NotImplementedError

    def set_input(self, pictures):
        """Copies NCHW float32 pictures to where `run` reads them. Not timed."""
        raise NotImplementedError

    def run(self):
        """One batch. Timed; the input is in place and the output stays with the peer."""
        raise NotImplementedError

    def logits(self):
        """The last result as (batch, classes) float32. Not timed."""
        raise NotImplementedError

    def note(self):
        """How it runs: settings that were chosen or read back. For the record."""
        return ""

    def measure(self, seconds):
        """Milliseconds per batch, one number a run. Two runs first, uncounted: others had the caches in between."""
        for _ in range(2):
            self.run()
        times = []
        end = time.perf_counter() + seconds
        while True:
            start = time.perf_counter()
            self.run()
            now = time.perf_counter()
            times.append((now - start) * 1e3)
            if now >= end and len(times) >= 3:
                return times


def best_of(candidates, trial_seconds=1.0):
    """The (name, run) whose fastest run is fastest, tried in turns so that drift meets all alike."""
    fastest = {name: float("inf") for name, _ in candidates}
    for _, run in candidates:
        run()
        run()
    end = time.perf_counter() + trial_seconds * len(candidates)
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for name, run in candidates:
            start = time.perf_counter()
            run()
            fastest[name] = min(fastest[name], time.perf_counter() - start)
        rounds += 1
    return min(candidates, key=lambda candidate: fastest[candidate[0]])


def as_logits(array, batch):
    return np.ascontiguousarray(np.asarray(array, dtype=np.float32).reshape(batch, -1))
