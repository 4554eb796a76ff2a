#!/usr/bin/env python3
"""Makes the tables and charts of reports/published/serving.md again: runs the sweeps in samples/serving/sweeps/, draws the
charts, and rewrites the page between its markers (`<!-- table NAME -->` to `<!-- end -->`). The prose stays: read it.

    python3 tests/bench/record_serving_page.py --build build
"""

import argparse
import csv
import pathlib
import subprocess
import sys

from page_tables import rewrite_tables

PUBLISHED = pathlib.Path(__file__).resolve().parents[2] / "reports" / "published"
SWEEPS = PUBLISHED / "samples" / "serving" / "sweeps"
CHARTS = PUBLISHED / "charts"
PAGE = PUBLISHED / "serving.md"

MODELS = {"8b": ("8B", ""), "32b": ("32B", "two "), "70b": ("70B", "four ")}
GPUS = {"h100-sxm": "H100", "h200-sxm": "H200"}
WINDOWS = (1, 2, 4, 8, 16)
FREE = 1.05  # of a step's time at window 1
SERVERS = (("8b", "h100-sxm", (8, 32, 128)), ("8b", "h200-sxm", (8, 32, 128)), ("32b", "h100-sxm", (32, 128)),
           ("32b", "h200-sxm", (128,)), ("70b", "h100-sxm", (32, 128)), ("70b", "h200-sxm", (128,)))
STEP_CHARTS = (("8b", "h100-sxm"), ("8b", "h200-sxm"), ("32b", "h200-sxm"), ("70b", "h100-sxm"), ("70b", "h200-sxm"))


def place(model, gpu):
    count = MODELS[model][1]
    return f"{MODELS[model][0]} on {count}{GPUS[gpu]}" if count else f"{MODELS[model][0]}, {GPUS[gpu]}"


def sweep(program, name):
    out = SWEEPS / f"{name}.csv"
    out.unlink(missing_ok=True)
    subprocess.run([program, "sweep", SWEEPS / f"{name}.json", "--out", out], check=True, stderr=subprocess.DEVNULL)
    with out.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def free_batches(steps):
    """Rows of the table of largest batches: of a model, GPU and context."""
    lines = ["| model, GPU, context | fits | w = 2 | w = 4 | w = 8 | w = 16 |", "|---|---|---|---|---|---|"]
    for model, rows in steps.items():
        for gpu in GPUS:
            for context in sorted({int(row["context"]) for row in rows}):
                mine = [row for row in rows if row["gpu"] == gpu and int(row["context"]) == context]
                time = {(int(row["window"]), int(row["batch"])): float(row["latency_us_mean"]) for row in mine
                        if row["status"] == "ok"}
                batches = sorted({batch for _, batch in time})
                fits = [int(row["batch"]) for row in mine if int(row["window"]) == 1 and row["needed_bytes"] and
                        float(row["needed_bytes"]) <= float(row["capacity_bytes"])]
                cells = []
                for window in WINDOWS[1:]:
                    largest = None
                    for batch in batches:
                        if (window, batch) not in time or time[window, batch] > FREE * time[1, batch]:
                            break
                        largest = batch
                    cells.append(str(largest or "none"))
                lines.append(f"| {place(model, gpu)}, {context // 1024}k | {max(fits, default='none')} | " +
                             " | ".join(cells) + " |")
    return lines


def servers(served):
    lines = ["| | full | w = 1 | w = 2 | w = 4 | w = 8 | w = 16 |", "|---|---|---|---|---|---|---|"]
    for model, gpu, clients in SERVERS:
        for client in clients:
            def cell(rows, window=None):
                for row in rows:
                    if row["gpu"] == gpu and int(row["max_concurrency"]) == client and row["status"] == "ok" and (
                            window is None or int(row["window"]) == window):
                        return f"{float(row['output_tokens_per_s']):.0f} ({float(row['tpot_ms_mean']):.1f})"
                return "does not fit"
            windowed, full = served[model]
            cells = [cell(full)] + [cell(windowed, window) for window in WINDOWS]
            lines.append(f"| {place(model, gpu)}, {client} | " + " | ".join(cells) + " |")
    return lines


def against_full(served):
    """Throughput of windows over Quest's and full attention's at the most clients."""
    lines = ["| full server | Quest over full attention | w = 2 over Quest | w = 4 | w = 8 | w = 16 | largest w not below full |",
             "|---|---|---|---|---|---|---|"]
    for model in MODELS:
        for gpu in GPUS:
            windowed, full = served[model]
            rate = {int(row["window"]): float(row["output_tokens_per_s"]) for row in windowed
                    if row["gpu"] == gpu and int(row["max_concurrency"]) == 128}
            dense = next(float(row["output_tokens_per_s"]) for row in full
                         if row["gpu"] == gpu and int(row["max_concurrency"]) == 128)
            over = [f"{rate[w] / rate[1] - 1:+.1%}" for w in WINDOWS[1:]]
            largest = max((w for w in WINDOWS if rate[w] >= dense), default="none")
            lines.append(f"| {place(model, gpu)} | {rate[1] / dense - 1:+.0%} | " + " | ".join(over) + f" | {largest} |")
    return lines


def chart(program, table, out, *arguments):
    subprocess.run([program, "chart", SWEEPS / f"{table}.csv", *arguments, "--log-x", "--out", CHARTS / out], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    program = (parser.parse_args().build / "retrosim").resolve()
    steps = {model: sweep(program, f"steps-{model}") for model in MODELS}
    served = {model: (sweep(program, f"serve-{model}"), sweep(program, f"full-{model}")) for model in MODELS}
    for model, gpu in STEP_CHARTS:
        chart(program, f"steps-{model}", f"window-step-{model}-{gpu}.svg", "--x", "batch", "--y", "latency_us_mean", "--by",
              "window", "--where", f"gpu={gpu}", "--where", "context=8192", "--where", "status=ok", "--relative-to",
              "window=1")
        chart(program, f"serve-{model}", f"window-throughput-{model}-{gpu}.svg", "--x", "max_concurrency", "--y",
              "output_tokens_per_s", "--by", "window", "--where", f"gpu={gpu}")
    rewrite_tables(PAGE, {"free": free_batches(steps), "servers": servers(served), "over": against_full(served)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
