#!/usr/bin/env python3
"""Records a model in a GGUF file, loaded by transformers, reading a text teacher-forced: one JSON object on stdout.

    record_gguf.py MODEL.gguf TEXT OUT.rtrace --tokens-out TOKENS.json --first-position N --steps N [--model-name NAME]

The perplexity of the recorded stretch says whether the conversion is right: a wrong row order, norm or tokenizer makes
it hundreds. Packages: requirements-check.txt, accelerate and gguf.
"""
import argparse
import json
import math
import pathlib
import sys

import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
from retrosim_record import record  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tokens-out", type=pathlib.Path, required=True)
    parser.add_argument("--first-position", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--model-name")
    args = parser.parse_args()
    first, last = args.first_position, args.first_position + args.steps

    place = {"pretrained_model_name_or_path": args.gguf.parent, "gguf_file": args.gguf.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    # Eight characters a token are more than any text needs.
    ids = tokenizer(args.text.read_text(encoding="utf-8")[: 8 * last])["input_ids"][: last + 1]
    args.tokens_out.write_text(json.dumps({"tokens": ids, "source": f"{args.text.name}: the first {last + 1} tokens"},
                                          separators=(",", ":")) + "\n")
    cache = transformers.DynamicCache(config=model.config)
    nats = 0.0
    with record(model, args.out, first_position=first, model_name=args.model_name,
                workload=f"{args.text.name}, teacher-forced") as recorder, torch.inference_mode():
        for at in [*range(0, first, 256), *range(first, last, 64)]:
            end = min(at + 256, first) if at < first else min(at + 64, last)
            logits = model(input_ids=torch.tensor([ids[at:end]]), past_key_values=cache,
                           logits_to_keep=1 if at < first else 0).logits[0]
            if at >= first:
                target = torch.tensor(ids[at + 1 : end + 1])
                nats += torch.nn.functional.cross_entropy(logits, target, reduction="sum").item()
    config = model.config.get_text_config()
    print(json.dumps({"steps": recorder.num_steps, "perplexity": math.exp(nats / args.steps),
                      "layer_types": getattr(config, "layer_types", None),
                      "sliding_window": getattr(config, "sliding_window", None),
                      "recorded_layers": recorder.layers}, indent=1))


if __name__ == "__main__":
    main()
