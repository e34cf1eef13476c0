#!/usr/bin/env python3
"""Step times of training by two processes on a slow link, beside PyTorch's DistributedDataParallel with gloo on the same link.

    make mpi
    sudo python3 bench/network.py --out network.json     (iproute2, Open MPI, NumPy; a C compiler; PyTorch and torchvision if there)

Two network namespaces of one machine stand for two hosts. Between them is a cable of a given rate and delay: `tc ... netem` or,
where the kernel has none, bench/slow_link.c, which takes up to a fifth of a core while data flow. Each process has one core and
one thread. Both engines start from random weights and train on random pictures of the same size, float32, SGD with momentum;
PyTorch has its pictures in memory, ours reads bytes and normalizes them. `alone` is the same work on both cores at once
without any exchange, so what is above it is communication. Cases run in turns; the table has medians.

It needs root, for network namespaces, and two minutes a round in which nothing else runs.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from referee import machine

ROOT = Path(__file__).resolve().parents[1]
SPACES = ("resnet-a", "resnet-b")
ADDRESSES = ("10.213.0.1", "10.213.0.2")
DEVICES = ("slow0", "slow1")


def run(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, text=True, capture_output=True, **options)


def inside(index, *words):
    return ["ip", "netns", "exec", SPACES[index], *[str(word) for word in words]]


class Link:
    """Two namespaces and the cable between them."""

    def __init__(self, megabits, milliseconds, work):
        self.megabits, self.milliseconds, self.work = megabits, milliseconds, work
        self.carrier = None

    def __enter__(self):
        self.__exit__()
        for space in SPACES:
            run("ip", "netns", "add", space)
        if self.has_netem():
            run("ip", "link", "add", DEVICES[0], "netns", SPACES[0], "type", "veth", "peer", "name", DEVICES[1],
                "netns", SPACES[1])
            for index, device in enumerate(DEVICES):
                run(*inside(index, "tc", "qdisc", "add", "dev", device, "root", "netem", "limit", 10000, "rate",
                            f"{self.megabits:g}mbit", "delay", f"{self.milliseconds:g}ms"))
        else:
            program = self.work / "slow_link"
            run("cc", "-O2", "-o", program, ROOT / "bench" / "slow_link.c")
            self.carrier = subprocess.Popen(
                [program, *DEVICES, str(self.megabits), str(self.milliseconds)], stdout=subprocess.PIPE)
            if not self.carrier.stdout.readline():
                sys.exit("bench/slow_link.c does not start")
            for space, device in zip(SPACES, DEVICES):
                run("ip", "link", "set", device, "netns", space)
        for index, (device, address) in enumerate(zip(DEVICES, ADDRESSES)):
            run(*inside(index, "ip", "address", "add", address + "/24", "dev", device))
            run(*inside(index, "ip", "link", "set", "lo", "up"))
            run(*inside(index, "ip", "link", "set", device, "up"))
        return self

    def __exit__(self, *_):
        if self.carrier:
            self.carrier.kill()
            self.carrier.wait()
        for space in SPACES:
            subprocess.run(["ip", "netns", "delete", space], capture_output=True)

    def has_netem(self):
        try:
            run(*inside(0, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"))
            run(*inside(0, "tc", "qdisc", "delete", "dev", "lo", "root"))
            return True
        except (subprocess.CalledProcessError, OSError):
            return False

    def __str__(self):
        how = "bench/slow_link.c" if self.carrier else "netem"
        return f"{self.megabits:g} Mbit/s and {self.milliseconds:g} ms each way ({how})"


def finish(processes):
    """Their output, if all succeeded."""
    outputs = [process.communicate() for process in processes]
    for process, (output, errors) in zip(processes, outputs):
        if process.returncode:
            sys.exit(f"{process.args}: exit code {process.returncode}\n{output}\n{errors}")
    return [output for output, _ in outputs]


def start(index, *words, **options):
    """On core `index`, in namespace `index`."""
    return subprocess.Popen(
        inside(index, "taskset", "-c", index, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options)


class Ours:
    def __init__(self, options, work):
        self.options, self.work = options, work
        # Open MPI starts its daemon on the other host by this, as by ssh; that host has a name of its own.
        self.agent = self.script("agent", f'shift\nexec ip netns exec {SPACES[1]} unshare -u sh -c "hostname {SPACES[1]}; $*"')
        self.pinned = self.script("pinned", 'exec taskset -c $OMPI_COMM_WORLD_RANK "$@"')

    def script(self, name, text):
        path = self.work / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def command(self, data, batch, name, *more):
        o = self.options
        return [o.tool, "train", self.work / data, "--model", o.model, "--batch", batch, "--epochs", 2, "--threads", 1,
                "--workers", 1, "--validation", 0, "--monitor", "loss", "--lr", 0.01, "--seed", 1, "--out",
                self.work / name, "--overwrite", *more]

    def seconds(self, name):
        """Of a step of the second epoch; the first one has what is done once."""
        lines = (self.work / name / "history.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["seconds"] / self.options.steps

    def alone(self):
        finish([start(i, *self.command("half.npz", self.options.shard, f"alone-{i}", "--distributed", "none"))
                for i in range(2)])
        return max(self.seconds(f"alone-{i}") for i in range(2))

    def together(self, *more):
        network = "10.213.0.0/24"
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        words = inside(
            0, "mpirun", "-H", f"{ADDRESSES[0]}:1,{ADDRESSES[1]}:1", "--bind-to", "none", "--mca", "plm_rsh_agent",
            self.agent, "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", network, "--mca",
            "oob_tcp_if_include", network, "-x", f"RESNET_MPI={self.options.library}", self.pinned,
            *self.command("data.npz", 2 * self.options.shard, "together", *more))
        finish([subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)])
        return self.seconds("together")


TORCH = """
import sys, time, torch, torchvision
torch.set_num_threads(1)
rank, shard, steps, size, model, how = *map(int, sys.argv[1:5]), *sys.argv[5:7]
torch.manual_seed(1)
net = getattr(torchvision.models, model)(num_classes=10).to(memory_format=torch.channels_last)
if how == "ddp":
    import torch.distributed as dist
    dist.init_process_group("gloo", rank=rank, world_size=2)
    net = torch.nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
x = torch.randn(shard, 3, size, size).to(memory_format=torch.channels_last)
y = torch.randint(0, 10, (shard,))
for step in range(2 + steps):
    if step == 2:
        begin = time.monotonic()
    optimizer.zero_grad(set_to_none=True)
    torch.nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
print((time.monotonic() - begin) / steps)
"""


def torch_step(options, how):
    environment = dict(os.environ, MASTER_ADDR=ADDRESSES[0], MASTER_PORT="29533", OMP_NUM_THREADS="1")
    return max(map(float, finish([
        start(i, options.python, "-c", TORCH, i, options.shard, options.steps, options.size, options.model, how,
              env=dict(environment, GLOO_SOCKET_IFNAME=DEVICES[i])) for i in range(2)])))


def write_pictures(options, work):
    import numpy as np

    count = 2 * options.shard * options.steps
    x = np.random.default_rng(1).integers(0, 256, (count, 3, options.size, options.size), np.uint8)
    y = np.arange(count) % 10
    np.savez(work / "data.npz", x=x, y=y)
    np.savez(work / "half.npz", x=x[::2], y=y[: count // 2])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", type=Path, default=ROOT / ".build/release/resnet")
    parser.add_argument("--library", type=Path, help="libresnet_mpi.so; default: beside the tool")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--shard", type=int, default=16, help="pictures of a process in each step")
    parser.add_argument("--size", type=int, default=160, help="of a picture")
    parser.add_argument("--steps", type=int, default=6, help="that are measured; some go before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1000, help="Mbit/s each way")
    parser.add_argument("--delay", type=float, default=1, help="milliseconds each way")
    parser.add_argument("--python", default=sys.executable, help="one with torch and torchvision")
    parser.add_argument("--cases", help="separated by commas; default: all")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.tool = options.tool.resolve()
    options.library = (options.library or options.tool.parent / "libresnet_mpi.so").resolve()
    return options


def write(path, about, results):
    """After each turn, so that a run that is stopped leaves what it has measured."""
    if path is None:
        return
    path.write_text(json.dumps({
        "what": about, "commit": machine.git_state()["commit"],
        "machine": machine.cpu_fields().get("model name", "unknown"),
        "seconds_a_step": results}, indent=1) + "\n")


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    results = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_pictures(options, work)
        ours = Ours(options, work)
        cases = {"alone": ours.alone, "overlap": ours.together, "no overlap": lambda: ours.together("--no-overlap"),
                 "overlap, bf16": lambda: ours.together("--gradient-dtype", "bf16")}
        if subprocess.run([options.python, "-c", "import torchvision"], capture_output=True).returncode == 0:
            cases["PyTorch alone"] = lambda: torch_step(options, "alone")
            cases["PyTorch DDP, gloo"] = lambda: torch_step(options, "ddp")
        chosen = options.cases.split(",") if options.cases else list(cases)
        with Link(options.rate, options.delay, work) as link:
            about = f"{options.model}, {options.shard} pictures of {options.size}x{options.size} a process, {link}"
            print(about)
            for _ in range(options.rounds):
                for name in chosen:
                    results.setdefault(name, []).append(cases[name]())
                    print(f"{name:18s} {results[name][-1]:.3f} s a step", flush=True)
                    write(options.out, about, results)
    medians = {name: statistics.median(times) for name, times in results.items()}
    print("\n| case | s a step | of it above computing alone | efficiency |\n| --- | ---: | ---: | ---: |")
    for name, median in medians.items():
        base = medians.get("PyTorch alone" if "PyTorch" in name else "alone", float("nan"))
        print(f"| {name} | {median:.3f} | {median - base:.3f} | {base / median:.2f} |")


if __name__ == "__main__":
    main()
