"""Records the attention of a Hugging Face causal LM as an .rtrace file while it generates or reads a text.

    from retrosim_record import record
    with record(model, "mine.rtrace", page_size=16):
        model.generate(**inputs, max_new_tokens=1024)

Every forward call's queries are recorded but those of the first call, the prompt; `first_position` changes that. Layers
with a sliding window are left dense and not recorded. See README.md.
"""

import contextlib
import math
import pathlib
import sys

import torch
import transformers
import xxhash
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from page_ranker import PageRanker
from rtrace_writer import TraceWriter

TOOL_VERSION = f"retrosim_record 1, transformers {transformers.__version__}, torch {torch.__version__}"


class RecordError(ValueError):
    """The model or the call cannot be recorded; the message says what was expected."""


@contextlib.contextmanager
def record(model, out, page_size=16, budget=None, max_tokens=None, first_position=None, layers=None, model_name=None,
           workload="", steps_per_chunk=128):
    """Records what `model` attends to inside the `with` block: one sequence, batch 1, a KV cache that only grows.

    budget: the largest fraction of the pages that the trace must serve; None lists all pages, so every budget can be
    replayed. It counts pages of `max_tokens` (default: the model's longest context). first_position: of the first
    recorded query; None: the first after the first forward call. layers: ascending; None: all without a sliding window.
    When the block raises, the whole chunks so far stay as OUT.partial, which every reader reads.
    """
    recorder = Recorder(model, out, page_size, budget, max_tokens, first_position, layers, model_name, workload,
                        steps_per_chunk)
    try:
        with recorder.attached():
            yield recorder
    except BaseException:
        recorder.abort()
        raise
    recorder.close()


def attention_modules(model):
    """Attention modules of a causal LM by layer."""
    found = {}
    for module in model.modules():
        if hasattr(module, "num_key_value_groups") and getattr(module, "layer_idx", None) is not None:
            found.setdefault(module.layer_idx, module)
    return dict(sorted(found.items()))


def has_sliding_window(module, config):
    types = getattr(config, "layer_types", None)
    if types is not None:
        return types[module.layer_idx] != "full_attention"
    return getattr(module, "sliding_window", None) is not None


def _hash(data):
    return f"xxh3:{xxhash.xxh3_64_hexdigest(data):0>16}"


def _hash_of_file(folder, name):
    """Of a local checkpoint's file; empty where there is none."""
    file = pathlib.Path(folder or "") / name
    if not folder or not file.is_file():
        return ""
    state = xxhash.xxh3_64()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 24):
            state.update(block)
    return f"xxh3:{state.hexdigest()}"


def _hash_of_tokens(tokens):
    return _hash(torch.tensor(tokens, dtype=torch.int32).numpy().tobytes())


class Recorder:
    """See record()."""

    def __init__(self, model, out, page_size, budget, max_tokens, first_position, layers, model_name, workload,
                 steps_per_chunk):
        config = model.config.get_text_config()
        if not 1 <= page_size <= 1024:
            raise RecordError(f"page_size: got {page_size}, expected 1 to 1024 tokens")
        if budget is not None and not 0 < budget <= 1:
            raise RecordError(f"budget: got {budget}, expected a fraction above 0, at most 1")
        if first_position is not None and first_position < 0:
            raise RecordError(f"first_position: got {first_position}, expected 0 or more")
        self._model, self._out, self._steps_per_chunk = model, str(out), steps_per_chunk
        self._first = first_position
        modules = attention_modules(model)
        recordable = [layer for layer, module in modules.items() if not has_sliding_window(module, config)]
        self._layers = recordable if layers is None else list(layers)
        if not self._layers or self._layers != sorted(set(self._layers) & set(recordable)):
            raise RecordError(f"layers: got {self._layers}, expected ascending ones of {recordable} (attention layers "
                              "without a sliding window)")
        self._slots = {id(modules[layer]): slot for slot, layer in enumerate(self._layers)}
        pages = math.ceil((max_tokens or config.max_position_embeddings) / page_size)
        top_m = 0 if budget is None else math.ceil(budget * pages)
        self._rankers = [PageRanker(page_size, top_m) for _ in self._layers]
        self._header = {
            "tool_version": TOOL_VERSION,
            "model_name": model_name or pathlib.Path(config._name_or_path or type(model).__name__).name,
            "config_hash": _hash_of_file(config._name_or_path, "config.json") or _hash(config.to_json_string().encode()),
            "checkpoint_hash": _hash_of_file(config._name_or_path, "model.safetensors"),
            "num_layers": config.num_hidden_layers,
            "recorded_layers": self._layers,
            "num_q_heads": config.num_attention_heads,
            "num_kv_heads": getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
            "head_dim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            "page_size_tokens": page_size,
            "top_m_pages": top_m,
            "scoring_rule": "quest",
            "group_reduction": "max",
            "recorded_policy": "full",
        }
        self._workload = workload
        self._writer = None
        self.tokens = []  # that ran through the model
        self._start = 0  # of the running forward call
        self._steps = None  # of the running forward call: per slot, a list over its recorded queries

    @property
    def layers(self):
        """The recorded ones."""
        return self._layers

    @property
    def num_steps(self):
        return 0 if self._writer is None else self._writer.num_steps

    @contextlib.contextmanager
    def attached(self):
        """Watches the model's forward calls, and its attention function, until the block ends."""
        name = self._model.config.get_text_config()._attn_implementation
        before = self._model.register_forward_pre_hook(self._call_begins, with_kwargs=True)
        after = self._model.register_forward_hook(self._call_ends)
        replaced = name in ALL_ATTENTION_FUNCTIONS._local_mapping
        function = ALL_ATTENTION_FUNCTIONS.get(name)
        ALL_ATTENTION_FUNCTIONS[name] = self._watched(function)
        try:
            yield
        finally:
            if replaced:
                ALL_ATTENTION_FUNCTIONS[name] = function
            else:
                del ALL_ATTENTION_FUNCTIONS[name]
            before.remove()
            after.remove()

    def _watched(self, function):
        def attend(module, query, key, value, attention_mask, **options):
            # The eager function is each model's own, beside its attention class.
            run = function or sys.modules[type(module).__module__].eager_attention_forward
            result = run(module, query, key, value, attention_mask, **options)
            slot = self._slots.get(id(module))
            if slot is not None and self._steps is not None:
                self._see(slot, module, query, key, options)
            return result

        return attend

    def _call_begins(self, _, args, options):
        ids = options.get("input_ids", args[0] if args else None)
        if ids is None or ids.shape[0] != 1:
            raise RecordError(f"input_ids: got {None if ids is None else tuple(ids.shape)}, expected one sequence "
                              "(batch 1, one beam) of token ids")
        mask = options.get("attention_mask")
        if mask is not None and mask.dim() == 2 and not bool(mask.all()):
            raise RecordError("attention_mask: has zeros, expected a sequence without padding")
        cache = options.get("past_key_values")
        self._start = 0 if cache is None else cache.get_seq_length()
        if self._start != len(self.tokens):
            raise RecordError(f"a forward call at position {self._start} after {len(self.tokens)} tokens: expected one "
                              "sequence that only grows, with its KV cache passed on")
        self.tokens += ids[0].tolist()
        if self._first is None and self._start > 0:
            self._first = self._start
        records = self._first is not None and len(self.tokens) > self._first
        self._steps = [None] * len(self._layers) if records else None

    def _see(self, slot, module, query, key, options):
        length = len(self.tokens)
        heads, dim = self._header["num_kv_heads"], self._header["head_dim"]
        if key.shape != (1, heads, length, dim):
            raise RecordError(f"layer {module.layer_idx}: keys of shape {tuple(key.shape)}, expected (1, {heads}, "
                              f"{length}, {dim}): a KV cache that holds every token (not static, quantised, evicting)")
        if options.get("s_aux") is not None:
            raise RecordError(f"layer {module.layer_idx}: attention sinks outside the softmax are not recorded")
        scaling = options.get("scaling")
        scaling = dim**-0.5 if scaling is None else scaling
        recorded = length - max(self._start, self._first)
        with torch.no_grad():
            self._steps[slot] = self._rankers[slot].rank(query[0, :, -recorded:], key[0], scaling,
                                                         options.get("softcap"))

    def _call_ends(self, *_):
        if self._steps is None:
            return
        for layer, seen in zip(self._layers, self._steps):
            if seen is None:
                raise RecordError(f"layer {layer}: did not attend through transformers' attention interface")
        if self._writer is None:
            known = {"num_tokens": len(self.tokens), "prompt_tokens": self._first,
                     "tokens_hash": _hash_of_tokens(self.tokens),
                     "prompt_hash": _hash_of_tokens(self.tokens[: self._first]), "first_position": self._first,
                     "workload": self._workload}
            self._writer = TraceWriter(self._out, self._header | known, self._steps_per_chunk, header_room=16)
        for heads in zip(*self._steps):  # one step: a (pages, mass, rest) per layer
            pages, mass, rest = zip(*heads)
            if self._writer.add_step(pages, mass, rest):
                self._name_tokens()
        self._steps = None

    def _name_tokens(self):
        """In the header: the tokens up to the last recorded step."""
        end = self._first + self._writer.num_steps
        self._writer.update_header(num_tokens=end, tokens_hash=_hash_of_tokens(self.tokens[:end]))

    def close(self):
        if self._writer is None:
            raise RecordError(f"{self._out}: nothing was recorded: {len(self.tokens)} tokens ran through the model, "
                              f"first recorded position {self._first}")
        self._name_tokens()
        self._writer.close()

    def abort(self):
        if self._writer is not None:
            self._writer.abort(keep=True)
