"""Peers as long-lived processes: started with the surroundings each does best in, spoken to line by line."""

import ctypes.util
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path

from peers import TRAINING, title
from referee.environment import BENCH, python_of

LOAD_SECONDS = 1200  # torch.compile on a slow machine
PYTORCH = ("pytorch", "compile", *TRAINING)


class WorkerError(Exception):
    pass


def find_jemalloc():
    """The path of libjemalloc, or None. RESNETSWIFT_JEMALLOC names one that is not installed."""
    named = os.environ.get("RESNETSWIFT_JEMALLOC")
    if named:
        if not Path(named).exists():
            raise SystemExit(f"error: RESNETSWIFT_JEMALLOC names {named}, which does not exist")
        return named
    name = ctypes.util.find_library("jemalloc")
    if name is None:
        return None
    for folder in (
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
        "/lib/aarch64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ):
        if (Path(folder) / name).exists():
            return str(Path(folder) / name)
    return None


def surroundings(key, threads, isa, malloc):
    """Environment variables of a peer. malloc: True gives it the allocator it is fastest with, False the plain one."""
    env = dict(os.environ)
    for name in ("LD_PRELOAD", "GLIBC_TUNABLES", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "ONEDNN_MAX_CPU_ISA"):
        env.pop(name, None)
    env.update(
        OMP_NUM_THREADS=str(threads),
        MKL_NUM_THREADS=str(threads),
        OPENBLAS_NUM_THREADS="1",
        PYTHONPATH=str(BENCH),
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONWARNINGS="ignore",
        TORCHINDUCTOR_COMPILE_THREADS="1",
    )
    if isa == "avx2":
        env.update(ONEDNN_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2", MKL_ENABLE_INSTRUCTIONS="AVX2")
    if malloc:
        jemalloc = find_jemalloc()
        if key in PYTORCH and jemalloc:
            env.update(
                LD_PRELOAD=jemalloc,
                MALLOC_CONF="thp:always,metadata_thp:auto,dirty_decay_ms:-1,muzzy_decay_ms:-1,background_thread:false",
            )
        else:
            # Huge pages, and freed memory kept: large activations are not mapped and faulted in anew in every run.
            env["GLIBC_TUNABLES"] = (
                "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:"
                "glibc.malloc.top_pad=67108864"
            )
    return env


class Worker:
    def __init__(self, key, venv, threads, isa, log, malloc=True):
        self.key = key
        self.title = title(key)
        env = surroundings(key, threads, isa, malloc)
        self.log = open(log, "ab")
        self.process = subprocess.Popen(
            [python_of(venv), "-m", "peers.worker", key],
            cwd=BENCH,
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            bufsize=1,
        )

    def ask(self, request, timeout):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"{self.key} died ({self.ending()}); see {self.log.name}") from None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if not ready:
            raise WorkerError(f"{self.key} did not answer {request['do']!r} in {timeout:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.key} died ({self.ending()}); see {self.log.name}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(f"{self.key}: {reply['error']}")
        return reply

    def ending(self):
        code = self.process.wait(10)
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def close(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.write('{"do": "quit"}\n')
                self.process.stdin.close()
                self.process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()
        self.log.close()


def run_once(key, venv, job, source, target):
    """A fresh process from its start to the first result: (seconds, peak RSS in MiB). The system's plain malloc."""
    command = [python_of(venv), "-m", "peers.once", key, json.dumps({**job, "start": True}), source, target]
    begin = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=BENCH,
        env=surroundings(key, job["threads"], job["isa"], False),
        capture_output=True,
        text=True,
        timeout=900,
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise WorkerError(f"{key}, fresh process: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
    return seconds, float(done.stdout.strip().splitlines()[-1])
