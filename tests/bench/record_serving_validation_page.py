#!/usr/bin/env python3
"""Rewrites the tables of reports/published/serving-validation.md, between its markers, from the samples that
record_serving_goals.py --only validation leaves. The prose stays: read it.

    python3 tests/bench/record_serving_validation_page.py
"""

import csv
import json
import pathlib
import statistics
import sys

from page_tables import rewrite_tables

PUBLISHED = pathlib.Path(__file__).resolve().parents[2] / "reports" / "published"
SAMPLES = PUBLISHED / "samples" / "serving"
PAGE = PUBLISHED / "serving-validation.md"
RUNS = (("default", "vLLM 0.19's defaults: asynchronous scheduling, CUDA graph padding, prefix caching, whole prompts reserved"),
        ("no-prefix-caching", "`--no-enable-prefix-caching`"), ("synchronous", "`--no-async-scheduling`"),
        ("unpadded", "`--no-cudagraph-padding`"),
        ("partial", "`--admit-partial-prompts`"))


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def requests():
    lines = ["| run | throughput | mean TPOT | mean TTFT - queue | mean E2E |", "|---|---|---|---|---|"]
    for name, what in RUNS:
        answer = json.loads((SAMPLES / f"requests-rtx4090-{name}.json").read_text())
        cells = [f"{answer[key]:+.3f}" for key in ("throughput_error", "tpot_error", "ttft_minus_queue_error", "e2e_error")]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return lines


def total():
    answer = json.loads((SAMPLES / "serving-h100-dense.json").read_text())
    left = ", ".join(f"{count} ({reason})" for reason, count in answer["left_out"].items())
    return [f"{answer['rows']} rows, {answer['mapped']} simulated: median absolute error {answer['median_abs_error']:.3f}, 90th "
            f"percentile {answer['p90_abs_error']:.3f}, mean error {answer['mean_error']:+.3f}. Left out: {left}."]


def breakdowns():
    with (SAMPLES / "serving-h100-dense.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if not row["left_out"]]
    keys = (("GPU / backend / precision", lambda row: f"{row['gpu']}/{row['backend']}/{row['gemm_quant'] or 'bf16'}"),
            ("tp", lambda row: int(row["tp"])), ("concurrency", lambda row: int(row["concurrency"])),
            ("model", lambda row: row["model"]))
    lines = []
    for name, key in keys:
        lines += [f"| {name} | rows | median abs. error | 90th percentile | mean error |", "|---|---|---|---|---|"]
        for value in sorted({key(row) for row in rows}):
            errors = [float(row["tpot_error"]) for row in rows if key(row) == value]
            sizes = [abs(error) for error in errors]
            lines.append(f"| {value} | {len(errors)} | {statistics.median(sizes):.3f} | {percentile(sizes, 0.9):.3f} | "
                         f"{statistics.mean(errors):+.3f} |")
        lines.append("")
    return lines[:-1]


def main() -> int:
    rewrite_tables(PAGE, {"requests": requests(), "total": total(), "breakdowns": breakdowns()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
