"""Reads .rtrace files (traces/FORMAT.md) with numpy, zstandard and xxhash; TraceWriter writes them.

    with TraceReader("x.rtrace") as trace:
        for chunk in range(trace.num_chunks):
            steps = trace.read_layer(chunk, slot=0)
            steps.pages[t][head], steps.mass[t][head], steps.rest[t][head]
"""

import json
import os
import struct
from dataclasses import dataclass

import numpy as np
import xxhash
import zstandard

from rtrace_codec import (
    CHUNK_MAGIC,
    END_MAGIC,
    MAGIC,
    MASS_SCALE,
    OLDER_MASS_SCALE,
    SCHEMA,
    VERSION,
    MassPredictor,
    left_to_indices,
    listed_pages,
    mass_table,
    num_pages,
    page_code_bytes,
    reference_lists,
    unzigzag,
)
from rtrace_writer import TraceWriter

__all__ = ["TraceError", "TraceReader", "TraceWriter", "LayerSteps"]


class TraceError(ValueError):
    """The file is not a trace, or is damaged; the message names file and place."""


@dataclass
class LayerSteps:
    """One recorded layer of one chunk; lists run over its steps."""

    first_step: int
    positions: list
    pages: list  # [steps] of uint32 [heads, listed], descending score
    mass: list  # [steps] of float32 [heads, listed]
    rest: np.ndarray  # float32 [steps, heads], mass of the pages not listed


class TraceReader:
    """Header and chunk table of a trace; layers are decoded when asked for. A cut-off file has `truncated` set."""

    def __init__(self, path):
        self.path = str(path)
        self._file = open(path, "rb")
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def _fail(self, place, message):
        raise TraceError(f"{self.path}: {place}: {message}")

    def _read(self, offset, size):
        self._file.seek(offset)
        return self._file.read(size)

    def _open(self):
        size = os.fstat(self._file.fileno()).st_size
        preamble = self._read(0, 24)
        if len(preamble) < 24 or preamble[:8] != MAGIC:
            self._fail("magic", "not a whole .rtrace header")
        version, json_bytes, checksum = struct.unpack("<IIQ", preamble[8:])
        if version != VERSION:
            self._fail("version", f"got {version}, expected {VERSION}")
        text = self._read(24, json_bytes)
        if len(text) < json_bytes or xxhash.xxh3_64_intdigest(text) != checksum:
            self._fail("header", "cut off or damaged")
        self.header = json.loads(text)
        scales = (MASS_SCALE, OLDER_MASS_SCALE)
        if self.header.get("schema") != SCHEMA or self.header.get("mass_scale") not in scales:
            self._fail("schema", f"expected {SCHEMA} with mass scale {' or '.join(scales)}")
        layers = len(self.header["recorded_layers"])
        self.chunks = []
        self.num_steps = 0
        self.truncated = False
        at = 24 + json_bytes
        while True:
            place = f"chunk {len(self.chunks)} at byte {at}"
            head = self._read(at, 24 + 16 * layers + 8)
            if len(head) < 4:
                self.truncated = True
                return
            magic = struct.unpack_from("<I", head)[0]
            if magic == END_MAGIC:
                end = head[:24]
                self.truncated = len(end) < 24
                if self.truncated:
                    return
                _, chunks, steps, checksum = struct.unpack("<IIQQ", end)
                counted = (len(self.chunks), self.num_steps)
                if xxhash.xxh3_64_intdigest(end[:16]) != checksum or (chunks, steps) != counted:
                    self._fail(place, "a damaged end mark")
                if size != at + 24:
                    self._fail(place, "bytes after the end mark")
                return
            if magic != CHUNK_MAGIC:
                self._fail(place, "neither a chunk nor the end mark")
            if len(head) < 24 + 16 * layers + 8:
                self.truncated = True
                return
            if xxhash.xxh3_64_intdigest(head[:-8]) != struct.unpack("<Q", head[-8:])[0]:
                self._fail(place, "a damaged chunk header")
            _, steps, first, _, _ = struct.unpack_from("<IIQII", head)
            if first != self.num_steps:
                self._fail(place, "steps that do not follow one another")
            blocks = []
            at += len(head)
            for layer in range(layers):
                compressed, raw, checksum = struct.unpack_from("<IIQ", head, 24 + 16 * layer)
                blocks.append((at, compressed, raw, checksum))
                at += compressed
            if at > size:
                self.truncated = True
                return
            self.chunks.append((first, steps, blocks))
            self.num_steps += steps

    @property
    def num_chunks(self):
        return len(self.chunks)

    def read_layer(self, chunk, slot):
        """Decodes recorded layer number `slot` of one chunk."""
        header = self.header
        first, count, blocks = self.chunks[chunk]
        at, compressed_bytes, raw_bytes, checksum = blocks[slot]
        place = f"chunk {chunk} at byte {at}"
        compressed = self._read(at, compressed_bytes)
        if xxhash.xxh3_64_intdigest(compressed) != checksum:
            self._fail(place, "bytes with another checksum")
        heads = header["num_kv_heads"]
        positions = [header["first_position"] + first + s for s in range(count)]
        listed = np.array([listed_pages(header, p) for p in positions])
        begin = np.concatenate([[0], np.cumsum(listed)])
        entries = int(begin[-1])
        planes = page_code_bytes(num_pages(header, positions[-1]))
        if raw_bytes != heads * (count * 5 + entries * (planes + 1)):
            self._fail(place, "a block of another size")
        raw = np.frombuffer(zstandard.ZstdDecompressor().decompress(compressed, max_output_size=raw_bytes), np.uint8)
        at = heads * count * 4
        rest = raw[:at].view("<f4").reshape(heads, count).T.copy()
        shifts = raw[at : at + heads * count].reshape(heads, count)
        at += heads * count
        left = np.zeros((heads, entries), np.int32)
        for plane in range(planes):
            left |= raw[at : at + heads * entries].reshape(heads, entries).astype(np.int32) << (8 * plane)
            at += heads * entries
        differences = unzigzag(raw[at:].reshape(heads, entries))

        # The indices of every step do not depend on each other: decode all rows of one length together.
        indices = [None] * count
        for length in np.unique(listed):
            steps = np.flatnonzero(listed == length)
            rows = np.concatenate([left[:, begin[s] : begin[s + 1]] for s in steps])
            for s, decoded in zip(steps, np.split(left_to_indices(rows), len(steps))):
                indices[s] = decoded
        table = mass_table(self.header["mass_scale"])
        result = LayerSteps(first, positions, [], [], rest)
        previous = np.zeros((heads, 0), np.int64)
        predictor = MassPredictor(heads)
        for s, position in enumerate(positions):
            count_now = num_pages(header, position)
            if indices[s].max() >= count_now or indices[s].min() < 0:
                self._fail(place, "page codes that are no ranking")
            pages = np.take_along_axis(reference_lists(previous, count_now), indices[s], axis=1)
            difference = differences[:, begin[s] : begin[s + 1]] + shifts[:, s : s + 1]
            if s == 0:
                codes = np.cumsum(difference, axis=1, dtype=np.uint8)
            else:
                codes = predictor.predict(pages, count_now) + difference
            predictor.update(pages, codes, count_now)
            previous = pages
            result.pages.append(pages.astype(np.uint32))
            result.mass.append(table[codes])
        return result
