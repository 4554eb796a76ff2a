#!/usr/bin/env python3
"""Decides the goals of the GPU kernels from their committed raw samples: writes reports/published/goals/kernels.json.

The samples are what attention_bench, page_selection_bench, dense_baseline.py and step_bench wrote on a GPU; nothing is
measured here. Where a goal covers several shapes, its worst one decides, and attention counts with the merge of its
splits, as that is what a decoding step runs.
"""
import json
import math
import pathlib
import re
import statistics

ROOT = pathlib.Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "reports" / "published"
ON = "NVIDIA H200, driver 580.159.04, CUDA 13.0 (the goal names an H100; none was available)"
OTHER_GPU = "Measured on an H200, which has 1.43 times an H100's memory bandwidth; an H100 has not been measured."
SYNTHETIC = "The unseen sets follow synthetic selections (an autoregression), not a recorded trace: "


def load(path: str) -> dict:
    return json.loads((PUBLISHED / "samples" / path).read_text())


def attention_goals(goal) -> None:
    rows = load("kernels-h200/attention.json")["benchmarks"]
    times = {row["name"]: statistics.median(row["samples_us"]) for row in rows}
    size = {row["name"].split("/")[1]: row["bytes"] for row in rows if "bytes" in row}
    samples = "reports/published/samples/kernels-h200/attention.json"
    command = "build-cuda/tests/attention_bench --benchmark_out=attention.json --benchmark_out_format=json"

    def ceiling(shape: str) -> float:
        return min(t for name, t in times.items() if name.startswith(f"gather/{shape}/"))

    def worst_share(least: float, most: float, part: str) -> tuple[float, str]:
        shapes = [s for s, b in size.items() if s.startswith("sparse") and least <= b < most]
        return min((ceiling(s) / times[f"attention/{s}/{part}"], s) for s in shapes)

    for name, target, least, most in (("attn_large", 0.90, 64e6, math.inf), ("attn_medium", 0.78, 16e6, 64e6)):
        share, shape = worst_share(least, most, "with_merge")
        alone, shape_alone = worst_share(least, most, "alone")
        goal(name, ">=", target, share, "share of the gather kernel's bandwidth, worst shape, with the merge kernel",
             command, samples,
             f"{OTHER_GPU} The worst shape with the merge is {shape}. The attention kernel alone reaches {alone:.3f} at "
             f"worst ({shape_alone}); the rest is the merge's own launch of 2.5 to 4.3 us. With the merge, "
             f"sparse_32k_b16 (323 MB) reaches {ceiling('sparse_32k_b16') / times['attention/sparse_32k_b16/with_merge']:.3f} "
             f"and head size 256 (646 MB) "
             f"{ceiling('sparse_32k_b16_d256') / times['attention/sparse_32k_b16_d256/with_merge']:.3f}. A merge by the "
             "last block to finish, or through a cluster's shared memory, would save the second launch.")

    best: dict[tuple[int, int, int], float] = {}
    for row in load("kernels-h200/dense_baseline.json")["results"]:
        key = (row["context"], row["batch"], row["q_heads"] // row["kv_heads"])
        best[key] = min(best.get(key, math.inf), row["median_us"])
    ratios = []
    for (context, batch, group), theirs in best.items():
        for shape in (f"dense_{context // 1024}k_b{batch}_g{group}", f"dense_{context // 1024}k_b{batch}"):
            ours = times.get(f"attention/{shape}/with_merge")
            if ours is not None and (group == 4 or shape.endswith("_g8")):
                ratios.append(theirs / ours)
                break
    mean = statistics.geometric_mean(ratios)
    goal("attn_dense_vs_best", ">=", 1.0, mean,
         f"time of the best other kernel over ours, geometric mean of {len(ratios)} shapes, with the merge kernel",
         command + "; python3 tests/gpu_bench/dense_baseline.py > dense_baseline.json",
         samples + ", reports/published/samples/kernels-h200/dense_baseline.json",
         f"{OTHER_GPU} Between {min(ratios):.3f} and {max(ratios):.3f}; the merge's launch costs most at small shapes. The "
         "others are cuDNN and flash attention in PyTorch 2.11 over contiguous KV; FlashInfer was not there. They "
         "were timed from revision 421cc28, the kernels from 65fdb98.")
    for batch, target in ((1, 60.0), (16, 720.0)):
        goal(f"attn_dense_32k_b{batch}_us", "<=", target, times[f"attention/dense_32k_b{batch}/with_merge"],
             "us, with the merge kernel", command, samples, OTHER_GPU)

    for window, target in ((2, 1.03), (8, 1.08), (16, 1.15)):
        ratio = {}
        unseen = 0.0
        for row in rows:
            match = re.fullmatch(rf"window/32k_b(\d+)_w{window}", row["name"])
            if match:
                ratio[int(match[1])] = statistics.median(row["ratio_to_window_1"])
                unseen = max(unseen, row["unseen_visits_over_selected"])
        reason = {2: "missed at batch 1 only, by 1.4 us a launch; attention's share of it and the merge's were not separated",
                  8: "32 rows a tile: twice the arithmetic per tile, and eight times the rows' partial results",
                  16: "64 rows: two warps share a tile and both compute its scores; partial results of 512 rows"}[window]
        goal(f"attn_w{window}", "<=", target, max(ratio.values()),
             "time over the time at window 1, 32k, budget 0.15, worse of batch 1 and 16, with the merge kernel", command,
             samples,
             f"{SYNTHETIC}{unseen:.2f} unseen visits per selected page. Batch 1: {ratio[1]:.3f}, batch 16: "
             f"{ratio[16]:.3f}. {reason[0].upper()}{reason[1:]}. {OTHER_GPU}")


def selection_goals(goal) -> None:
    rows = load("kernels-h200/page_selection.json")["benchmarks"]
    times = {row["name"]: statistics.median(row["samples_us"]) for row in rows}
    size = {row["name"]: row["bytes"] for row in rows}
    samples = "reports/published/samples/kernels-h200/page_selection.json"
    command = "build-cuda/tests/page_selection_bench --benchmark_out=page_selection.json --benchmark_out_format=json"
    share = {name: times[name.replace("page_scores", "gather_summaries")] / time
             for name, time in times.items() if name.startswith("page_scores/")}
    unit = "share of the gather kernel's bandwidth"
    goal("score_large", ">=", 0.85, min(s for name, s in share.items() if size[name] >= 32e6), unit + ", worst shape",
         command, samples, OTHER_GPU)
    goal("score_32k", ">=", 0.70, share["page_scores/2048_pages_b1"], unit, command, samples, OTHER_GPU)
    goal("topk_us", "<=", 8.0, max(t for name, t in times.items() if name.startswith("top_k/2048_pages_")),
         "us, 2,048 pages x 8 heads, worst of batch 1, 4, 16, 32", command, samples, OTHER_GPU)


def step_goals(goal) -> None:
    run = {row["window"]: row for row in load("step-h200/step.json")["results"]}
    samples = "reports/published/samples/step-h200/step.json"
    command = ("build-cuda/tests/step_bench --own-prefetch-kib 0 --next-prefetch-kib 0 --rounds 300 --windows 1,2,8 "
               "--out step.json")
    cause = ("Likely cause, from experiments outside the published runs: blocks of two products share an SM, so that early "
             "blocks of the next one crowd the SMs that are free first; one product block per SM shortened the step at "
             "every window. Its results have not been checked on a GPU, so it is not in the code. ")
    goal("step_over_floor", "<=", 1.25, run[1]["step_over_floor"], "time over the byte floor, window 1", command, samples,
         cause + OTHER_GPU)
    sets = ("The unseen sets follow synthetic selections (random weights; 0.29 of the selected pages were selected a step "
            "before), not a recorded trace. ")
    for window, target in ((2, 0.10), (8, 0.25)):
        goal(f"retro_w{window}_ms", "<=", target, run[window]["over_window_1_us_paired_p50"] / 1e3,
             "ms per token over window 1, paired median", command, samples,
             sets + ("Operations timed alone add up to 0.09 ms more than at window 1: added work, not lost overlap. "
                     if window == 2 else
                     "Operations timed alone add up to 0.51 ms more than at window 1, above the goal by themselves; the rest "
                     "is overlap lost between kernels. " + cause) + OTHER_GPU)
    goal("kernels_per_layer", "<=", 12, max(row["kernels_per_sparse_layer"] for row in run.values()),
         "kernels per sparse layer in the captured step, windows 1, 2 and 8", command, samples, OTHER_GPU)


def main() -> None:
    goals = []

    def goal(name: str, comparison: str, target: float, value: float, unit: str, command: str, samples: str,
             why: str) -> None:
        met = value <= target if comparison == "<=" else value >= target
        entry = {"id": name, "target": target, "comparison": comparison, "value": round(value, 4), "unit": unit,
                 "measured_on": ON, "command": command, "samples": samples}
        # The named GPU was not available: also a goal that is met says so.
        entry["why"] = why if not met else "Met on an H200. " + (why if why == OTHER_GPU else OTHER_GPU)
        goals.append(entry)
        print(f"{name:24} {value:.4g} (goal {comparison} {target}){'' if met else '   MISSED'}")

    attention_goals(goal)
    selection_goals(goal)
    step_goals(goal)
    (PUBLISHED / "goals").mkdir(exist_ok=True)
    (PUBLISHED / "goals" / "kernels.json").write_text(json.dumps(goals, indent=1) + "\n")


if __name__ == "__main__":
    main()
