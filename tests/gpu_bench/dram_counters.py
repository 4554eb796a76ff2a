#!/usr/bin/env python3
"""Bytes that kernels moved through DRAM (Nsight Compute) beside those of the step graph.

usage: dram_counters.py FOLDER [--out TABLE.json]
FOLDER holds expected.jsonl (`retrosim live counters`) and counters.csv (dram_counters.sh)."""
import argparse
import csv
import json
import statistics
from pathlib import Path

THRESHOLD = 64e6  # bytes: smaller kernels live in L2


def read_counters(file: Path) -> list[dict]:
    """Kernels in launch order."""
    lines = [line for line in file.read_text().splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    kernels = []
    for row in rows:
        if not row["ID"]:
            continue  # the line of units
        value = lambda name: float(row[name].replace(",", ""))
        kernels.append({"name": row["Kernel Name"], "read": value("dram__bytes_read.sum"),
                        "write": value("dram__bytes_write.sum")})
    return kernels


def is_second_part(kind: str, name: str) -> bool:
    """A product that cuBLASLt splits adds its parts up in a kernel of its own; so does attention that should merge its
    splits but lacks the warps."""
    if kind == "attention":
        return "merge" in name
    return kind == "matmul" and ("splitK" in name or "split_k" in name.lower() and "reduce" in name.lower())


def match(expected: list[dict], kernels: list[dict]) -> list[dict]:
    """One row per operation; kernels come in the operations' order. Raises ValueError when their numbers differ."""
    rows = []
    at = 0
    for op, following in zip(expected, expected[1:] + [{"kind": ""}]):
        if at >= len(kernels):
            raise ValueError(f"no kernel is left for {op['id']} {op['op']}")
        row = dict(op, kernel=kernels[at]["name"], dram_read=kernels[at]["read"], dram_write=kernels[at]["write"])
        at += 1
        while (at < len(kernels) and following["kind"] != "attention_merge"
               and is_second_part(op["kind"], kernels[at]["name"])):
            row["dram_read"] += kernels[at]["read"]
            row["dram_write"] += kernels[at]["write"]
            at += 1
        rows.append(row)
    if at != len(kernels):
        raise ValueError(f"{len(kernels) - at} kernels more than operations")
    return rows


def by_kind(rows: list[dict], expected: str, measured: str) -> dict:
    kinds: dict[str, list[float]] = {}
    for row in rows:
        if row[expected] >= THRESHOLD:
            kinds.setdefault(row["kind"], []).append(row[expected] / row[measured] - 1 if row[measured] else float("inf"))
    return {kind: {"kernels": len(errors), "median_abs_error": statistics.median(map(abs, errors)),
                   "median_error": statistics.median(errors), "worst_abs_error": max(map(abs, errors))}
            for kind, errors in sorted(kinds.items())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [json.loads(line) for line in (arguments.folder / "expected.jsonl").read_text().splitlines()]
    failed = [line for line in lines if "error" in line]
    rows = match([line for line in lines if "error" not in line], read_counters(arguments.folder / "counters.csv"))
    table = {"configurations": len({row["id"] for row in rows}), "failed": failed,
             "read": by_kind(rows, "read_bytes", "dram_read"), "write": by_kind(rows, "write_bytes", "dram_write"),
             "rows": [row for row in rows if max(row["read_bytes"], row["write_bytes"]) >= THRESHOLD]}
    if arguments.out:
        arguments.out.write_text(json.dumps(table, indent=1) + "\n")
    for side in ("read", "write"):
        for kind, error in table[side].items():
            print(f"{side:6} {kind:16} kernels {error['kernels']:4}  median |error| {error['median_abs_error']:.4f}  "
                  f"median {error['median_error']:+.4f}  worst {error['worst_abs_error']:.4f}")


if __name__ == "__main__":
    main()
