#!/usr/bin/env python3
"""PyTorch, ONNX Runtime, scikit-learn and the package resnetswift in one process: the same logits, and nobody slows another down.

    make wheel; pip install .build/wheel/*.whl; python3 bench/one_process.py [--model resnet18] [--batch 8] [--threads 2]

Processes that have imported one library, or all of them in one order or another, wait at the same time; each in its turn runs one
library's work for a moment. A library's slowdown is the median, over the rounds, of its time in a process with the others to that in
a process of its own in the same round. The others have been used before, so their threads are there. It needs torch, torchvision,
onnx, onnxscript, onnxruntime, scikit-learn and some minutes on a quiet machine.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ORDERS = ["ours", "torch", "onnxruntime", "sklearn", "ours,sklearn,onnxruntime,torch", "torch,onnxruntime,sklearn,ours"]


def works(order, folder, threads):
    """By library: a function that computes once, and returns logits if it has some. Imported in this order."""
    made = {}
    for name in order.split(","):
        if name == "ours":
            import resnetswift as rs

            net = rs.load(f"{folder}/net.safetensors", threads=threads, batch=32)
            made[name] = lambda x: net.predict(x)
        elif name == "torch":
            import torch

            torch.set_num_threads(threads)
            script = torch.jit.freeze(torch.jit.load(f"{folder}/net.pt").eval())

            def run(x):
                with torch.inference_mode():
                    return script(torch.from_numpy(x)).numpy()

            made[name] = run
        elif name == "onnxruntime":
            import onnxruntime

            chosen = onnxruntime.SessionOptions()
            chosen.intra_op_num_threads = threads
            # Its threads spin for a while after each run otherwise, on cores that the others need.
            chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
            session = onnxruntime.InferenceSession(f"{folder}/net.onnx", chosen, providers=["CPUExecutionProvider"])
            made[name] = lambda x: session.run(None, {"x": x})[0]
        else:
            import numpy as np
            from sklearn.cluster import KMeans

            points = np.random.default_rng(1).standard_normal((20000, 32)).astype(np.float32)
            made[name] = lambda x: KMeans(16, n_init=1, max_iter=5, tol=0, random_state=1).fit(points) and None
    return made


def child(order, folder, threads):
    """Does what standard input asks for, a line a request."""
    import numpy as np

    made = works(order, folder, threads)
    x = np.load(f"{folder}/x.npy")
    logits = {name: work(x) for name, work in made.items()}
    for name, values in logits.items():
        if values is not None:
            np.save(f"{folder}/{order}-{name}.npy", values)
    print("ready", flush=True)
    for line in sys.stdin:
        name, seconds = line.split()
        made[name](x)
        times, end = [], time.perf_counter() + float(seconds)
        while time.perf_counter() < end:
            begin = time.perf_counter()
            made[name](x)
            times.append(time.perf_counter() - begin)
        print(json.dumps(statistics.median(times)), flush=True)


def write_network(options, folder):
    import numpy as np
    import torch
    import torchvision
    from safetensors.torch import save_file

    torch.manual_seed(1)
    net = getattr(torchvision.models, options.model)().eval()
    x = np.random.default_rng(1).standard_normal((options.batch, 3, 224, 224), np.float32)
    with torch.no_grad():
        # Statistics of real activations, so that logits are of ordinary size.
        net.train()
        for _ in range(20):
            net(torch.randn(8, 3, 96, 96))
        net.eval()
        save_file(net.state_dict(), f"{folder}/net.safetensors")
        torch.jit.trace(net, torch.from_numpy(x)).save(f"{folder}/net.pt")
        torch.onnx.export(net, (torch.from_numpy(x),), f"{folder}/net.onnx", input_names=["x"], dynamo=False)
        np.save(f"{folder}/wanted.npy", net.double()(torch.from_numpy(x).double()).numpy())
    np.save(f"{folder}/x.npy", x)


def check_logits(folder, order):
    import numpy as np

    wanted = np.load(f"{folder}/wanted.npy")
    scale = np.abs(wanted).max()
    errors = {}
    for name in order.split(","):
        path = f"{folder}/{order}-{name}.npy"
        if os.path.exists(path):
            errors[name] = float(np.abs(np.load(path) - wanted).max() / scale)
    return errors


def ask(process, name, seconds):
    process.stdin.write(f"{name} {seconds}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    time.sleep(0.05)  # threads that spin go to sleep
    return json.loads(answer)


def main():
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a turn")
    parser.add_argument("--folder", help="keeps the networks there for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or name
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(f"{folder}/x.npy"):
            write_network(options, folder)
        environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
        children = {}
        for order in ORDERS:
            children[order] = subprocess.Popen(
                [sys.executable, __file__, "--child", order, folder, str(options.threads)], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            if children[order].stdout.readline() != "ready\n":
                sys.exit(f"{order}: the process failed")
        libraries = [order for order in ORDERS if "," not in order]
        together = [order for order in ORDERS if "," in order]
        times = {}
        for _ in range(options.rounds):
            for library in libraries:
                for order in [library, *together]:
                    times.setdefault((library, order), []).append(ask(children[order], library, options.seconds))
        print(f"{options.model}, batch {options.batch}, {options.threads} threads each; medians of {options.rounds} rounds\n")
        print("| | pictures a second | largest error of a logit | slowdown " + " | slowdown ".join(together) + " |")
        print("| --- " * (3 + len(together)) + "|")
        errors = check_logits(folder, together[0])
        for library in libraries:
            alone = times[library, library]
            rate = f"{options.batch / statistics.median(times[library, together[0]]):.1f}" if library in errors else ""
            ratios = [statistics.median(b / a for a, b in zip(alone, times[library, order])) for order in together]
            error = f"{errors[library]:.1e}" if library in errors else ""
            print(f"| {library} | {rate} | {error} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
        for process in children.values():
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    main()
