"""Start to first result and peak memory: a fresh process each time, everybody in turns."""

import statistics
import tempfile
from pathlib import Path

import peers
from referee.logits import TOLERANCE, error_of, input_of
from referee.networks import NETWORKS
from referee.ours import Ours
from referee.workers import WorkerError, run_once


def start_and_memory(run, model, batch, threads, repeats):
    """Fresh processes in turns: seconds from process start to written logits, and peak RSS."""
    folder = run.folder(model)
    network = NETWORKS[model]
    job = {"model": model, "batch": batch, "threads": threads, "folder": str(folder), "isa": run.isa}
    job |= {"size": network.size, "classes": network.classes}
    source, words = input_of(folder, batch), Ours.words_for(model, folder / "weights.safetensors")
    entries = {}
    keys = [key for key in run.peers if key not in peers.NEEDS_THREADS]
    with tempfile.TemporaryDirectory(prefix="resnetswift-bench-") as scratch:
        target = str(Path(scratch) / "logits.npy")
        for number in range(repeats + 1):  # the first round warms page cache and compiler caches and is not counted
            for key in ([Ours.key] if run.ours else []) + keys:
                if key in entries and entries[key] is None:
                    continue
                Path(target).unlink(missing_ok=True)
                try:
                    if key == Ours.key:
                        seconds, rss = run.ours.once(words, source, target, batch, threads)
                    else:
                        seconds, rss = run_once(key, run.venv, job, source, target)
                    if error_of(folder, batch, target) > TOLERANCE:
                        raise WorkerError("wrong logits")
                except WorkerError as failure:
                    run.say(f"  {key} is left out of the starts: {failure}")
                    entries[key] = None
                    continue
                if number:
                    entry = entries.setdefault(
                        key, {"title": Ours.title if key == Ours.key else peers.title(key), "seconds": [], "rss": []}
                    )
                    entry["seconds"].append(seconds)
                    entry["rss"].append(rss)
    entries = {key: entry for key, entry in entries.items() if entry}
    for entry in entries.values():
        entry["median_s"], entry["min_s"] = statistics.median(entry["seconds"]), min(entry["seconds"])
        entry["peak_rss_mib"] = statistics.median(entry["rss"])
    return {"model": model, "batch": batch, "threads": threads, "peers": entries}
