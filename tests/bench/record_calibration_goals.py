#!/usr/bin/env python3
"""Fits both measured profiles from their samples, holds transferred ones against published tables, and writes the goals.

    record_calibration_goals.py --retrosim build/retrosim --measured ../shared/measured

Writes reports/published/goals/calibrate.json and prints the table. A100: only the half of the rows that did not inform
the generation's factor (model/gpu_profile.cpp) counts.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import tempfile
import zlib

SAMPLES = "reports/published/samples/calibrate-{0} reports/published/samples/calibrate-{0}-attention"


def run(retrosim, *arguments):
    return json.loads(subprocess.run([retrosim, *arguments], check=True, capture_output=True, text=True).stdout)


def fit(retrosim, gpu, folder):
    return run(retrosim, "calibrate", "fit", "--samples", *SAMPLES.format(gpu).split(), "--out", str(folder / "profile.json"), "--json")


def kept_rows(table, l2_bytes, half):
    """Relative errors of products with weights of 16 MB and more, and of decode attention with KV of 4x L2 and more."""
    errors = []
    with open(table, encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            cells = row["label"].split()
            numbers = [int(cell) for cell in cells if cell.isdigit()]
            if "KV" in row["regime"]:
                batch, tokens, q_heads, kv_heads, head_dim = numbers[-5:]
                large = 4 * batch * tokens * kv_heads * head_dim >= 4 * l2_bytes
                key = (batch, tokens, q_heads, kv_heads)
            else:
                m, n, k = numbers[-3:]
                large = 2 * n * k >= 16e6
                key = (m, n, k)
            if large and (half is None or zlib.crc32(str(key).encode()) % 2 == half):
                errors.append(abs(float(row["relative_error"])))
    return errors


def transfer(retrosim, measured, folder, gpu, l2_bytes, half):
    errors = []
    for table in (f"aic_gemm_bf16_{gpu}_sxm.csv", f"aic_attn_decode_bf16kv_{gpu}_sxm.csv"):
        out = folder / table
        run(retrosim, "validate", "ops", "--gpu", f"{gpu}-sxm", "--measured", str(measured / table), "--csv", str(out), "--json")
        errors += kept_rows(out, l2_bytes, half)
    return sum(errors) / len(errors), len(errors)


def h200_from_h100(retrosim, folder):
    """Mean error of the live H200 steps, by the H100's measured profile with the H200's datasheet in its place."""
    profiles = pathlib.Path("calibrate/profiles")
    profile = json.loads((profiles / "h100-sxm-measured.json").read_text())
    profile["name"] = "h200-from-h100"
    profile["spec"] = json.loads(pathlib.Path("model/specs/gpu/h200-sxm.json").read_text())
    profile["sample_files"] = []
    file = folder / "h200-from-h100.json"
    file.write_text(json.dumps(profile), encoding="utf-8")
    run(retrosim, "validate", "--profile", str(file), "--measured", "reports/published/samples/live/h200.jsonl", "--out",
        str(folder), "--json")
    return json.loads((folder / "validation.json").read_text())["steps"]["mape"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--retrosim", default="build/retrosim")
    parser.add_argument("--measured", type=pathlib.Path, default="../shared/measured")
    options = parser.parse_args()
    goals = []

    def add(identity, target, value, unit, machine, command, samples, why=""):
        goal = {"id": identity, "target": target, "comparison": "<=", "value": round(value, 4), "unit": unit,
                "measured_on": machine, "command": command, "samples": samples}
        if value > target:
            goal["why"] = why
        goals.append(goal)
        print(f"{identity:24} {value:.4f} (goal <= {target})")

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        held_out = fit(options.retrosim, "h100", folder)["ops"]["held_out"]
        command = f"retrosim calibrate fit --samples {SAMPLES.format('h100')} --out profile.json --json"
        why = (f"{held_out['rows']} held-out chains, a third of them attention's with older rows and many lists, which no "
               "formula here describes well; the operations of a microsecond or two err by a tenth of one")
        for identity, target, key in (("op_mape", 0.05, "mape"), ("op_p95", 0.12, "p95_abs_error"), ("op_bias", 0.01, "bias")):
            add(identity, target, abs(held_out[key]), "relative error", "NVIDIA H100 80GB HBM3", command,
                SAMPLES.format("h100"), why)
        for identity, target, gpu, l2, half in (("transfer_b200", 0.15, "b200", 126 << 20, None),
                                                ("transfer_a100", 0.12, "a100", 40 << 20, 1)):
            value, rows = transfer(options.retrosim, options.measured, folder, gpu, l2, half)
            add(identity, target, value, f"relative error, mean over {rows} rows",
                f"{gpu.upper()} SXM, by others (aiconfigurator)", "tests/bench/record_calibration_goals.py",
                f"../shared/measured/aic_*_bf16*_{gpu}_sxm.csv", "the datasheet and one factor do not carry further")
        add("h200_from_h100_mape", 0.06, h200_from_h100(options.retrosim, folder), "relative error of 221 live steps",
            "NVIDIA H200", "tests/bench/record_calibration_goals.py", "reports/published/samples/live/h200.jsonl",
            "Little is lost by the transfer: the H200's own profile errs alike (step_mape_h200)")
    path = pathlib.Path("reports/published/goals/calibrate.json")
    kept = [goal for goal in (json.loads(path.read_text()) if path.exists() else []) if goal["id"] not in {g["id"] for g in goals}]
    path.write_text(json.dumps(goals + kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
