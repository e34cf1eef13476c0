"""A peer in a process of its own: `python -m peers.worker KEY`, one JSON object a line in and out.

    {"do": "load", "job": {...}}                            -> {"note": ...}
    {"do": "check", "input": x.npy, "output": y.npy}        -> {}
    {"do": "losses", "steps": 3}                            -> {"losses": [...]}; training peers only
    {"do": "measure", "seconds": 1.0}                       -> {"times": [ms, ...], "peak_rss_mib": ..., "quiet_s": ...}
    {"do": "quit"}

A failure answers {"error": ...}. A measuring turn ends when the process has gone quiet: some runtimes let their threads
spin for a second after the last run, and the next peer must not pay for that.
"""

import json
import os
import sys
import time
import traceback

import numpy as np

import peers


def peak_rss_mib():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def wait_until_quiet(limit=6.0, window=0.05):
    """Sleeps until the process uses under 2 % of a core; returns the seconds that took."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < limit:
        before = time.process_time()
        time.sleep(window)
        if time.process_time() - before < 0.02 * window:
            break
    return time.perf_counter() - begin


def answer(peer, request):
    action = request["do"]
    if action == "load":
        peer.load(request["job"])
        peer.batch = request["job"]["batch"]
        return {"note": peer.note()}
    if action == "check":
        pictures = np.load(request["input"], mmap_mode="r")[: peer.batch]
        peer.set_input(np.ascontiguousarray(pictures))
        peer.run()
        peer.run()  # a second time: a peer that spoils its own input shows it now
        np.save(request["output"], peer.logits())
        return {"quiet_s": wait_until_quiet()}
    if action == "losses":
        return {"losses": peer.losses(request["steps"]), "quiet_s": wait_until_quiet()}
    if action == "measure":
        times = peer.measure(request["seconds"])
        return {"times": times, "quiet_s": wait_until_quiet(), "peak_rss_mib": peak_rss_mib()}
    raise ValueError(f"unknown request {action!r}")


def main():
    # Libraries print to stdout as they like: the protocol keeps a descriptor of its own, their chatter goes to stderr.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer = peers.create(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            break
        try:
            reply = answer(peer, request)
        except Exception as error:  # the parent decides what a failure means
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        channel.write(json.dumps(reply) + "\n")
    channel.flush()
    os._exit(0)  # some runtimes hang or crash in their teardown; nothing is left to do


if __name__ == "__main__":
    main()
