"""The Markdown of a run: tables of throughput, fastest runs, start and memory, and what is needed to judge them."""

import statistics

from peers import REGISTRY, TRAINING
from peers import title as peer_title
from referee.ours import Ours


def columns(groups):
    """(key, title) of everybody who appears in these cells, ours first, then in the registry's order."""
    present = {key: entry["title"] for group in groups for key, entry in group["peers"].items()}
    order = [Ours.key, *REGISTRY, *TRAINING]
    return [(key, present[key]) for key in order if key in present]


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join(["---"] + ["---:"] * (len(header) - 1)) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell_row(cell, keys, value, better):
    others = {key: value(cell, entry) for key, entry in cell["peers"].items() if key != Ours.key}
    best = better(others, key=others.get) if others else None
    row = [f"{cell['model']}, batch {cell['batch']}"]
    for key, _ in keys:
        entry = cell["peers"].get(key)
        text = number(value(cell, entry)) if entry else "-"
        row.append(f"**{text}**" if key == Ours.key and entry else f"{text} *" if key == best else text)
    return row


def throughput(cells, keys):
    """Images per second, the ratios to the best peer, and, where multiply-adds are counted, shares of the FMA peak."""
    counted = all(cell["macs"] for cell in cells)
    header = ["images/s", *(title for _, title in keys), "ratio of medians", "ratio of fastest runs", "by round"]
    header += ["FMA peak, GFLOP/s", "of peak: ours / best"] if counted else []
    rows = []
    for cell in cells:
        row = cell_row(cell, keys, lambda c, e: e["images_per_s"], max)
        rounds = cell.get("ratio_by_round", [])
        row.append(f"**{cell['ratio']:.2f}**" if "ratio" in cell else "-")
        row.append(f"{cell['ratio_of_minima']:.2f}" if "ratio_of_minima" in cell else "-")
        row.append(f"{min(rounds):.2f} to {max(rounds):.2f}" if rounds else "-")
        if counted:
            both = cell["peers"].get(Ours.key), cell["peers"].get(cell.get("best_peer"))
            row.append(f"{cell['peak_gflops']:.0f}")
            row.append(" / ".join(f"{entry['of_peak']:.0%}" if entry else "-" for entry in both))
        rows.append(row)
    return table(header, rows)


def fastest(cells, keys):
    header = ["ms a batch, fastest run", *(title for _, title in keys), "ratio to best peer"]
    rows = []
    for cell in cells:
        row = cell_row(cell, keys, lambda c, e: e["min_ms"], min)
        row.append(f"{cell['ratio_of_minima']:.2f}" if "ratio_of_minima" in cell else "-")
        rows.append(row)
    return table(header, rows)


def accuracy(cells, keys):
    header = ["largest error of a logit, relative to the largest logit", *(title for _, title in keys)]
    worst = {}
    for cell in cells:
        for key, entry in cell["peers"].items():
            place = worst.setdefault(cell["model"], {})
            place[key] = max(place.get(key, 0), entry["logit_error"])
    rows = [
        [model, *(f"{errors[key]:.1e}" if key in errors else "-" for key, _ in keys)] for model, errors in worst.items()
    ]
    return table(header, rows)


def starts(groups, keys):
    first = [group for group in groups if group["batch"] == 1]
    header = ["seconds, process start to logits (fastest)", *(title for _, title in keys)]
    rows = []
    for group in first:
        found = [group["peers"].get(key) for key, _ in keys]
        texts = (f"{entry['median_s']:.2f} ({entry['min_s']:.2f})" if entry else "-" for entry in found)
        rows.append([f"{group['model']}, batch 1, {group['threads']} threads", *texts])
    return table(header, rows)


def memory(groups, keys):
    header = ["peak RSS, MiB", *(title for _, title in keys), "ours / smallest peer"]
    rows = []
    for group in groups:
        found = [group["peers"].get(key) for key, _ in keys]
        row = [f"{group['model']}, batch {group['batch']}"]
        row += [f"{entry['peak_rss_mib']:.0f}" if entry else "-" for entry in found]
        others = [entry["peak_rss_mib"] for key, entry in group["peers"].items() if key != Ours.key]
        ours = group["peers"].get(Ours.key)
        row.append(f"{ours['peak_rss_mib'] / min(others):.2f}" if ours and others else "-")
        rows.append(row)
    return table(header, rows)


def disturbance(cells):
    """Who else used the cores; said in bold when it was enough to spoil the figures."""
    rounds = [one["cores_used"] for cell in cells for entry in cell["peers"].values() for one in entry["rounds"]]
    words = {"waiting": "waiting peers", "others": "other programs", "stolen": "taken by the hypervisor"}
    parts, spoiled = [], False
    for name, title in words.items():
        used = [one[name] for one in rounds] or [0.0]
        mean = sum(used) / len(used)
        spoiled = spoiled or mean > 0.05
        parts.append(f"{title} {mean:.3f} on average, {max(used):.2f} in the worst turn")
    verdict = " **The machine was not quiet: do not trust these figures.**" if spoiled else ""
    quiet = quietness(cells)
    said = f" Median run over fastest run of everybody: {quiet:.2f} (1 on a quiet machine)." if quiet else ""
    return "Cores used by anybody else during a turn: " + "; ".join(parts) + "." + said + verdict


def quietness(cells):
    """How much slower a typical run was than the fastest, over everybody: neighbors on the same cores show here."""
    slowdowns = [entry["median_ms"] / entry["min_ms"] for cell in cells for entry in cell["peers"].values()]
    return statistics.median(slowdowns) if slowdowns else None


def notes(cells):
    lines = []
    for key, title in columns(cells):
        seen = sorted({cell["peers"][key]["note"] for cell in cells if key in cell["peers"]})
        lines.append(f"- {title}: {'; '.join(note for note in seen if note)}")
    for cell in cells:
        for left in cell["left_out"]:
            lines.append(
                f"- left out of {cell['model']}, batch {cell['batch']}, {cell['threads']} threads: "
                f"{peer_title(left['peer'])}: {left['why']}"
            )
    return "\n".join(lines)


def setting(result):
    m, s = result["machine"], result["settings"]
    git = m["git"]
    held = "held to AVX2" if s["isa"] == "avx2" else "best the CPU has"
    build = f"{git['commit'] or 'unknown'}{', with local changes' if git['modified'] else ''}"
    packages = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    caches = ", ".join(f"{name} {size}" for name, size in m["caches"].items())
    virtual = ", virtual machine" if m["virtual"] else ""
    malloc = "jemalloc" if s["jemalloc"] else "glibc, tuned"
    lines = [
        f"{m['date']}; {m['cpu']} (family/model {m['cpu_family_model']}), {m['cores']} cores{virtual}; {caches}; "
        f"{m['memory_gib']} GiB",
        f"instruction set: {held} ({', '.join(m['isa'])}); fp32 throughout",
        f"{m['system']}; transparent huge pages {m['huge_pages']}; {m['compiler']}",
        f"ResNetSwift at {build}; Python {m['python']}; {packages}",
        f"{s['rounds']} rounds of turns of {s['seconds']} s; PyTorch's malloc: {malloc}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def by_threads(cells):
    parts = []
    for threads in sorted({cell["threads"] for cell in cells}):
        group = [cell for cell in cells if cell["threads"] == threads]
        keys = columns(group)
        parts += [
            f"## {threads} thread{'s' if threads > 1 else ''}",
            "Medians over rounds; * marks the fastest peer of a row. A ratio above 1 means that we are faster. The ratio of "
            "medians is what a shared machine gave; the ratio of fastest runs is what a quiet one gives.",
            throughput(group, keys),
            fastest(group, keys),
        ]
    return parts


def markdown(result, name):
    cells, groups = result["cells"], result["starts"]
    parts = [f"# {name}: ResNet inference, fp32, peers in turns", setting(result), *by_threads(cells)]
    if groups:
        parts += [
            "## Start and memory",
            "Fresh processes in turns, page cache warm, weights on disk; the time runs from process start through "
            "loading, one batch and written logits to the end of the process. Plain malloc.",
            starts(groups, columns(groups)),
            memory(groups, columns(groups)),
        ]
    if cells:
        parts += [
            "## Checks",
            accuracy(cells, columns(cells)),
            disturbance(cells),
            notes(cells),
        ]
    return "\n\n".join(parts) + "\n"


def training_markdown(result, name):
    cells, groups = result["cells"], result["starts"]
    parts = [f"# {name}: training steps, fp32, PyTorch's ways in turns", setting(result), *by_threads(cells)]
    if groups:
        parts += ["## Memory", "Fresh processes that take a few steps. Plain malloc.", memory(groups, columns(groups))]
    parts += ["## Checks", disturbance(cells), notes(cells)]
    return "\n\n".join(parts) + "\n"
