"""The machine: what it is, what it can do at most, and who used its cores meanwhile."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from referee.environment import BENCH

TICK = os.sysconf("SC_CLK_TCK")


def read(path, default=""):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def cpu_fields():
    fields = {}
    for line in read("/proc/cpuinfo").splitlines():
        if not line.strip():
            break
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    return fields


def caches():
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = read(index / "type")
        if kind != "Instruction":
            sizes[f"L{read(index / 'level')}"] = read(index / "size")
    return sizes


def git_state():
    def git(*words):
        done = subprocess.run(["git", "-C", BENCH, *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    return {
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "modified": bool(git("status", "--porcelain", "--", "../Sources")),
    }


def compiler():
    done = subprocess.run(["clang", "--version"], capture_output=True, text=True)
    return done.stdout.splitlines()[0] if done.returncode == 0 else ""


def describe():
    cpu = cpu_fields()
    flags = set(cpu.get("flags", "").split())
    wanted = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    memory = read("/proc/meminfo").splitlines()[0].split()
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu.get("model name", platform.processor()),
        "cpu_family_model": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "cores": len(os.sched_getaffinity(0)),
        "isa": [name for name in wanted if name in flags],
        "caches": caches(),
        "memory_gib": round(int(memory[1]) / 2**20, 1),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "virtual": "hypervisor" in flags,
        "system": f"{platform.system()} {platform.release()}, glibc {platform.libc_ver()[1]}",
        "python": platform.python_version(),
        "compiler": compiler(),
        "git": git_state(),
    }


def build_roofline(build):
    subprocess.run(["make", "-s", "-C", BENCH, f"BUILD={build}", f"{build}/roofline"], check=True)
    return Path(build) / "roofline"


def roofline(program, threads, seconds):
    """{"threads", "fma_256_gflops", "fma_512_gflops", "read_gb_s", ...}, measured now."""
    done = subprocess.run([program, str(threads), str(seconds)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def peak_of(line, isa):
    """The FMA peak that counts in GFLOP/s: the widest, or the 256-bit one when everybody is held to AVX2."""
    widths = (256, 128) if isa == "avx2" else (512, 256, 128)
    return next(line[f"fma_{bits}_gflops"] for bits in widths if f"fma_{bits}_gflops" in line)


def cpu_seconds():
    """(busy, stolen) seconds of all cores since boot."""
    user, nice, system, _, _, irq, softirq, steal = map(int, read("/proc/stat").splitlines()[0].split()[1:9])
    return (user + nice + system + irq + softirq) / TICK, steal / TICK


def process_seconds(pid):
    """CPU seconds of a process, all threads; 0 if it is gone."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Watch:
    """Who used the cores during one turn. Waiting workers should use nothing; neither should strangers."""

    def __init__(self, waiting, active):
        self.waiting, self.active = waiting, active
        self.wall = os.times().elapsed
        self.busy, self.steal = cpu_seconds()
        self.idle_before = sum(map(process_seconds, waiting))
        self.active_before = sum(map(process_seconds, active))
        self.children_before = self.children()

    @staticmethod
    def children():
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    def stop(self):
        """Cores in use on average: {"waiting", "others", "stolen"}."""
        wall = max(os.times().elapsed - self.wall, 0.05)
        busy, steal = cpu_seconds()
        waiting = sum(map(process_seconds, self.waiting)) - self.idle_before
        ours = sum(map(process_seconds, self.active)) - self.active_before + self.children() - self.children_before
        others = max(busy - self.busy - ours - waiting, 0.0)
        return {"waiting": waiting / wall, "others": others / wall, "stolen": (steal - self.steal) / wall}
