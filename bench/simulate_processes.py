"""What a training step takes with 2 to 1,024 processes at 1, 10 and 100 Gbit/s: computed from a step and an exchange that are
measured on this machine.

    python3 bench/simulate_processes.py [--model resnet50] [--batch 32] [--threads 0] [--overlap 0.64] [--plot docs/scaling.svg]

Measured: the training step of one process (`resnet time --train`), and the exchange of gradients by two processes of Open MPI on this
machine, by the library that `resnet train` uses (libresnet_mpi.so), for several sizes; a straight line through them gives seconds a
call and seconds a byte (memory and adding, no network). Not measured: networks. Their latency is --latency, their speed is
nominal, every link is full duplex and free of others. --overlap is the part of the exchange that runs beside the backward pass,
as bench/network.py measured it with two processes; 0 is what --no-overlap does.

Of B bytes in buckets of 25 Mi floats, each process sends and receives 2 (P - 1) / P B bytes in 2 (P - 1) messages a bucket:

    exchange = buckets (call + 2 (P - 1) latency) + 2 (P - 1) / P B (1 / speed + seconds a byte)
    step     = compute + exchange - min(overlap exchange, two thirds of compute)

Each process keeps its batch, so the batch of all grows with P. Needs NumPy, mpirun and the tool; --plot needs matplotlib.
"""

import argparse
import ctypes
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np

BUCKET = 25 << 20  # floats, as in MPIProcesses.swift
PROCESSES = [2**k for k in range(1, 11)]
GIGABITS = [1, 10, 100]
SIZES = [1 << 16, 1 << 20, 1 << 22, 1 << 24]  # floats
BACKWARD = 2 / 3  # of a step's compute: two of three products


def exchange_worker(library):
    """Under mpirun: seconds of an exchange of each size, medians, as JSON from process 0."""
    mpi = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    rank, size = ctypes.c_int32(), ctypes.c_int32()
    if mpi.resnet_mpi_start(ctypes.byref(rank), ctypes.byref(size)):
        sys.exit("MPI does not start")
    floats = ctypes.POINTER(ctypes.c_float)
    medians = []
    for count in SIZES:
        vector, received = np.ones(count, np.float32), np.empty(count, np.float32)
        lengths = (ctypes.c_int32 * size.value)(*[count // size.value] * size.value)
        own = slice(count // size.value * rank.value, count // size.value * (rank.value + 1))
        pointer, target = vector.ctypes.data_as(floats), received.ctypes.data_as(floats)
        seconds = []
        for _ in range(9):
            start = time.perf_counter()
            mpi.resnet_mpi_scatter(pointer, lengths, target)
            np.add.reduce(received.reshape(size.value, -1), axis=0, out=vector[own])
            mpi.resnet_mpi_collect(pointer, lengths)
            seconds.append(time.perf_counter() - start)
        medians.append(float(np.median(seconds[1:])))
    mpi.resnet_mpi_stop()
    if rank.value == 0:
        print(json.dumps(medians))


def measured_exchange(library):
    """Seconds a call and seconds a byte sent, between two processes of this machine."""
    environment = {
        **os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1",
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    result = subprocess.run(
        ["mpirun", "-n", "2", "--bind-to", "none", sys.executable, __file__, "--exchange-worker", library],
        env=environment, capture_output=True, text=True, check=True)
    seconds = np.array(json.loads(result.stdout.strip().splitlines()[-1]))
    sent = 4 * np.array(SIZES)  # 2 (P - 1) / P of the bytes, for two processes all of them
    # Relative errors count alike, so that small exchanges fix the seconds a call.
    system = np.stack([np.ones(len(SIZES)), sent], 1) / seconds[:, None]
    call, byte = np.linalg.lstsq(system, np.ones(len(SIZES)), rcond=None)[0]
    return max(call, 0.0), max(byte, 0.0), seconds.tolist()


def measured_step(tool, model, batch, threads):
    words = [tool, "time", "--model", model, "--train", "--batch", str(batch), "--threads", str(threads), "--seconds", "15", "--json"]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)["median_ms"] / 1000


def parameters(tool, model):
    text = subprocess.run([tool, "summary", model], capture_output=True, text=True, check=True).stdout
    line = next(line for line in text.splitlines() if line.startswith("Parameters"))
    return int(re.search("[0-9,]*[0-9]", line).group().replace(",", ""))


def simulate(facts, processes, gigabits):
    """Bytes and messages a process, seconds of the exchange and of the step."""
    total, p = 4 * facts["parameters"], processes
    buckets = math.ceil(facts["parameters"] / BUCKET)
    sent, messages = 2 * (p - 1) / p * total, 2 * (p - 1) * buckets
    exchange = buckets * facts["call"] + messages * facts["latency"] + sent * (8 / (gigabits * 1e9) + facts["byte"])
    hidden = min(facts["overlap"] * exchange, BACKWARD * facts["step"])
    return {"bytes": sent, "messages": messages, "exchange": exchange, "step": facts["step"] + exchange - hidden}


def table(facts):
    lines = ["| processes | MB sent | messages | step at 1 / 10 / 100 Gbit/s, s | efficiency |", "| ---: | ---: | ---: | ---: | ---: |"]
    for p in PROCESSES:
        found = [simulate(facts, p, g) for g in GIGABITS]
        steps = " / ".join(f"{f['step']:.2f}" for f in found)
        parts = " / ".join(f"{facts['step'] / f['step']:.2f}" for f in found)
        lines.append(f"| {p} | {found[0]['bytes'] / 1e6:.0f} | {found[0]['messages']} | {steps} | {parts} |")
    return "\n".join(lines)


def plot(facts, path):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "resnet", "svg.fonttype": "none", "font.size": 10})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for gigabits, color in zip(GIGABITS, ["#d55e00", "#0072b2", "#009e73"]):
        parts = [facts["step"] / simulate(facts, p, gigabits)["step"] for p in PROCESSES]
        axes.plot(PROCESSES, parts, "o-", color=color, label=f"{gigabits} Gbit/s")
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="processes", ylabel="compute / step")
    axes.set_xticks(PROCESSES, [str(p) for p in PROCESSES])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    if sys.argv[1:2] == ["--exchange-worker"]:
        return exchange_worker(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/release/resnet")
    parser.add_argument("--library", help="libresnet_mpi.so; default: beside the tool")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch", type=int, default=32, help="of a process")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--latency", type=float, default=50e-6, help="seconds of a message on the network")
    parser.add_argument("--overlap", type=float, default=0.64)
    parser.add_argument("--plot", type=pathlib.Path)
    options = parser.parse_args()
    library = options.library or str(pathlib.Path(options.tool).parent / "libresnet_mpi.so")
    call, byte, seconds = measured_exchange(os.path.abspath(library))
    facts = {
        "step": measured_step(options.tool, options.model, options.batch, options.threads),
        "parameters": parameters(options.tool, options.model), "call": call, "byte": byte, "latency": options.latency,
        "overlap": options.overlap}
    print(f"measured: a step of {options.model}, batch {options.batch}: {facts['step']:.3f} s; exchanges between two processes:",
          ", ".join(f"{4 * n / 1e6:.1f} MB {1000 * s:.2f} ms" for n, s in zip(SIZES, seconds)))
    print(f"that is {1e6 * call:.0f} us a call and {1e-9 / byte:.2f} GB/s; latency {1e6 * options.latency:.0f} us, overlap "
          f"{options.overlap:g} (both given)")
    print(table(facts))
    if options.plot:
        plot(facts, options.plot)


if __name__ == "__main__":
    main()
