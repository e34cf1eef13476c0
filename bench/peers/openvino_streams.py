"""OpenVINO with the throughput hint and as many streams as threads: each stream computes a batch of its own on a core.

This buys throughput with latency, so it stands in a column of its own. A time is the interval between finished batches.
"""

import time

from peers.base import as_logits
from peers.openvino_latency import OpenVinoLatency


class OpenVinoStreams(OpenVinoLatency):
    def config(self, job):
        return {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(job["threads"])}

    def prepare(self, job):
        self.streams = int(str(self.compiled.get_property("NUM_STREAMS")))
        self.requests = [self.compiled.create_infer_request() for _ in range(self.streams)]

    def set_input(self, pictures):
        for request in self.requests:
            request.get_input_tensor().data[...] = pictures

    def run(self):
        for request in self.requests:
            request.start_async()
        for request in self.requests:
            request.wait()

    def logits(self):
        return as_logits(self.requests[-1].get_output_tensor().data, self.batch)

    def measure(self, seconds):
        """Keeps every stream busy; milliseconds a batch, averaged over one batch of each stream."""
        self.run()
        self.run()
        finished = []
        for request in self.requests:
            request.start_async()
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds or len(finished) < 4 * self.streams:
            for request in self.requests:
                request.wait()
                finished.append(time.perf_counter())
                request.start_async()
        for request in self.requests:
            request.wait()
        n = self.streams
        return [(finished[i + n] - finished[i]) / n * 1e3 for i in range(0, len(finished) - n, n)]
