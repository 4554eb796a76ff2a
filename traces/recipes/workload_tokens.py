#!/usr/bin/env python3
"""Makes the tokens of a workload from its sources, for `retrosim trace record` and `retrosim fidelity`.

    workload_tokens.py code CHECKPOINT OUT.json --commit HASH --files 'traces/*.cpp'
    workload_tokens.py gsm8k CHECKPOINT OUT.json --questions gsm8k_test.jsonl [--record OUT.rtrace]
    workload_tokens.py chat CHECKPOINT OUT.json --questions gsm8k_test.jsonl [--record OUT.rtrace]

code: files of this repository at a commit, each after a line with its name, in the order of their names. gsm8k: all
questions in one prompt, the answers generated one after another, as in LongGenBench. chat: a question is a user's
turn, the answer is generated, the history grows. Generated means: the model's own samples (dense attention, float32),
fed back to it; nothing is taken from the data set's answers. --record records the attention while it generates.
"""
import argparse
import contextlib
import fnmatch
import hashlib
import json
import pathlib
import subprocess
import sys

INSTRUCTION = ("Answer each question step by step, in the order given. Start each response with 'Answer_' and its "
               "number, and end it with 'The answer is' and the number. Do not repeat the question.")


def write_tokens(args, tokens, source):
    tokenizer = hashlib.sha256((args.checkpoint / "tokenizer.json").read_bytes()).hexdigest()
    document = {"tokens": tokens, "source": source, "tokenizer": "sha256:" + tokenizer}
    args.out.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{args.out}: {len(tokens)} tokens; {source}", file=sys.stderr)


def load_tokenizer(args):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(args.checkpoint / "tokenizer.json"))


def git(*command):
    root = pathlib.Path(__file__).resolve().parents[2]
    return subprocess.run(["git", "-C", root, *command], check=True, capture_output=True, text=True).stdout


def write_code(args):
    names = fnmatch.filter(git("ls-tree", "-r", "--name-only", args.commit).splitlines(), args.files)
    text = "".join(f"// {name}\n{git('show', f'{args.commit}:{name}')}\n" for name in sorted(names))
    ids = load_tokenizer(args).encode(text, add_special_tokens=False).ids
    if len(ids) < args.max_tokens:
        sys.exit(f"--files {args.files}: {len(ids)} tokens, expected {args.max_tokens}")
    write_tokens(args, ids[: args.max_tokens],
                 f"this repository at {args.commit}, {args.files}: the first {args.max_tokens} of {len(ids)} tokens")


class Writer:
    """A text that the model continues: tokens given or sampled, each run through the model once."""

    def __init__(self, args):
        import torch
        import transformers

        self._torch = torch
        self.tokenizer = load_tokenizer(args)
        self.end_of_turn = self.tokenizer.token_to_id("<|im_end|>")
        self.model = transformers.AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=torch.float32).eval()
        self._cache = transformers.DynamicCache(config=self.model.config)
        self._random = torch.Generator().manual_seed(args.seed)
        self._args = args
        self.tokens, self.given = [], 0
        self._logits = None

    @property
    def left(self):
        return self._args.max_tokens - len(self.tokens)

    def _run(self, ids):
        for first in range(0, len(ids), 512):
            part = self._torch.tensor([ids[first : first + 512]])
            with self._torch.inference_mode():
                output = self.model(input_ids=part, past_key_values=self._cache, logits_to_keep=1)
            self._logits = output.logits[0, -1]
        self.tokens += ids

    def give(self, text):
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids[: self.left]
        self.given += len(ids)
        self._run(ids)

    def _sample(self):
        """Temperature, then the nucleus of probability top_p."""
        probabilities, ids = (self._logits / self._args.temperature).softmax(-1).sort(descending=True)
        probabilities[probabilities.cumsum(-1) - probabilities > self._args.top_p] = 0
        return int(ids[self._torch.multinomial(probabilities, 1, generator=self._random)])

    def generate(self, most, stop):
        """At most so many tokens; ends before the end of turn, or (True) when the text so far ends with `stop`."""
        text = []
        while len(text) < most and self.left > 0:
            token = self._sample()
            if token == self.end_of_turn:
                return False
            text.append(token)
            self._run([token])
            if len(self.tokens) % 256 == 0:
                print(f"{len(self.tokens)} tokens", file=sys.stderr)
            if stop and self.tokenizer.decode(text[-8:]).endswith(stop):
                return True
        return False

    def recording(self):
        if self._args.record is None:
            return contextlib.nullcontext()
        sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
        from retrosim_record import record

        return record(self.model, self._args.record, first_position=self._args.first_position)


def generated(args, writer, what):
    settings = f"temperature {args.temperature}, top-p {args.top_p}, seed {args.seed}"
    counts = f"{writer.given} tokens given, {len(writer.tokens) - writer.given} generated ({settings})"
    write_tokens(args, writer.tokens, f"{what}; {counts}")


def questions_of(args):
    return [json.loads(line)["question"] for line in args.questions.read_text(encoding="utf-8").splitlines()]


# SmolLM2's chat template (tokenizer.chat_template in the GGUF file).
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def chat_turn(role, text):
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def write_gsm8k(args):
    writer = Writer(args)
    asked = questions_of(args)[: args.num_questions]
    listed = "\n\n".join(f"Question_{i}: {question}" for i, question in enumerate(asked, 1))
    with writer.recording():
        turns = chat_turn("system", SYSTEM) + chat_turn("user", f"{INSTRUCTION}\n\n{listed}")
        writer.give(turns + "<|im_start|>assistant\n")
        for i in range(1, len(asked) + 1):
            writer.give(f"Answer_{i}:")
            ended = writer.generate(args.longest_answer, "\n\n")
            if writer.left <= 0:
                break
            if not ended:
                writer.give("\n\n")
        generated(args, writer, f"{len(asked)} questions of {args.questions.name} in one prompt, {i} answers")


def write_chat(args):
    writer = Writer(args)
    with writer.recording():
        writer.give(chat_turn("system", SYSTEM))
        for turns, question in enumerate(questions_of(args), 1):
            writer.give(chat_turn("user", question) + "<|im_start|>assistant\n")
            writer.generate(args.longest_answer, None)
            if writer.left <= 0:
                break
            writer.give("<|im_end|>\n")
        generated(args, writer, f"chat of {turns} turns, the user's from {args.questions.name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, write in (("code", write_code), ("gsm8k", write_gsm8k), ("chat", write_chat)):
        verb = verbs.add_parser(name)
        verb.set_defaults(write=write)
        verb.add_argument("checkpoint", type=pathlib.Path)
        verb.add_argument("out", type=pathlib.Path)
        verb.add_argument("--max-tokens", type=int, default=8192)
        if name == "code":
            verb.add_argument("--commit", required=True)
            verb.add_argument("--files", required=True, help="pattern of file names")
            continue
        verb.add_argument("--questions", type=pathlib.Path, required=True)
        verb.add_argument("--longest-answer", type=int, default=256, help="tokens")
        verb.add_argument("--temperature", type=float, default=0.7)
        verb.add_argument("--top-p", type=float, default=0.9)
        verb.add_argument("--seed", type=int, default=1)
        verb.add_argument("--record", type=pathlib.Path)
        verb.add_argument("--first-position", type=int, default=7168, help="of the recording")
        if name == "gsm8k":
            verb.add_argument("--num-questions", type=int, default=100)
    args = parser.parse_args()
    args.write(args)


if __name__ == "__main__":
    main()
