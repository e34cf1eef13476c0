"""One cell of the table: a model, a batch size, a thread count; every peer loaded, checked, then measured in turns."""

import statistics
import tempfile
from pathlib import Path

import peers
from referee import machine
from referee.logits import TOLERANCE, error_of, input_of
from referee.ours import Ours
from referee.workers import Worker, WorkerError

LOAD_SECONDS = 1200
ROOFLINE_SECONDS = 0.2


class Cell:
    def __init__(self, run, model, batch, threads):
        self.run, self.model, self.batch, self.threads = run, model, batch, threads
        self.folder = run.folder(model)
        self.workers = {}
        self.entries = {}
        self.left_out = []
        self.scratch = Path(tempfile.mkdtemp(prefix="resnetswift-bench-"))

    def job(self):
        return {
            "model": self.model,
            "batch": self.batch,
            "threads": self.threads,
            "folder": str(self.folder),
            "isa": self.run.isa,
        }

    def leave_out(self, key, why):
        self.run.say(f"  {peers.title(key)} is left out: {why}")
        self.left_out.append({"peer": key, "why": str(why)})
        if key in self.workers:
            self.workers.pop(key).close()
        self.entries.pop(key, None)

    def wanted(self, key):
        if self.threads == 1 and key in peers.NEEDS_THREADS:
            return False
        return not (self.batch == 1 and key in peers.NEEDS_BATCH)

    def load(self):
        for key in filter(self.wanted, self.run.peers):
            worker = Worker(key, self.run.venv, self.threads, self.run.isa, self.run.log)
            self.workers[key] = worker
            try:
                note = worker.ask({"do": "load", "job": self.job()}, LOAD_SECONDS)["note"]
                output = str(self.scratch / f"{key}.npy")
                worker.ask({"do": "check", "input": str(self.folder / "input.npy"), "output": output}, 300)
                error = error_of(self.folder, self.batch, output)
            except (WorkerError, ValueError) as failure:
                self.leave_out(key, failure)
                continue
            if error > TOLERANCE:
                self.leave_out(key, f"its logits are off by {error:.1e} of the largest: not true fp32")
                continue
            self.entries[key] = {"title": worker.title, "note": note, "logit_error": error, "rounds": []}
        if self.run.ours:
            output = self.scratch / "ours.npy"
            self.run.ours.check(
                self.folder / "weights.safetensors", input_of(self.folder, self.batch), output, self.threads
            )
            error = error_of(self.folder, self.batch, output)
            if error > TOLERANCE:
                raise SystemExit(
                    f"error: our logits for {self.model} are off by {error:.1e} of the largest (limit {TOLERANCE:.0e})"
                )
            self.entries[Ours.key] = {"title": Ours.title, "note": "", "logit_error": error, "rounds": []}

    def measure_ours(self, seconds):
        answer = self.run.ours.measure(
            self.model, self.folder / "weights.safetensors", self.batch, self.threads, seconds
        )
        self.entries[Ours.key]["note"] = f"{answer['isa']}, {answer['dtype']}"
        return {
            "median_ms": answer["median_ms"],
            "min_ms": answer["min_ms"],
            "samples": answer["samples"],
            "peak_rss_mib": answer["peak_rss_mib"],
        }

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
        result = self.measure_ours(seconds) if key == Ours.key else self.measure_peer(key, seconds)
        result["cores_used"] = watch.stop()
        return result

    def last_rate(self, key):
        entry = self.entries[key]
        return f"{entry['title']} {self.batch / entry['rounds'][-1]['median_ms'] * 1e3:.1f}"

    def measure(self):
        """A B C A B C ...: every round gives each one turn, ours between the peers, and measures the roofline."""
        rooflines = []
        order = sorted(
            self.entries, key=lambda key: (key != Ours.key, self.run.peers.index(key) if key in self.run.peers else 0)
        )
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
        self.run.say(f"{self.model}, batch {self.batch}, {self.threads} thread(s): loading and checking")
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
            "model": self.model,
            "batch": self.batch,
            "threads": self.threads,
            "macs": self.run.macs(self.model),
            "rooflines": rooflines,
            "peers": self.entries,
            "left_out": self.left_out,
        }
        return summarise(cell, self.run.isa)


def summarise(cell, isa):
    """Adds medians over rounds, minima, the best peer and the ratios to a cell's raw rounds."""
    cell["peak_gflops"] = statistics.median(machine.peak_of(line, isa) for line in cell["rooflines"])
    cell["read_gb_s"] = statistics.median(line["read_gb_s"] for line in cell["rooflines"])
    for entry in cell["peers"].values():
        rounds = entry["rounds"]
        entry["median_ms"] = statistics.median(r["median_ms"] for r in rounds)
        entry["min_ms"] = min(r["min_ms"] for r in rounds)
        entry["images_per_s"] = cell["batch"] / entry["median_ms"] * 1e3
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
