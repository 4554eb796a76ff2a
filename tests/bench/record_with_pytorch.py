#!/usr/bin/env python3
"""Records a text teacher-forced with retrosim_record and prints what that costs beside the same calls alone.

    record_with_pytorch.py CHECKPOINT TOKENS.json OUT.rtrace --first-position N --steps N [--chunk N]
"""
import argparse
import json
import pathlib
import sys
import time

import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "traces" / "python"))
from retrosim_record import record  # noqa: E402


def read(model, tokens, cache, first, last, chunk):
    """Runs tokens first .. last - 1; returns the CPU seconds."""
    start = time.process_time()
    with torch.inference_mode():
        for at in range(first, last, chunk):
            part = torch.tensor([tokens[at : min(at + chunk, last)]])
            model(input_ids=part, past_key_values=cache, logits_to_keep=1)
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("tokens", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--first-position", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--chunk", type=int, default=64, help="recorded tokens of one call")
    args = parser.parse_args()
    first, last = args.first_position, args.first_position + args.steps
    document = json.loads(args.tokens.read_text())
    tokens = document["tokens"][:last]
    model = transformers.AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=torch.float32).eval()
    cache = transformers.DynamicCache(config=model.config)
    with record(model, args.out, first_position=first, workload=document.get("source", "")):
        prompt = read(model, tokens, cache, 0, first, 512)
        recording = read(model, tokens, cache, first, last, args.chunk)
    cache.crop(-args.steps)
    alone = read(model, tokens, cache, first, last, args.chunk)
    print(json.dumps({"steps": args.steps, "first_position": first, "tokens_per_call": args.chunk,
                      "prompt_cpu_s": prompt, "recording_cpu_s": recording, "without_recording_cpu_s": alone}))


if __name__ == "__main__":
    main()
