"""Training and evaluation: the program's trainer as a child process, with progress for Python."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from typing import Any, Callable

import numpy as np

from . import _native, _tool
from .network import Network


class StopTraining(Exception):
    """Raised in a callback, it ends the training: the batch is finished, everything is saved, and ``train`` returns."""


class Evaluation:
    """Scores of a network on pictures whose classes are known."""

    def __init__(self, values: dict[str, Any]):
        #: Everything, as the program's JSON has it.
        self.values = values
        #: The mean of the loss.
        self.loss: float = values["loss"]
        #: Part of the pictures whose most probable class is right; of several labels a picture, part of the right labels.
        self.top1: float | None = values["top1"]
        #: The mean of the classes' F1.
        self.macro_f1: float = values["macro_f1"]
        #: For each class: class, precision, recall, f1, samples, threshold.
        self.classes: list[dict[str, Any]] = values["classes"]
        rows = values["confusion"]
        #: (actual, predicted) counts; ``None`` for several labels a picture.
        self.confusion: np.ndarray | None = None if rows is None else np.array(rows)
        #: Why pictures were left out.
        self.skipped: list[str] = values["skipped"]

    def __repr__(self) -> str:
        top1 = "" if self.top1 is None else f", top-1 {self.top1:.4f}"
        return f"<Evaluation loss {self.loss:.4f}{top1}, macro F1 {self.macro_f1:.4f}>"


class TrainingRun:
    """What a training has left in its folder."""

    def __init__(self, folder: str | os.PathLike, evaluation: Evaluation | None = None, is_finished: bool = True):
        #: Where the files are.
        self.folder = pathlib.Path(folder)
        #: Of the best weights on what was held out; ``None`` if nothing was.
        self.evaluation = evaluation
        #: False where a callback stopped it; ``train(..., resume=True)`` goes on.
        self.is_finished = is_finished

    @property
    def weights(self) -> pathlib.Path:
        """The weights of the best epoch, or the last ones if no epoch was finished."""
        best = self.folder / "best.safetensors"
        return best if best.exists() else self.folder / "last.safetensors"

    @property
    def history(self) -> list[dict[str, Any]]:
        """For each epoch: epoch (from 1), lr, train and val (loss, top1, topk, f1), skipped, seconds."""
        return _history(self.folder)

    def load(self, **options: Any) -> Network:
        """The trained network."""
        return Network(self.weights, **options)

    def __repr__(self) -> str:
        return f"<TrainingRun {str(self.folder)!r}, {len(self.history)} epochs, {self.evaluation}>"


def train(
    data: str | os.PathLike, *, weights: str | os.PathLike | None = None, model: str | None = None,
    out: str | os.PathLike = "run", epochs: int = 10, lr: float | None = None, batch: int = 32, freeze: str = "none",
    resume: bool = False, overwrite: bool = False, callback: Callable[[dict[str, Any]], Any] | None = None,
    verbose: bool = True, **options: Any,
) -> TrainingRun:
    """Trains a network on pictures with labels.

    :param data: a folder with a folder of pictures for each class, a table .csv (path, label), or arrays .npz.
    :param weights: to start from; random without.
    :param model: such as ``"resnet18"``; told from the weights otherwise.
    :param out: the folder of the run.
    :param freeze: what does not train: ``"none"``, ``"allButHead"``, ``"upTo:layer2"`` and so on.
    :param resume: goes on with the run in the folder.
    :param overwrite: replaces a run in the folder.
    :param callback: is called with a dictionary after each epoch: epoch (from 1), lr, train, val, skipped, seconds. It may
        raise ``StopTraining``.
    :param verbose: shows the program's messages on standard error.
    :param options: all others of ``resnet train``, spelled with underscores: ``optimizer="adamw"``, ``layer_decay=0.5``,
        ``flip=True``, ``crop=(0.5, 1)``. ``python -m resnetswift train --help`` lists them.
    :raises ResNetError: if the data or the options are wrong.

    Ctrl-C finishes the batch, saves, and raises ``KeyboardInterrupt``.
    """
    words = ["train", "--json", *_tool.arguments({
        "weights": weights, "model": model, "out": out, "epochs": epochs, "lr": lr, "batch": batch, "freeze": freeze,
        "resume": resume, "overwrite": overwrite, **options}), "--", os.fspath(data)]
    # A history that is there already is an earlier run's, or the part of this one that is not news.
    told = [_epochs(out) if resume else 0, _stamp(out)]

    def poll() -> None:
        if callback is None or _stamp(out) == told[1]:
            return
        told[1] = _stamp(out)
        for record in _history(out)[told[0]:]:
            told[0] += 1
            callback(record)

    try:
        text, _ = _tool.run(words, verbose=verbose, poll=poll, may_skip=True)
    except StopTraining:
        return TrainingRun(out, is_finished=False)
    return TrainingRun(out, Evaluation(json.loads(text)) if text.strip() else None)


def evaluate(
    data: str | os.PathLike, weights: str | os.PathLike | Network | TrainingRun, *, batch: int = 8,
    verbose: bool = False, **options: Any,
) -> Evaluation:
    """Scores a network on pictures whose classes are known.

    :param data: as for ``train``. Of data in two parts (train and val) the second one is used.
    :param weights: a file, a network with its options, or a run.
    :param options: all others of ``resnet evaluate``: ``held_out=True, seed=1`` takes the part that ``train`` held out.
    :raises ResNetError: if data and network do not fit.
    """
    if isinstance(weights, TrainingRun):
        weights = weights.weights
    with tempfile.TemporaryDirectory() as folder:
        chosen = {"weights": weights} if not isinstance(weights, Network) else {
            **weights._program_options(), "transform": weights._transform_option(folder), "tta": weights.tta,
            "accuracy": "strict" if weights._options["strict"] else None}
        words = [
            "evaluate", "--json", *_tool.arguments({**chosen, "batch": batch, **options}), "--", os.fspath(data)]
        return Evaluation(json.loads(_tool.run(words, verbose=verbose, may_skip=True)[0]))


def _history(folder: str | os.PathLike) -> list[dict[str, Any]]:
    # The file is replaced whole after each epoch, so it is never half written.
    try:
        return [json.loads(line) for line in (pathlib.Path(folder) / "history.jsonl").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _epochs(folder: str | os.PathLike) -> int:
    return len(_history(folder))


def _stamp(folder: str | os.PathLike) -> tuple[int, int] | None:
    try:
        about = os.stat(pathlib.Path(folder) / "history.jsonl")
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_mtime_ns
