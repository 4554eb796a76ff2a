#!/usr/bin/env python3
"""Turns a GGUF file of a Llama-architecture model into a Hugging Face checkpoint, and text into token ids.

    gguf_to_checkpoint.py checkpoint MODEL.gguf FOLDER      config.json, model.safetensors, tokenizer.json
    gguf_to_checkpoint.py tokens FOLDER TEXT OUT.json       [--skip-tokens N] [--max-tokens N] [--jsonl-field NAME]

A tokens file is one JSON object: {"tokens": [ids], "source": sentence, "tokenizer": sha256 of tokenizer.json}.
Packages: requirements-checkpoint.txt.
"""
import argparse
import hashlib
import json
import pathlib
import sys

import numpy as np

# Pre-tokenizers by their GGUF name. smollm: every digit is a token of its own, then GPT-2's pattern (llama.cpp,
# LLAMA_VOCAB_PRE_TYPE_SMOLLM; SmolLM2's tokenizer.json: Digits(individual_digits), ByteLevel).
PRE_TOKENIZERS = ("smollm", "gpt-2")


def field(reader, key, default=None):
    found = reader.fields.get(key)
    if found is None:
        if default is None:
            sys.exit(f"{key}: missing from the GGUF file")
        return default
    return found.contents()


def unpermute(rows, num_heads):
    """Undoes llama.cpp's row order of Wq and Wk, which interleaves the two halves of each head for its RoPE.

    The converter maps row (half h, i) of a head, half-split, to (i, h); see LlamaModel.permute in convert_hf_to_gguf.py.
    """
    out, inner = rows.shape
    return rows.reshape(num_heads, out // num_heads // 2, 2, inner).swapaxes(1, 2).reshape(out, inner)


def read_config(reader):
    if field(reader, "general.architecture") != "llama":
        sys.exit(f"general.architecture: got {field(reader, 'general.architecture')}, expected llama")
    for key in reader.fields:
        if key.startswith("llama.rope.scaling"):
            sys.exit(f"{key}: RoPE scaling is not supported")
    heads = int(field(reader, "llama.attention.head_count"))
    hidden = int(field(reader, "llama.embedding_length"))
    names = {tensor.name for tensor in reader.tensors}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": int(field(reader, "llama.feed_forward_length")),
        "num_hidden_layers": int(field(reader, "llama.block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(field(reader, "llama.attention.head_count_kv", heads)),
        "head_dim": int(field(reader, "llama.rope.dimension_count", hidden // heads)),
        "vocab_size": len(field(reader, "tokenizer.ggml.tokens")),
        "max_position_embeddings": int(field(reader, "llama.context_length")),
        # Stored as float32; the shortest decimal that is the same float32 is what the original config said.
        "rms_norm_eps": float(str(np.float32(field(reader, "llama.attention.layer_norm_rms_epsilon")))),
        "rope_theta": float(field(reader, "llama.rope.freq_base", 10000.0)),
        "tie_word_embeddings": "output.weight" not in names,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": int(field(reader, "tokenizer.ggml.bos_token_id")),
        "eos_token_id": int(field(reader, "tokenizer.ggml.eos_token_id")),
        "torch_dtype": "float32",
    }


def hf_name(name):
    outside = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
               "output.weight": "lm_head.weight"}
    if name in outside:
        return outside[name]
    inside = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
              "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
              "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in inside or parts[3] != "weight":
        sys.exit(f"{name}: not a tensor of a Llama model")
    return f"model.layers.{parts[1]}.{inside[parts[2]]}.weight"


def write_checkpoint(gguf_file, folder):
    import gguf
    from safetensors.numpy import save_file

    reader = gguf.GGUFReader(gguf_file)
    config = read_config(reader)
    tensors = {}
    for tensor in reader.tensors:
        # GGUF lists sizes innermost first; the data are row-major with the sizes reversed.
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        values = values.reshape([int(size) for size in reversed(tensor.shape)])
        name = hf_name(tensor.name)
        if name.endswith("q_proj.weight"):
            values = unpermute(values, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            values = unpermute(values, config["num_key_value_heads"])
        tensors[name] = np.ascontiguousarray(values)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    build_tokenizer(reader).save(str(folder / "tokenizer.json"))


def build_tokenizer(reader):
    """Byte-level BPE from the vocabulary and merges in the GGUF file."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if field(reader, "tokenizer.ggml.model") != "gpt2":
        sys.exit(f"tokenizer.ggml.model: got {field(reader, 'tokenizer.ggml.model')}, expected gpt2 (byte-level BPE)")
    pre = field(reader, "tokenizer.ggml.pre")
    if pre not in PRE_TOKENIZERS:
        sys.exit(f"tokenizer.ggml.pre: got {pre}, expected one of {', '.join(PRE_TOKENIZERS)}")
    tokens = field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level]) if pre == "smollm" else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, field(reader, "tokenizer.ggml.token_type")) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def read_text(args):
    text = args.text.read_text(encoding="utf-8")
    if args.jsonl_field is None:
        return text, args.text.name
    pieces = [json.loads(line)[args.jsonl_field] for line in text.splitlines() if line.strip()]
    joined = "\n\n".join(f"Question {i}: {piece}" for i, piece in enumerate(pieces, 1))
    return joined, f"{args.text.name}, field '{args.jsonl_field}' of every line, numbered and concatenated"


def refuse(message):
    """An argument that cannot be: exit code 2, as argparse does it."""
    print(f"gguf_to_checkpoint.py: error: {message}", file=sys.stderr)
    sys.exit(2)


def write_tokens(args):
    from tokenizers import Tokenizer

    tokenizer_file = args.folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    text, source = read_text(args)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if tokenizer.decode(ids, skip_special_tokens=False) != text:
        sys.exit(f"{args.text}: the tokens do not decode to the text again")
    if args.skip_tokens >= len(ids):
        refuse(f"--skip-tokens: got {args.skip_tokens}, expected fewer than the {len(ids)} tokens of {args.text}")
    end = args.skip_tokens + args.max_tokens if args.max_tokens else len(ids)
    kept = ids[args.skip_tokens : end]
    which = f"the first {len(kept)}" if args.skip_tokens == 0 else f"{len(kept)} after the first {args.skip_tokens}"
    args.out.write_text(json.dumps({
        "tokens": kept,
        "source": f"{source}: {which} of {len(ids)} tokens",
        "tokenizer": "sha256:" + hashlib.sha256(tokenizer_file.read_bytes()).hexdigest(),
    }, separators=(",", ":")) + "\n")
    print(f"{args.out}: {len(kept)} of {len(ids)} tokens; the text round-trips", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    checkpoint = verbs.add_parser("checkpoint")
    checkpoint.add_argument("gguf", type=pathlib.Path)
    checkpoint.add_argument("folder", type=pathlib.Path)
    tokens = verbs.add_parser("tokens")
    tokens.add_argument("folder", type=pathlib.Path)
    tokens.add_argument("text", type=pathlib.Path)
    tokens.add_argument("out", type=pathlib.Path)
    tokens.add_argument("--skip-tokens", type=int, default=0, help="leave out so many at the beginning")
    tokens.add_argument("--max-tokens", type=int, default=0, help="0: all")
    tokens.add_argument("--jsonl-field", help="concatenate this field of every line of a JSON-lines file")
    args = parser.parse_args()
    if args.verb == "tokens" and min(args.skip_tokens, args.max_tokens) < 0:
        refuse(f"--skip-tokens {args.skip_tokens} --max-tokens {args.max_tokens}: expected 0 or more")
    if args.verb == "checkpoint":
        write_checkpoint(args.gguf, args.folder)
    else:
        write_tokens(args)


if __name__ == "__main__":
    main()
