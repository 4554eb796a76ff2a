#!/usr/bin/env python3
"""Makes what reports/published/policies.md states again: compares the policies on two models, holds the published figures
against the simulation, writes tables, charts and raw samples, rewrites the page between its markers (`<!-- table NAME -->`
to `<!-- end -->`) and the goals that it decides. The prose stays: read it.

    python3 tests/bench/record_policies_page.py --build build [--measured ../shared/measured/policies_published.csv]
"""

import argparse
import csv
import json
import pathlib
import statistics
import subprocess
import sys

from page_tables import rewrite_tables

PUBLISHED = pathlib.Path(__file__).resolve().parents[2] / "reports" / "published"
PAGE = PUBLISHED / "policies.md"
SAMPLES = PUBLISHED / "samples" / "policies"
GOALS = PUBLISHED / "goals" / "policies.json"
LLMS = ("llama-3.1-8b", "qwen2.5-32b")
COLUMNS = (("llama-3.1-8b", 32768, 1), ("llama-3.1-8b", 32768, 16), ("qwen2.5-32b", 32768, 1))
COMPARE = ("--gpu", "h100-sxm", "--windows", "1,2", "--contexts", "8192,16384,32768,65536,131072", "--batches", "1,4,16,64")
QUEST_FIGURE_10 = "Quest ICML24 Fig 10"


def compare(program, llm):
    table = SAMPLES / f"{llm}-h100.csv"
    stem = PUBLISHED / "policies" / f"{llm}-h100"
    subprocess.run([program, "compare", "--llm", llm, *COMPARE, "--csv", table, "--markdown", f"{stem}.md", "--svg",
                    f"{stem}.svg"], check=True, stdout=subprocess.DEVNULL)
    with table.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def summary(tables):
    lines = ["| policy | 8B 32k b1 | w 2 | 8B 32k b16 | w 2 | 32B 32k b1 | w 2 | recall | w 2 |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for policy in dict.fromkeys(row["policy"] for row in tables[LLMS[0]]):
        def row_of(llm, context, batch, window):
            return next(row for row in tables[llm] if row["policy"] == policy and row["window"] == str(window) and
                        row["context"] == str(context) and row["batch"] == str(batch))

        def latency(*key):
            row = row_of(*key)
            if row["refused"]:
                return "not defined"
            return f"{float(row['latency_us_mean']) / 1e3:.2f}" + ("" if row["fits"] == "true" else " (x)")

        def recall(window):
            value = row_of("llama-3.1-8b", 32768, 1, window)["mass_recall"]
            return f"{float(value):.3f}" if value else "-"
        cells = [latency(*column, window) for column in COLUMNS for window in (1, 2)]
        lines.append(f"| {policy} | " + " | ".join(cells + [recall(1), recall(2)]) + " |")
    return lines


def pure_cost(tables):
    """What w = 2 adds to a step, by policy and batch: least to most over models and contexts."""
    lines = ["| w = 2 adds, % of a step | batch 1 | 4 | 16 | 64 |", "| --- | ---: | ---: | ---: | ---: |"]
    for policy in dict.fromkeys(row["policy"] for row in tables[LLMS[0]]):
        cells = []
        for batch in (1, 4, 16, 64):
            shares = []
            for rows in tables.values():
                time = {(row["window"], row["context"]): float(row["latency_us_mean"]) for row in rows
                        if row["policy"] == policy and row["batch"] == str(batch) and not row["refused"]}
                shares += [100 * (time["2", context] / base - 1) for (window, context), base in time.items()
                           if window == "1" and ("2", context) in time]
            cells.append(f"{min(shares):.1f} to {max(shares):.1f}" if shares else "not defined")
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return lines


def published(program, measured):
    text = subprocess.run([program, "validate", "published", "--measured", measured, "--markdown",
                           PUBLISHED / "policies" / "published-figures.md", "--json"], check=True, capture_output=True,
                          text=True).stdout
    (SAMPLES / "published-rows.json").write_text(text, encoding="utf-8")
    return json.loads(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--measured", type=pathlib.Path, default=pathlib.Path("../shared/measured/policies_published.csv"))
    options = parser.parse_args()
    program = (options.build / "retrosim").resolve()
    tables = {llm: compare(program, llm) for llm in LLMS}
    figures = published(program, options.measured)
    print({key: value for key, value in figures.items() if not isinstance(value, (list, dict))})
    rewrite_tables(PAGE, {"summary": summary(tables), "cost": pure_cost(tables)})
    errors = [abs(row["relative_error"]) for row in figures["compared"] if row["source"] == QUEST_FIGURE_10]
    goals = json.loads(GOALS.read_text())
    for goal in goals:
        if goal["id"] == "published_within_25":
            goal["value"] = round(figures["within_25"], 4)
            goal["unit"] = f"share of {figures['mapped']} mapped latencies, rates and speed-ups"
        elif goal["id"] == "quest_fig10":
            goal["value"] = round(statistics.median(errors), 4)
            goal["unit"] = f"median absolute relative error, {len(errors)} rows"
            print(f"Quest Fig 10: median {statistics.median(errors):.4f}, worst {max(errors):.4f}, {len(errors)} rows")
    GOALS.write_text(json.dumps(goals, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
