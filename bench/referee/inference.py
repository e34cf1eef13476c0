"""A cell of the inference table: a network, a batch size, a thread count; everybody's logits checked first."""

import peers
from referee.logits import TOLERANCE, error_of, input_of
from referee.networks import NETWORKS
from referee.ours import Ours
from referee.turns import Cell
from referee.workers import LOAD_SECONDS, WorkerError


class InferenceCell(Cell):
    def __init__(self, run, name, batch, threads):
        super().__init__(run, name, batch, threads)
        self.folder = run.folder(name)
        self.words = Ours.words_for(name, self.folder / "weights.safetensors")

    def multiply_adds(self):
        return self.run.macs(self.name)

    def job(self):
        return {
            "model": self.name,
            "batch": self.batch,
            "threads": self.threads,
            "size": NETWORKS[self.name].size,
            "classes": NETWORKS[self.name].classes,
            "folder": str(self.folder),
            "isa": self.run.isa,
        }

    def wanted(self, key):
        if self.threads == 1 and key in peers.NEEDS_THREADS:
            return False
        return not (self.batch == 1 and key in peers.NEEDS_BATCH)

    def load_peer(self, key):
        worker = self.start(key)
        output = str(self.scratch / f"{key}.npy")
        try:
            note = worker.ask({"do": "load", "job": self.job()}, LOAD_SECONDS)["note"]
            worker.ask({"do": "check", "input": str(self.folder / "input.npy"), "output": output}, 300)
            error = error_of(self.folder, self.batch, output)
        except (WorkerError, ValueError) as failure:
            return self.leave_out(key, failure)
        if error > TOLERANCE:
            return self.leave_out(key, f"its logits are off by {error:.1e} of the largest: not true fp32")
        self.enter(key, worker.title, note=note, logit_error=error)

    def load_ours(self):
        output = self.scratch / "ours.npy"
        self.run.ours.predict(self.words, input_of(self.folder, self.batch), output, self.batch, self.threads)
        error = error_of(self.folder, self.batch, output)
        if error > TOLERANCE:
            raise SystemExit(f"error: our logits for {self.name} are off by {error:.1e} of the largest: not measured")
        self.enter(Ours.key, Ours.title, logit_error=error)

    def load(self):
        if self.run.ours:
            self.load_ours()
        for key in filter(self.wanted, self.run.peers):
            self.load_peer(key)

    def measure_ours(self, seconds):
        return self.run.ours.time(self.words, self.batch, self.threads, seconds)
