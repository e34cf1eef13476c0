"""A peer from process start to the first result: `python -m peers.once KEY JOB INPUT OUTPUT`.

Loads the network, runs one batch, writes the logits, prints its peak RSS in MiB and leaves at once. The parent times
the whole process.
"""

import json
import os
import sys

import numpy as np

import peers
from peers.worker import peak_rss_mib


def main():
    key, job, source, target = sys.argv[1:5]
    job = json.loads(job)
    channel = os.dup(1)
    os.dup2(2, 1)
    peer = peers.create(key)
    peer.load(job)
    peer.set_input(np.load(source)[: job["batch"]])
    peer.run()
    np.save(target, peer.logits())
    os.write(channel, f"{peak_rss_mib():.1f}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    main()
