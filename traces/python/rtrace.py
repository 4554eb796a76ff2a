"""Reads and writes .rtrace files (traces/FORMAT.md) with numpy, zstandard and xxhash.

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

MAGIC = b"\x89RTRACE\n"
VERSION = 1
CHUNK_MAGIC = 0x4B4E4843
END_MAGIC = 0x53444E45
SCHEMA = "retrosim.rtrace/1"
MASS_SCALE = "log2-16-4-2-1"
OLDER_MASS_SCALE = "log2-16-4-2"  # of traces written before: read, not written


class TraceError(ValueError):
    """The file is not a trace, or is damaged; the message names file and place."""


def mass_table(scale=MASS_SCALE):
    """Mass of each of the 256 codes (float32); see traces/mass_scale.h."""
    x = 255.0 - np.arange(256)
    coarse = np.where(x < 114, 9 + (x - 108) / 2, 12 + (x - 114)) if scale == MASS_SCALE else 9 + (x - 108) / 2
    octaves = np.where(x < 96, x / 16, np.where(x < 108, 6 + (x - 96) / 4, coarse))
    mean_of_octave = np.float32(1.0201394)  # (2^(1/2) - 2^(-1/2)) / ln 2
    mass = np.exp2(-octaves).astype(np.float32)
    if scale == MASS_SCALE:
        mass[x > 114] *= mean_of_octave
    mass[0] = 0
    return mass


def mass_codes(mass):
    """Nearest codes of masses in [0, 1] on MASS_SCALE."""
    mass = np.asarray(mass, dtype=np.float64)
    o = np.maximum(-np.log2(np.where(mass > 0, mass, 1.0)), 0)
    coarse = np.where(o < 12, 108 + 2 * (o - 9), 114 + (o - 12))
    x = np.where(o < 6, 16 * o, np.where(o < 9, 96 + 4 * (o - 6), coarse))
    codes = np.maximum(255 - np.floor(x + 0.5), 0)
    return np.where(mass > 0, codes, 0).astype(np.uint8)


def zigzag(difference):
    d = difference.astype(np.uint8)
    return ((d << 1) ^ np.where(d & 0x80, 0xFF, 0).astype(np.uint8)).astype(np.uint8)


def unzigzag(code):
    return ((code >> 1) ^ np.where(code & 1, 0xFF, 0).astype(np.uint8)).astype(np.uint8)


def num_pages(header, position):
    return position // header["page_size_tokens"] + 1


def listed_pages(header, position):
    pages = num_pages(header, position)
    return min(header["top_m_pages"], pages) if header["top_m_pages"] > 0 else pages


def page_code_bytes(pages):
    return 1 if pages <= 256 else 2 if pages <= 65536 else 3


def _indices_to_left(indices):
    """Indices into a list (one row per list) to indices among what the entries before have left: O(n) numpy steps."""
    left = indices.astype(np.int32)
    for i in range(indices.shape[1]):
        left[:, i + 1 :] -= indices[:, i + 1 :] > indices[:, i : i + 1]
    return left


def _left_to_indices(left):
    indices = left.astype(np.int32)
    for i in range(indices.shape[1] - 2, -1, -1):
        indices[:, i + 1 :] += indices[:, i + 1 :] >= indices[:, i : i + 1]
    return indices


def _reference(pages, count):
    """The previous step's list followed by the pages it did not list, ascending."""
    taken = np.zeros(count, bool)
    taken[pages] = True
    return np.concatenate([pages, np.flatnonzero(~taken)])


class _MassPredictor:
    """Last mass code of each page in the chunk; see traces/rank_codec.h."""

    def __init__(self):
        self.last = np.zeros(0, np.uint8)
        self.listed = np.zeros(0, bool)
        self.by_rank = None

    def predict(self, pages, count):
        grow = count - len(self.last)
        self.last = np.concatenate([self.last, np.zeros(grow, np.uint8)])
        self.listed = np.concatenate([self.listed, np.zeros(grow, bool)])
        ranks = np.minimum(np.arange(len(pages)), len(self.by_rank) - 1)
        return np.where(self.listed[pages], self.last[pages], self.by_rank[ranks])

    def update(self, pages, codes, count):
        if len(self.last) < count:
            self.last = np.zeros(count, np.uint8)
            self.listed = np.zeros(count, bool)
        self.last[pages] = codes
        self.listed[pages] = True
        self.by_rank = codes


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
                if xxhash.xxh3_64_intdigest(end[:16]) != checksum or (chunks, steps) != (len(self.chunks), self.num_steps):
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
            for s, decoded in zip(steps, np.split(_left_to_indices(rows), len(steps))):
                indices[s] = decoded
        table = mass_table(self.header["mass_scale"])
        result = LayerSteps(first, positions, [], [], rest)
        previous = [np.zeros(0, np.int64)] * heads
        predictors = [_MassPredictor() for _ in range(heads)]
        for s, position in enumerate(positions):
            pages = np.empty((heads, listed[s]), np.uint32)
            codes = np.empty((heads, listed[s]), np.uint8)
            count_now = num_pages(header, position)
            for h in range(heads):
                if indices[s].max() >= count_now or indices[s].min() < 0:
                    self._fail(place, "page codes that are no ranking")
                pages[h] = _reference(previous[h], count_now)[indices[s][h]]
                difference = differences[h, begin[s] : begin[s + 1]]
                if s == 0:
                    codes[h] = np.cumsum(difference + shifts[h, s], dtype=np.uint8)
                else:
                    codes[h] = predictors[h].predict(pages[h], count_now) + shifts[h, s] + difference
                predictors[h].update(pages[h], codes[h], count_now)
                previous[h] = pages[h].astype(np.int64)
            result.pages.append(pages)
            result.mass.append(table[codes])
        return result


class TraceWriter:
    """Writes a trace; steps are gathered into chunks of `steps_per_chunk`. Use as a context manager or call close()."""

    def __init__(self, path, header, steps_per_chunk=128, level=1):
        self.path = str(path)
        self.header = {"schema": SCHEMA, **header, "mass_scale": MASS_SCALE}
        self._steps_per_chunk = steps_per_chunk
        self._level = level
        self._pending = []
        self._num_steps = 0
        self._num_chunks = 0
        self._file = open(self.path + ".partial", "wb")
        text = json.dumps(self.header, separators=(",", ":")).encode()
        self._file.write(MAGIC + struct.pack("<IIQ", VERSION, len(text), xxhash.xxh3_64_intdigest(text)) + text)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.abort()

    def add_step(self, pages, mass, rest):
        """pages, mass: [layers, heads, listed]; rest: [layers, heads]. Steps come in order."""
        header = self.header
        position = header["first_position"] + self._num_steps + len(self._pending)
        pages = np.asarray(pages, np.int64)
        shape = (len(header["recorded_layers"]), header["num_kv_heads"], listed_pages(header, position))
        if pages.shape != shape or np.shape(mass) != shape or np.shape(rest) != shape[:2]:
            raise ValueError(f"step at position {position}: expected arrays of shape {shape}")
        self._pending.append((position, pages, mass_codes(mass), np.asarray(rest, "<f4")))
        if len(self._pending) == self._steps_per_chunk:
            self._flush()

    def _block(self, layer):
        heads = self.header["num_kv_heads"]
        planes = page_code_bytes(num_pages(self.header, self._pending[-1][0]))
        shifts = np.zeros((heads, len(self._pending)), np.uint8)
        left, masses = [], []
        for h in range(heads):
            previous = np.zeros(0, np.int64)
            predictor = _MassPredictor()
            for s, (position, pages, codes, _) in enumerate(self._pending):
                page, code = pages[layer, h], codes[layer, h]
                count = num_pages(self.header, position)
                reference = _reference(previous, count)
                place = np.empty(count, np.int64)
                place[reference] = np.arange(count)
                left.append(_indices_to_left(place[page][None])[0])
                if s == 0:
                    predicted = np.concatenate([[0], code[:-1]]).astype(np.uint8)
                else:
                    predicted = predictor.predict(page, count)
                    mean = np.mean(code.astype(int) - predicted.astype(int))
                    shifts[h, s] = int(np.clip(np.floor(abs(mean) + 0.5) * np.sign(mean), -127, 127)) & 0xFF
                masses.append(zigzag(code - predicted - shifts[h, s]))
                predictor.update(page, code, count)
                previous = page
        left = np.concatenate(left).astype(np.uint32)
        rest = np.array([[step[3][layer, h] for step in self._pending] for h in range(heads)], "<f4")
        parts = [rest.tobytes(), shifts.tobytes()]
        parts += [((left >> (8 * plane)) & 0xFF).astype(np.uint8).tobytes() for plane in range(planes)]
        return b"".join(parts) + np.concatenate(masses).tobytes()

    def _flush(self):
        if not self._pending:
            return
        layers = len(self.header["recorded_layers"])
        head = struct.pack("<IIQII", CHUNK_MAGIC, len(self._pending), self._num_steps, layers, 0)
        payload = b""
        for layer in range(layers):
            raw = self._block(layer)
            compressed = zstandard.ZstdCompressor(level=self._level).compress(raw)
            head += struct.pack("<IIQ", len(compressed), len(raw), xxhash.xxh3_64_intdigest(compressed))
            payload += compressed
        self._file.write(head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head)) + payload)
        self._file.flush()
        self._num_steps += len(self._pending)
        self._num_chunks += 1
        self._pending = []

    def close(self):
        self._flush()
        end = struct.pack("<IIQ", END_MAGIC, self._num_chunks, self._num_steps)
        self._file.write(end + struct.pack("<Q", xxhash.xxh3_64_intdigest(end)))
        self._file.close()
        os.replace(self.path + ".partial", self.path)

    def abort(self):
        self._file.close()
        os.remove(self.path + ".partial")
