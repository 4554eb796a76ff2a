"""Reads a trace with traces/python/rtrace.py and writes it again: python3 copy_trace.py IN OUT STEPS_PER_CHUNK."""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "traces" / "python"))
from rtrace import TraceReader, TraceWriter  # noqa: E402

with TraceReader(sys.argv[1]) as trace, TraceWriter(sys.argv[2], trace.header, int(sys.argv[3])) as copy:
    for chunk in range(trace.num_chunks):
        layers = [trace.read_layer(chunk, slot) for slot in range(len(trace.header["recorded_layers"]))]
        for step in range(len(layers[0].positions)):
            copy.add_step(
                np.stack([layer.pages[step] for layer in layers]),
                np.stack([layer.mass[step] for layer in layers]),
                np.stack([layer.rest[step] for layer in layers]),
            )
