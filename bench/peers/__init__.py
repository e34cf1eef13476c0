"""The peers: one module each, all with the interface of `base.Peer`.

A peer is named on the command line by its key here. Modules import their library only when a worker loads them, so
listing the peers costs nothing.
"""

from importlib import import_module

# key: (module, class, title in tables)
REGISTRY = {
    "pytorch": ("pytorch_eager", "PyTorchEager", "PyTorch"),
    "compile": ("pytorch_compiled", "PyTorchCompiled", "torch.compile"),
    "onnxruntime": ("onnx_runtime", "OnnxRuntime", "ONNX Runtime"),
    "openvino": ("openvino_latency", "OpenVinoLatency", "OpenVINO"),
    "openvino-streams": ("openvino_streams", "OpenVinoStreams", "OpenVINO, a stream a thread"),
    "ncnn": ("ncnn_threads", "NcnnThreads", "ncnn"),
    "ncnn-images": ("ncnn_images", "NcnnImages", "ncnn, an image a thread"),
    "mnn": ("mnn_session", "MnnSession", "MNN"),
}

# Ways to train in PyTorch; compare_training.py's peers.
TRAINING = {
    "eager": ("pytorch_training", "EagerContiguous", "PyTorch"),
    "eager-channels-last": ("pytorch_training", "EagerChannelsLast", "PyTorch, channels_last"),
    "compiled": ("pytorch_training", "CompiledContiguous", "torch.compile"),
    "compiled-channels-last": ("pytorch_training", "CompiledChannelsLast", "torch.compile, channels_last"),
}

# Peers that can be held to AVX2 from outside. The others choose their kernels from CPUID and offer no switch.
AVX2_CAPABLE = ("pytorch", "compile", "openvino", "openvino-streams")

# Peers that differ from another one only when there is more than one thread.
NEEDS_THREADS = ("openvino-streams", "ncnn-images")

# Peers that differ from another one only when there is more than one image.
NEEDS_BATCH = ("ncnn-images",)


def title(key):
    return (REGISTRY | TRAINING)[key][2]


def create(key):
    module, name, _ = (REGISTRY | TRAINING)[key]
    return getattr(import_module(f"peers.{module}"), name)()
