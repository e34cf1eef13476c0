#!/usr/bin/env python3
"""int8 beside OpenVINO (NNCF) and ONNX Runtime (QDQ): the same random weights, quantized by everybody's own tool.

    python3 bench/compare_int8.py prepare --tool .build/release/resnet --folder FOLDER     makes all files, some minutes
    python3 bench/compare_int8.py run --tool .build/release/resnet --folder FOLDER         short turns, one process each

Weights are torchvision's first ones with batch-norm statistics of random pictures, so that activations keep a range; the
pictures are smooth noise. `run` prints milliseconds a batch (median and fastest of all runs) and the ratio to the best peer.
"""
import argparse, json, os, subprocess, sys, time

NETWORKS = ["resnet18", "resnet50"]
PICTURES = 32


def pictures(folder):
    import numpy as np
    from PIL import Image

    os.makedirs(f"{folder}/pictures", exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(PICTURES):
        small = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        big = Image.fromarray(small).resize((224, 224), Image.BICUBIC)
        noise = rng.normal(0, 12, (224, 224, 3))
        Image.fromarray(np.clip(np.asarray(big) + noise, 0, 255).astype(np.uint8)).save(f"{folder}/pictures/{i:03}.png")


def inputs(folder):
    import numpy as np
    from PIL import Image

    x = np.stack([np.asarray(Image.open(f"{folder}/pictures/{i:03}.png")) for i in range(PICTURES)]).astype(np.float32)
    x = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).astype(np.float32)


def prepare(folder, tool, names, batches):
    import nncf, numpy as np, openvino, torch, torchvision
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static
    from safetensors.torch import save_file

    pictures(folder)
    x = inputs(folder)
    for name in names:
        torch.manual_seed(0)
        model = getattr(torchvision.models, name)(weights=None)
        for m in model.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.momentum = None
        model.train()
        with torch.no_grad():
            for i in range(0, PICTURES, 8):
                model(torch.from_numpy(x[i : i + 8]))
        model.eval()
        save_file(model.state_dict(), f"{folder}/{name}.safetensors")
        for batch in batches:
            torch.onnx.export(
                model, torch.from_numpy(x[:batch]), f"{folder}/{name}-{batch}.onnx", input_names=["x"],
                output_names=["y"], opset_version=17, dynamo=False)

            class Reader(CalibrationDataReader):
                def __init__(self):
                    self.rows = iter(range(0, PICTURES - batch + 1, batch))

                def get_next(self):
                    i = next(self.rows, None)
                    return None if i is None else {"x": x[i : i + batch]}

            quant_pre_process(f"{folder}/{name}-{batch}.onnx", f"{folder}/{name}-{batch}-pre.onnx")
            # On CPUs without VNNI signed weights are turned to unsigned ones, with exact sums: x64quantprecision.
            for kind, weight, reduce in (("u8s8", QuantType.QInt8, False), ("u8s7", QuantType.QInt8, True), ("u8u8", QuantType.QUInt8, False)):
                quantize_static(
                    f"{folder}/{name}-{batch}-pre.onnx", f"{folder}/{name}-{batch}-{kind}.onnx", Reader(),
                    quant_format=QuantFormat.QDQ, per_channel=weight == QuantType.QInt8, reduce_range=reduce,
                    activation_type=QuantType.QUInt8, weight_type=weight)
            core = openvino.Core()
            floats = core.read_model(f"{folder}/{name}-{batch}.onnx")
            data = nncf.Dataset([x[i : i + batch] for i in range(0, PICTURES - batch + 1, batch)])
            openvino.save_model(nncf.quantize(floats, data, subset_size=PICTURES), f"{folder}/{name}-{batch}-nncf.xml")
        subprocess.run(
            [tool, "quantize", f"{folder}/{name}.safetensors", "--calibrate", f"{folder}/pictures", "--out",
             f"{folder}/{name}-int8.safetensors"], check=True)


def worker(engine, path, batch, threads, folder):
    """Reads seconds from stdin, answers with the times of the runs in them."""
    import numpy as np

    x = inputs(folder)[:batch]
    if engine.startswith("openvino"):
        import openvino, openvino.properties as props, openvino.properties.hint as hint

        core = openvino.Core()
        config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        request = core.compile_model(core.read_model(path), "CPU", config).create_infer_request()
        request.set_input_tensor(openvino.Tensor(x))
        once = request.infer
    else:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_output("y")
        once = lambda: session.run_with_iobinding(binding)
    for _ in range(3):
        once()
    print("ready", flush=True)
    for line in sys.stdin:
        until = time.perf_counter() + float(line)
        once()
        times = []
        while time.perf_counter() < until or len(times) < 3:
            start = time.perf_counter()
            once()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


def run(folder, tool, threads, rounds, seconds, names, batches):
    for name in names:
        for batch in batches:
            files = {
                "openvino fp32": f"{folder}/{name}-{batch}.onnx", "openvino int8": f"{folder}/{name}-{batch}-nncf.xml",
                "onnxruntime fp32": f"{folder}/{name}-{batch}.onnx", "onnxruntime u8s8": f"{folder}/{name}-{batch}-u8s8.onnx",
                "onnxruntime u8s7": f"{folder}/{name}-{batch}-u8s7.onnx", "onnxruntime u8u8": f"{folder}/{name}-{batch}-u8u8.onnx",
            }
            workers = {
                engine: subprocess.Popen(
                    [sys.executable, __file__, "worker", engine, path, str(batch), str(threads), folder],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                for engine, path in files.items()
            }
            for w in workers.values():
                assert w.stdout.readline().strip() == "ready"
            times = {engine: [] for engine in list(workers) + ["ours fp32", "ours int8"]}
            for _ in range(rounds):
                for engine, w in workers.items():
                    w.stdin.write(f"{seconds}\n"), w.stdin.flush()
                    times[engine] += [(min(t), sorted(t)[len(t) // 2]) for t in [json.loads(w.stdout.readline())]]
                    time.sleep(0.02)
                for engine, file in (("ours fp32", name), ("ours int8", f"{name}-int8")):
                    text = subprocess.run(
                        [tool, "time", "--weights", f"{folder}/{file}.safetensors", "--batch", str(batch), "--threads",
                         str(threads), "--seconds", str(seconds), "--json"], capture_output=True, text=True, check=True).stdout
                    found = json.loads(text)
                    times[engine].append((found["min_ms"] / 1e3, found["median_ms"] / 1e3))
            for w in workers.values():
                w.stdin.close(), w.wait()
            rows = {e: (1e3 * min(a for a, _ in t), 1e3 * sorted(b for _, b in t)[len(t) // 2]) for e, t in times.items()}
            peers = [r for e, r in rows.items() if not e.startswith("ours")]
            best = [min(r[i] for r in peers) for i in (0, 1)]
            print(f"{name} batch {batch}, {threads} threads, ms a batch: fastest, median")
            for engine, row in rows.items():
                note = f"   {best[0] / row[0]:.2f} {best[1] / row[1]:.2f} of the best peer" if engine == "ours int8" else ""
                print(f"  {engine:17} {row[0]:8.2f} {row[1]:8.2f}{note}", flush=True)


def main():
    if sys.argv[1] == "worker":
        return worker(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "run"])
    parser.add_argument("--tool", default=".build/release/resnet")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--batches", default="1,8")
    a = parser.parse_args()
    names, batches = a.networks.split(","), [int(b) for b in a.batches.split(",")]
    if a.what == "prepare":
        os.makedirs(a.folder, exist_ok=True)
        prepare(a.folder, a.tool, names, batches)
    else:
        run(a.folder, a.tool, a.threads, a.rounds, a.seconds, names, batches)


main()
