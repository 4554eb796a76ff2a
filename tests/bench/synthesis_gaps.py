#!/usr/bin/env python3
"""Held-out gaps of trace synthesis: for each trace and seed, how far the synthetic half is from the unseen one.

    python3 tests/bench/synthesis_gaps.py --retrosim build/retrosim --out gaps.json --seeds 5 A.rtrace B.rtrace ...
"""

import argparse
import json
import pathlib
import subprocess
import tempfile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", nargs="+")
    parser.add_argument("--retrosim", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    tests = []
    with tempfile.TemporaryDirectory() as folder:
        for trace in options.traces:
            for seed in range(1, options.seeds + 1):
                out = str(pathlib.Path(folder) / "s.rtrace")
                command = [options.retrosim, "trace", "synthesize", "--from", trace, "--holdout", "--steps", "1",
                           "--seed", str(seed), "--out", out, "--json"]
                answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                test = answer["held_out"][0]
                test["file"] = pathlib.Path(trace).name
                tests.append({"seed": seed, **test})
                print(test["file"], seed, round(test["worst_gap"], 4), flush=True)
    pathlib.Path(options.out).write_text(json.dumps({"tests": tests}, indent=1) + "\n")


if __name__ == "__main__":
    main()
