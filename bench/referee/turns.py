"""One cell of a table: everybody loaded and checked, then measured in turns, A B C A B C.

`Cell` has the turns; inference.py and training.py say how a peer is loaded and checked.
"""

import statistics
import tempfile
from pathlib import Path

import peers
from referee import machine
from referee.ours import Ours, OursError
from referee.workers import Worker, WorkerError

ROOFLINE_SECONDS = 0.2


class Cell:
    def __init__(self, run, name, batch, threads):
        self.run, self.name, self.batch, self.threads = run, name, batch, threads
        self.workers = {}
        self.entries = {}
        self.left_out = []
        self.scratch = Path(tempfile.mkdtemp(prefix="resnetswift-bench-"))

    def load(self):
        """Starts a worker for each peer, checks it, and makes an entry for everybody who passes."""
        raise NotImplementedError

    def measure_ours(self, seconds):
        """What `resnet time --json` says."""
        raise NotImplementedError

    def multiply_adds(self):
        """Per image; None if it is not counted."""
        return None

    def start(self, key):
        self.workers[key] = Worker(key, self.run.venv, self.threads, self.run.isa, self.run.log)
        return self.workers[key]

    def enter(self, key, title, **facts):
        self.entries[key] = {"title": title, "note": "", **facts, "rounds": []}

    def leave_out(self, key, why):
        self.run.say(f"  {peers.title(key)} is left out: {why}")
        self.left_out.append({"peer": key, "why": str(why)})
        if key in self.workers:
            self.workers.pop(key).close()
        self.entries.pop(key, None)

    def turn_of_ours(self, seconds):
        answer = self.measure_ours(seconds)
        if answer["batch"] != self.batch or answer["threads"] != self.threads:
            raise OursError(f"asked for batch {self.batch} on {self.threads} threads, got {answer}")
        if self.run.isa == "avx2" and answer["isa"] != "avx2":
            raise OursError(f"asked for avx2, ran {answer['isa']}")
        self.entries[Ours.key]["note"] = f"{answer['isa']}, {answer['dtype']}"
        return {name: answer[name] for name in ("median_ms", "min_ms", "samples", "peak_rss_mib")}

    def measure_peer(self, key, seconds):
        reply = self.workers[key].ask({"do": "measure", "seconds": seconds}, 60 + 60 * seconds)
        times = reply["times"]
        return {
            "median_ms": statistics.median(times),
            "min_ms": min(times),
            "samples": len(times),
            "peak_rss_mib": reply["peak_rss_mib"],
            "quiet_s": reply["quiet_s"],
        }

    def turn(self, key, seconds):
        active = [self.workers[key].process.pid] if key in self.workers else []
        waiting = [worker.process.pid for name, worker in self.workers.items() if name != key]
        watch = machine.Watch(waiting, active)
        result = self.turn_of_ours(seconds) if key == Ours.key else self.measure_peer(key, seconds)
        result["cores_used"] = watch.stop()
        return result

    def last_rate(self, key):
        entry = self.entries[key]
        return f"{entry['title']} {self.batch / entry['rounds'][-1]['median_ms'] * 1e3:.1f}"

    def measure(self):
        """A B C A B C ...: every round measures the roofline and gives each one turn."""
        rooflines = []
        order = list(self.entries)
        for number in range(self.run.rounds):
            rooflines.append(machine.roofline(self.run.roofline, self.threads, ROOFLINE_SECONDS))
            for key in list(order):
                try:
                    self.entries[key]["rounds"].append(self.turn(key, self.run.seconds))
                except WorkerError as failure:
                    order.remove(key)
                    self.leave_out(key, failure)
            self.run.say(f"  round {number + 1}/{self.run.rounds}: {', '.join(map(self.last_rate, order))} images/s")
        return rooflines

    def execute(self):
        self.run.say(f"{self.name}, batch {self.batch}, {self.threads} thread(s): loading and checking")
        try:
            self.load()
            rooflines = self.measure()
        finally:
            for worker in self.workers.values():
                worker.close()
            for left in self.scratch.iterdir():
                left.unlink()
            self.scratch.rmdir()
        cell = {
            "model": self.name,
            "batch": self.batch,
            "threads": self.threads,
            "macs": self.multiply_adds(),
            "rooflines": rooflines,
            "peers": self.entries,
            "left_out": self.left_out,
        }
        return summarize(cell, self.run.isa)


def summarize(cell, isa):
    """Adds medians over rounds, minima, the best peer and the ratios to a cell's raw rounds."""
    cell["peak_gflops"] = max(machine.peak_of(line, isa) for line in cell["rooflines"])
    cell["read_gb_s"] = statistics.median(line["read_gb_s"] for line in cell["rooflines"])
    for entry in cell["peers"].values():
        rounds = entry["rounds"]
        entry["median_ms"] = statistics.median(r["median_ms"] for r in rounds)
        entry["min_ms"] = min(r["min_ms"] for r in rounds)
        entry["images_per_s"] = cell["batch"] / entry["median_ms"] * 1e3
        if cell["macs"]:
            entry["of_peak"] = entry["images_per_s"] * cell["macs"] * 2e-9 / cell["peak_gflops"]
    others = {key: entry for key, entry in cell["peers"].items() if key != Ours.key}
    ours = cell["peers"].get(Ours.key)
    if others:
        best = min(others, key=lambda key: others[key]["median_ms"])
        cell["best_peer"] = best
        if ours:
            cell["ratio"] = others[best]["median_ms"] / ours["median_ms"]
            cell["ratio_of_minima"] = min(e["min_ms"] for e in others.values()) / ours["min_ms"]
            cell["ratio_by_round"] = [
                min(e["rounds"][i]["median_ms"] for e in others.values()) / r["median_ms"]
                for i, r in enumerate(ours["rounds"])
            ]
    return cell
