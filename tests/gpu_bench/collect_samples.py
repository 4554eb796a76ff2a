#!/usr/bin/env python3
"""Google Benchmark's JSON of one of these programs as the raw samples that are committed: one object per benchmark with the
times of its repetitions in microseconds and its counters, and the machine that ran it. usage: collect_samples.py IN.json"""
import json
import subprocess
import sys

# What says nothing about the benchmark itself.
LEFT_OUT = {"family_index", "per_family_instance_index", "run_name", "run_type", "repetitions", "repetition_index", "threads",
            "iterations", "real_time", "cpu_time", "time_unit", "gigabytes_per_s", "name"}
PER_REPETITION = {"ratio_to_window_1", "window_1_us"}
FIELDS = "name, driver_version, clocks.sm, clocks.mem, clocks.max.sm, clocks.max.mem, power.limit"


def main() -> None:
    document = json.load(open(sys.argv[1]))
    rows: dict[str, dict] = {}
    for run in document["benchmarks"]:
        if run["run_type"] != "iteration":
            continue
        name = run["name"].split("/iterations:")[0].split("/repeats:")[0]
        row = rows.setdefault(name, {"name": name, "samples_us": []})
        assert run["time_unit"] == "us"
        row["samples_us"].append(round(run["real_time"], 4))
        for key, value in run.items():
            if key in PER_REPETITION:
                row.setdefault(key, []).append(round(value, 5))
            elif key not in LEFT_OUT:
                row[key] = value
    context = document["context"]
    kept = {k: context[k] for k in context if k == "date" or k.startswith(("gpu", "cuda", "revision"))}
    if len(sys.argv) > 2:  # away from the GPU: what step_bench read there right after
        step = json.load(open(sys.argv[2]))["provenance"]
        fields = "name, driver_version, clocks.sm, clocks.mem, clocks.max.sm (read by step_bench, next in the same call)"
        kept["nvidia_smi_after_run"] = {"fields": fields,
                                        "values": f"{step['device']}, {step['driver_and_clocks_mhz']}"}
    else:
        smi = subprocess.run(["nvidia-smi", "--query-gpu=" + FIELDS.replace(" ", ""), "--format=csv,noheader"],
                             capture_output=True, text=True, check=False).stdout.strip()
        kept["nvidia_smi_after_run"] = {"fields": FIELDS, "values": smi}
    lines = ",\n".join("  " + json.dumps(row) for row in rows.values())
    print('{"context": ' + json.dumps(kept) + ',\n "benchmarks": [\n' + lines + "\n ]}")


if __name__ == "__main__":
    main()
