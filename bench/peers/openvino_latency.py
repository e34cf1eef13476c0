"""OpenVINO with the latency hint: one stream over all threads, precision pinned to f32.

Without the pin OpenVINO computes in bf16 by itself on CPUs that have it. Its Python package reports usage statistics
when imported; a module that cannot be imported in their place turns that off.
"""

import sys

sys.modules["openvino_telemetry"] = None

import openvino as ov  # noqa: E402

from peers.base import Peer, as_logits  # noqa: E402


class OpenVinoLatency(Peer):
    def config(self, job):
        return {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}

    def load(self, job):
        self.batch = job["batch"]
        core = ov.Core()
        model = core.read_model(f"{job['folder']}/openvino.xml")
        model.reshape([self.batch, 3, job["size"], job["size"]])
        config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": job["threads"], **self.config(job)}
        self.compiled = core.compile_model(model, "CPU", config)
        precision = self.compiled.get_property("INFERENCE_PRECISION_HINT")
        if precision != ov.Type.f32:
            raise RuntimeError(f"OpenVINO runs in {precision}, not in f32")
        self.prepare(job)

    def prepare(self, job):
        self.request = self.compiled.create_infer_request()
        self.pictures = self.request.get_input_tensor()

    def set_input(self, pictures):
        self.pictures.data[...] = pictures

    def run(self):
        self.request.infer()

    def logits(self):
        return as_logits(self.request.get_output_tensor().data, self.batch)

    def note(self):
        streams = self.compiled.get_property("NUM_STREAMS")
        threads = self.compiled.get_property("INFERENCE_NUM_THREADS")
        needs = str(self.compiled.get_property("RUNTIME_REQUIREMENTS"))
        isa = needs.split("isa=")[-1].split(";")[0]
        return f"f32, {streams} stream(s), {threads} thread(s), {isa}"
