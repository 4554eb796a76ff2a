"""Records tiny random models with traces/python/retrosim_record.py: python3 record_tiny_models.py FOLDER.

Leaves in FOLDER: checkpoint/ (a Llama of two layers), tokens.json and forced.rtrace (teacher-forced in calls of several
lengths), generated.json and generated.rtrace (generate()), cut.rtrace.partial (a recording that was broken off), and
gemma.rtrace (a Gemma 3 with one sliding-window layer of two). Checks here what needs the model itself.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "traces" / "python"))
from retrosim_record import RecordError, record  # noqa: E402
from rtrace import TraceReader  # noqa: E402

transformers.utils.logging.disable_progress_bar()
FOLDER = pathlib.Path(sys.argv[1])
PROMPT, LENGTH, PAGE = 40, 103, 4
torch.manual_seed(7)


def tiny_llama():
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, tie_word_embeddings=True, rope_theta=10000.0,
        initializer_range=0.5, bos_token_id=0, eos_token_id=None)
    transformers.LlamaForCausalLM(config).save_pretrained(FOLDER / "checkpoint")
    return transformers.AutoModelForCausalLM.from_pretrained(FOLDER / "checkpoint", dtype=torch.float32).eval()


def tiny_gemma():
    config = transformers.Gemma3TextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=256, sliding_window=16, query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"], attn_implementation="eager", eos_token_id=None)
    return transformers.Gemma3ForCausalLM(config).eval()


def read_in_calls(model, tokens, lengths):
    """Teacher forcing: the tokens in calls of `lengths`, the last one of what is left."""
    cache = transformers.DynamicCache(config=model.config)
    done = 0
    while done < len(tokens):
        count = lengths.pop(0) if lengths else len(tokens) - done
        with torch.inference_mode():
            model(input_ids=torch.tensor([tokens[done : done + count]]), past_key_values=cache)
        done += count


def write_tokens(name, tokens):
    (FOLDER / name).write_text(json.dumps({"tokens": tokens, "source": "random"}))


def expect_error(words, call):
    try:
        call()
    except RecordError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"no error: {words}")


def check_gemma(model, tokens):
    """Only the full-attention layer is recorded, and the masses are those of the eager attention weights."""
    path = FOLDER / "gemma.rtrace"
    with record(model, path, page_size=PAGE, first_position=PROMPT):
        read_in_calls(model, tokens, [PROMPT, 1, 30])
    with torch.inference_mode():
        attentions = model(input_ids=torch.tensor([tokens]), output_attentions=True, use_cache=False).attentions[1][0]
    with TraceReader(path) as trace:
        assert trace.header["recorded_layers"] == [1] and trace.num_steps == LENGTH - PROMPT
        for chunk in range(trace.num_chunks):
            steps = trace.read_layer(chunk, 0)
            for position, pages, mass in zip(steps.positions, steps.pages, steps.mass):
                weights = attentions[:, position, : position + 1].mean(0).numpy()
                of_page = np.add.reduceat(weights, np.arange(0, position + 1, PAGE))
                # The container's scale is off by at most 2.2 % above 1/64, 9.1 % above 1/512.
                large = of_page[pages[0]] > 1 / 64
                assert np.allclose(mass[0][large], of_page[pages[0]][large], rtol=0.023), position


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    llama = tiny_llama()
    tokens = torch.randint(1, 64, (LENGTH,)).tolist()
    write_tokens("tokens.json", tokens)
    with record(llama, FOLDER / "forced.rtrace", page_size=PAGE, first_position=PROMPT, steps_per_chunk=16):
        read_in_calls(llama, tokens, [PROMPT - 3, 11, 1, 2])  # the second call begins in the prompt

    prompt = torch.tensor([tokens[:PROMPT]])
    with record(llama, FOLDER / "generated.rtrace", page_size=PAGE, workload="three lines") as recorder:
        llama.generate(prompt, max_new_tokens=50, do_sample=False)
    write_tokens("generated.json", recorder.tokens)
    assert recorder.num_steps == len(recorder.tokens) - PROMPT == 49  # the last token is never read

    with record(llama, FOLDER / "best.rtrace", page_size=PAGE, budget=0.1, max_tokens=100):
        llama.generate(prompt, max_new_tokens=5, do_sample=False)
    with TraceReader(FOLDER / "best.rtrace") as trace:
        assert trace.header["top_m_pages"] == 3  # 0.1 of 25 pages, rounded up

    try:
        with record(llama, FOLDER / "cut.rtrace", page_size=PAGE, first_position=PROMPT, steps_per_chunk=16):
            read_in_calls(llama, tokens[:80], [PROMPT])
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass

    def twice():
        with record(llama, FOLDER / "twice.rtrace"):
            llama(prompt)
            llama(prompt)

    def batch():
        with record(llama, FOLDER / "batch.rtrace"):
            llama(prompt.repeat(2, 1))

    def nothing():
        with record(llama, FOLDER / "nothing.rtrace"):
            llama(prompt)

    expect_error("one sequence that only grows", twice)
    expect_error("expected one sequence", batch)
    expect_error("nothing was recorded", nothing)
    expect_error("layers", lambda: record(tiny_gemma(), FOLDER / "no.rtrace", layers=[0]).__enter__())
    check_gemma(tiny_gemma(), tokens)


if __name__ == "__main__":
    main()
