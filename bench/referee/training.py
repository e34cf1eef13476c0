"""A cell of the training table: one network, one batch size; the ways to train in PyTorch checked against each other.

The first losses of every way, from the same weights and pictures, must agree: the first one closely; those after an
update within a hundredth, since a deep network that has just begun to learn makes much of every rounding (PyTorch's
layouts differ by 2e-6, 3e-3 and 2e-3 in the first three losses of a ResNet-50). Ours starts from weights of its own:
its gradients are held against PyTorch's by the tests, not here.
"""

from referee.ours import Ours
from referee.turns import Cell
from referee.workers import LOAD_SECONDS, Worker, WorkerError

LOSSES = 3
FIRST, LATER = 1e-4, 1e-2  # relative, on the loss before any update and on those after

# name: (model, batch, picture size, what is frozen)
CASES = {
    "resnet18": ("resnet18", 32, 224, "none"),
    "resnet50": ("resnet50", 32, 224, "none"),
    "cifar_resnet20": ("cifar_resnet20", 128, 32, "none"),
    "davit_tiny": ("davit_tiny", 16, 224, "none"),
    "resnet18-frozen": ("resnet18", 32, 224, "allButHead"),
}


class TrainingCell(Cell):
    def __init__(self, run, name, threads):
        self.model, batch, self.size, self.freeze = CASES[name]
        super().__init__(run, name, batch, threads)

    def job(self):
        return {
            "model": self.model,
            "batch": self.batch,
            "threads": self.threads,
            "size": self.size,
            "freeze": self.freeze,
            "isa": self.run.isa,
        }

    def load(self):
        if self.run.ours:
            self.enter(Ours.key, Ours.title)
        first = None
        for key in self.run.peers:
            worker = self.start(key)
            try:
                note = worker.ask({"do": "load", "job": self.job()}, LOAD_SECONDS)["note"]
                losses = worker.ask({"do": "losses", "steps": LOSSES}, LOAD_SECONDS)["losses"]
            except WorkerError as failure:
                self.leave_out(key, failure)
                continue
            first = first or losses
            allowed = [FIRST] + [LATER] * (LOSSES - 1)
            if any(not abs(a - b) <= t * abs(b) for a, b, t in zip(losses, first, allowed, strict=True)):
                self.leave_out(key, f"its losses {losses} are not {first}")
                continue
            self.enter(key, worker.title, note=note, losses=losses)

    def measure_ours(self, seconds):
        words = ["--train", "--model", self.model]
        if self.freeze != "none":
            words += ["--freeze", self.freeze]
        return self.run.ours.time(words, self.batch, self.threads, seconds)

    def memory(self):
        """Peak RSS in MiB of fresh processes that take a few steps; plain malloc."""
        entries = {}
        if self.run.ours:
            entries[Ours.key] = {"title": Ours.title, "peak_rss_mib": self.measure_ours(1)["peak_rss_mib"]}
        for key in self.run.peers:
            worker = Worker(key, self.run.venv, self.threads, self.run.isa, self.run.log, malloc=False)
            try:
                worker.ask({"do": "load", "job": self.job()}, LOAD_SECONDS)
                rss = worker.ask({"do": "measure", "seconds": 1}, LOAD_SECONDS)["peak_rss_mib"]
                entries[key] = {"title": worker.title, "peak_rss_mib": rss}
            except WorkerError as failure:
                self.run.say(f"  {key} is left out of the memory table: {failure}")
            finally:
                worker.close()
        return {"model": self.name, "batch": self.batch, "threads": self.threads, "peers": entries}
