"""The Markdown of a run: tables of throughput, fastest runs, start and memory, and what is needed to judge them."""

from peers import REGISTRY
from referee.ours import Ours


def columns(groups):
    """(key, title) of everybody who appears in these cells, ours first, then in the registry's order."""
    present = {key: entry["title"] for group in groups for key, entry in group["peers"].items()}
    order = [Ours.key, *REGISTRY]
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
    header = [
        "images/s",
        *(title for _, title in keys),
        "ratio to best peer",
        "by round",
        "FMA peak, GFLOP/s",
        "of peak: ours / best",
    ]
    rows = []
    for cell in cells:
        row = cell_row(cell, keys, lambda c, e: e["images_per_s"], max)
        rounds = cell.get("ratio_by_round", [])
        ours, best = cell["peers"].get(Ours.key), cell["peers"].get(cell.get("best_peer"))
        row.append(f"**{cell['ratio']:.2f}**" if "ratio" in cell else "-")
        row.append(f"{min(rounds):.2f} to {max(rounds):.2f}" if rounds else "-")
        row.append(f"{cell['peak_gflops']:.0f}")
        row.append(" / ".join(f"{entry['of_peak']:.0%}" if entry else "-" for entry in (ours, best)))
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
    parts = []
    first = [group for group in groups if group["batch"] == 1]
    if first:
        header = ["seconds, process start to logits", *(title for _, title in keys)]
        rows = [
            [
                f"{g['model']}, batch 1, {g['threads']} threads",
                *(
                    f"{g['peers'][k]['median_s']:.2f} (fastest {g['peers'][k]['min_s']:.2f})"
                    if k in g["peers"]
                    else "-"
                    for k, _ in keys
                ),
            ]
            for g in first
        ]
        parts.append(table(header, rows))
    header = ["peak RSS, MiB", *(title for _, title in keys)]
    rows = [
        [
            f"{g['model']}, batch {g['batch']}",
            *(f"{g['peers'][k]['peak_rss_mib']:.0f}" if k in g["peers"] else "-" for k, _ in keys),
        ]
        for g in groups
    ]
    parts.append(table(header, rows))
    return "\n\n".join(parts)


def disturbance(cells):
    worst = {"waiting": 0.0, "others": 0.0, "stolen": 0.0}
    total = dict(worst)
    turns = 0
    for cell in cells:
        for entry in cell["peers"].values():
            for one in entry["rounds"]:
                turns += 1
                for name in worst:
                    worst[name] = max(worst[name], one["cores_used"][name])
                    total[name] += one["cores_used"][name]
    mean = {name: value / max(turns, 1) for name, value in total.items()}
    words = {"waiting": "waiting peers", "others": "other programs", "stolen": "taken by the hypervisor"}
    return "; ".join(f"{words[n]} {mean[n]:.3f} cores on average, {worst[n]:.2f} in the worst turn" for n in words)


def notes(cells):
    lines = []
    for key, title in columns(cells):
        seen = sorted({cell["peers"][key]["note"] for cell in cells if key in cell["peers"]})
        lines.append(f"- {title}: {'; '.join(note for note in seen if note)}")
    for cell in cells:
        for left in cell["left_out"]:
            lines.append(
                f"- left out of {cell['model']}, batch {cell['batch']}, {cell['threads']} threads: "
                f"{REGISTRY[left['peer']][2]}: {left['why']}"
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


def markdown(result, name):
    cells = result["cells"]
    parts = [f"# {name}: ResNet inference, fp32, peers in turns", setting(result)]
    for threads in sorted({cell["threads"] for cell in cells}):
        group = [cell for cell in cells if cell["threads"] == threads]
        keys = columns(group)
        plural = "threads" if threads > 1 else "thread"
        parts += [
            f"## {threads} {plural}",
            "Medians over rounds; * marks the fastest peer of a row; ratio above 1: we are faster.",
            throughput(group, keys),
            fastest(group, keys),
        ]
    if result["starts"]:
        parts += [
            "## Start and memory",
            "Fresh processes in turns, page cache warm, weights on disk; the time runs from "
            "process start through loading, one batch and written logits to the end of the process. Plain malloc.",
            starts(result["starts"], columns(result["starts"])),
        ]
    if cells:
        parts += [
            "## Checks",
            accuracy(cells, columns(cells)),
            "Cores used by anybody else during a turn: " + disturbance(cells) + ".",
            notes(cells),
        ]
    return "\n\n".join(parts) + "\n"
