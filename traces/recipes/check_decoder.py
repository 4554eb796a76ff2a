#!/usr/bin/env python3
"""Compares next-token predictions of two implementations, position by position. Standard library only.

    check_decoder.py REFERENCE.json OURS.json     prints one JSON object
"""
import json
import math
import pathlib
import sys


def perplexity(positions):
    return math.exp(-sum(p["next_log_prob"] for p in positions) / len(positions))


def main():
    reference, ours = (json.loads(pathlib.Path(name).read_text()) for name in sys.argv[1:3])
    pairs = list(zip(reference["positions"], ours["positions"], strict=True))
    for a, b in pairs:
        if (a["position"], a["next_token"]) != (b["position"], b["next_token"]):
            sys.exit(f"position {a['position']}: the two files are of different texts")
    same = sum(a["top1"] == b["top1"] for a, b in pairs)
    expected, got = perplexity(reference["positions"]), perplexity(ours["positions"])
    print(json.dumps({
        "reference": reference["implementation"],
        "positions": len(pairs),
        "first_position": pairs[0][0]["position"],
        "top1_agreement": same / len(pairs),
        "perplexity_reference": expected,
        "perplexity": got,
        "perplexity_gap": abs(got / expected - 1),
        "next_log_prob_difference_max": max(abs(a["next_log_prob"] - b["next_log_prob"]) for a, b in pairs),
    }, indent=2))


if __name__ == "__main__":
    main()
