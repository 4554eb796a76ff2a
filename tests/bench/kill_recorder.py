#!/usr/bin/env python3
"""Kills the recorder at random moments and counts the chunks that are lost.

    python3 tests/bench/kill_recorder.py --retrosim build/retrosim --checkpoint DIR --tokens tokens.json --kills 100

A run records from position 0 and is killed (SIGKILL) at a random moment of its recording. Its progress lines say how many
steps it had recorded; the partial file is then read. Lost is what was recorded and cannot be read, in chunks, the one in
progress counted whole.
"""

import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time


def run_once(args, seconds: float) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "t.rtrace"
        log = pathlib.Path(folder) / "log"
        with open(log, "w") as stderr:
            process = subprocess.Popen([args.retrosim, "trace", "record", "--checkpoint", args.checkpoint, "--tokens", args.tokens,
                                        "--steps", "2048", "--layers", "0,1", "--chunk-tokens", "16", "--threads", "1",
                                        "--out", out], stderr=stderr, stdout=subprocess.DEVNULL)
            while not re.search(r"\d+ of \d+ steps recorded", log.read_text()) and process.poll() is None:
                time.sleep(0.02)
            time.sleep(seconds)
            process.kill()
            process.wait()
        recorded = [int(n) for n in re.findall(r"(\d+) of \d+ steps recorded", log.read_text())]
        recorded = max(recorded, default=0)
        partial = out if out.exists() else out.with_name("t.rtrace.partial")
        info = subprocess.run([args.retrosim, "trace", "info", partial, "--json"], capture_output=True, text=True)
        if info.returncode != 0:
            return {"seconds": seconds, "recorded_steps": recorded, "error": info.stderr.strip()}
        readable = json.loads(info.stdout)
        lost = max(0, recorded - readable["num_steps"])
        return {"seconds": round(seconds, 3), "recorded_steps": recorded, "readable_steps": readable["num_steps"],
                "lost_chunks": -(-lost // args.steps_per_chunk)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retrosim", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--longest", type=float, default=4, help="seconds after the first recorded step")
    parser.add_argument("--steps-per-chunk", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    moments = random.Random(args.seed)
    kills = []
    for _ in range(args.kills):
        kills.append(run_once(args, moments.uniform(0, args.longest)))
        args.out.write_text(json.dumps({"steps_per_chunk": args.steps_per_chunk, "kills": kills}, indent=1) + "\n")
    failed = [kill for kill in kills if "error" in kill]
    print(f"{len(kills)} kills, {len(failed)} unreadable, worst loss {max(k.get('lost_chunks', 0) for k in kills)} chunks",
          file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
