#!/usr/bin/env python3
"""Next-token log-probabilities of a checkpoint by transformers (PyTorch, CPU, float32): the independent implementation.

    reference_log_probs.py CHECKPOINT TOKENS.json OUT.json [--first N] [--positions N]

Reads tokens[0 .. first + positions]; position p in [first, first + positions) predicts token p + 1.
"""
import argparse
import json
import pathlib

import torch
import transformers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("tokens", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--positions", type=int, default=512)
    args = parser.parse_args()

    tokens = json.loads(args.tokens.read_text())["tokens"][: args.first + args.positions + 1]
    model = transformers.AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([tokens[:-1]]), logits_to_keep=args.positions, use_cache=False).logits[0]
    log_probs = torch.log_softmax(logits.double(), dim=-1)
    best = log_probs.topk(2, dim=-1)
    positions = []
    for row in range(args.positions):
        token = tokens[args.first + row + 1]
        positions.append({"position": args.first + row, "next_token": token,
                          "next_log_prob": round(log_probs[row, token].item(), 6),
                          "top1": best.indices[row, 0].item(), "top1_log_prob": round(best.values[row, 0].item(), 6),
                          "top2_log_prob": round(best.values[row, 1].item(), 6)})
    args.out.write_text(json.dumps({"implementation": f"transformers {transformers.__version__}, "
                                    f"torch {torch.__version__}, float32, CPU", "positions": positions}) + "\n")


if __name__ == "__main__":
    main()
