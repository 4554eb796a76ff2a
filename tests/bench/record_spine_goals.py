#!/usr/bin/env python3
"""Runs the CPU benchmarks and writes their raw output and the goals of the path from a trace to a predicted step.

    python3 tests/bench/record_spine_goals.py --build build

Raw samples go to reports/published/samples/spine-bench/, the goals to reports/published/goals/spine.json. The decoder's
figures are read from reports/published/samples/decoder-check/ (traces/recipes/README.md says how those came about), the
recorder's from reports/published/samples/recording/.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "reports" / "published"
SAMPLES = PUBLISHED / "samples"
SIMULATE = ("simulate --llm llama-3.1-8b --gpu h100-sxm --policy retro --window 2 --budget 0.15 --context 32768 --batch 1 "
            "--json").split()


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 platform.machine())
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"


def run_benchmark(build: pathlib.Path, name: str, *flags: str) -> list:
    """Runs build/tests/<name>, keeps its JSON without the machine's name and paths, returns its benchmarks."""
    out = SAMPLES / "spine-bench" / f"{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([build / "tests" / name, f"--benchmark_out={out}", "--benchmark_out_format=json", *flags],
                   check=True, stdout=sys.stderr)
    document = json.loads(out.read_text())
    document["context"].pop("host_name", None)
    document["context"].pop("executable", None)
    out.write_text(json.dumps(document, indent=1) + "\n")
    return document["benchmarks"]


def counters(benchmarks: list, prefix: str, key: str) -> list:
    values = [b[key] for b in benchmarks if b["name"].startswith(prefix) and b.get("run_type") != "aggregate"]
    if not values:
        raise SystemExit(f"no benchmark {prefix} with {key}")
    return values


def time_simulate(build: pathlib.Path, runs: int) -> float:
    """Median wall time of the whole process, seconds; raw times are kept."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([build / "retrosim", *SIMULATE], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    out = SAMPLES / "spine-bench" / "simulate_process.json"
    out.write_text(json.dumps({"command": ["build/retrosim", *SIMULATE], "wall_s": seconds}, indent=1) + "\n")
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    build = parser.parse_args().build

    on = machine()
    goals = []

    def goal(name: str, comparison: str, target: float, value: float, unit: str, command: str, samples: str,
             why: str) -> None:
        met = value <= target if comparison == "<=" else value >= target
        entry = {"id": name, "target": target, "comparison": comparison, "value": value, "unit": unit,
                 "measured_on": on, "command": command, "samples": samples}
        if not met:
            entry["why"] = why
        goals.append(entry)

    bench = "reports/published/samples/spine-bench/"
    replay = run_benchmark(build, "traces_replay_bench", "--benchmark_filter=^replay", "--benchmark_min_time=2",
                           "--benchmark_repetitions=5")
    visits = statistics.median(counters(replay, "replay/context:8192/recall:0", "visits_per_s"))
    goal("replay_visits_per_s", ">=", 5e7, visits, "visits/s",
         "build/tests/traces_replay_bench --benchmark_filter=^replay", bench + "traces_replay_bench.json",
         "see the raw samples")

    des = run_benchmark(build, "sim_des_bench")
    hold = max(counters(des, "hold/", "time_ratio"))
    retime = min(counters(des, "retime/", "speedup"))
    command = "build/tests/sim_des_bench"
    goal("des_vs_priority_queue", "<=", 1.0, hold, "time ratio", command, bench + "sim_des_bench.json",
         "see the raw samples")
    goal("des_retime_speedup", ">=", 2, retime, "speed-up", command, bench + "sim_des_bench.json",
         "the re-timed keys of 65,536 events exceed the second-level cache")

    goal("simulate_seconds", "<=", 0.1, time_simulate(build, 21), "s, median of 21 processes",
         "build/retrosim " + " ".join(SIMULATE), bench + "simulate_process.json",
         "most of it is decoding the bundled trace")

    step = run_benchmark(build, "sim_step_bench", "--benchmark_repetitions=5", "--benchmark_min_time=1")
    goal("step_cpu_us", "<=", 200, statistics.median(counters(step, "decode_step/2", "cpu_time")), "us",
         "build/tests/sim_step_bench", bench + "sim_step_bench.json", "see the raw samples")

    recording = json.loads((SAMPLES / "recording" / "smollm2-135m-pride-full.json").read_text())
    goal("record_tokens_per_s", ">=", 20, recording["result"]["tokens_per_s"], "tokens/s", recording["command"],
         "reports/published/samples/recording/smollm2-135m-pride-full.json", "see the raw samples")

    figures = [json.loads((SAMPLES / "decoder-check" / f"figures-{part}-512.json").read_text())
               for part in ("first", "last")]
    command = ("RETROSIM_CHECKPOINT=smollm2-135m RETROSIM_TOKENS=pride.json RETROSIM_REFERENCE="
               "reports/published/samples/decoder-check/transformers-first-512.json "
               "build/tests/retrosim_traces_tests --gtest_filter='DecoderAgreement.*'")
    samples = "reports/published/samples/decoder-check/"
    goal("decoder_top1", ">=", 0.99, min(f["top1_agreement"] for f in figures), "share of 512 positions, worse of two",
         command, samples, "see the raw samples")
    goal("decoder_ppl_gap", "<=", 0.01, max(f["perplexity_gap"] for f in figures), "relative, worse of two",
         command, samples, "see the raw samples")

    out = PUBLISHED / "goals" / "spine.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(goals, indent=1) + "\n")
    for entry in goals:
        missed = "   MISSED" if "why" in entry else ""
        print(f"{entry['id']:24} {entry['value']:.4g} {entry['unit']} (goal {entry['comparison']} {entry['target']}){missed}")


if __name__ == "__main__":
    main()
