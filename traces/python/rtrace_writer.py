"""Writes .rtrace files (traces/FORMAT.md) as the steps come."""

import json
import os
import struct

import numpy as np
import xxhash
import zstandard

from rtrace_codec import (
    CHUNK_MAGIC,
    END_MAGIC,
    MAGIC,
    MASS_SCALE,
    SCHEMA,
    VERSION,
    RankEncoder,
    listed_pages,
    mass_codes,
    num_pages,
    page_code_bytes,
)


class TraceWriter:
    """Writes a trace; steps are coded as they come and gathered into chunks of `steps_per_chunk`, each on the disk
    before the next begins: a writer that is killed leaves PATH.partial, readable up to its last chunk. Use as a context
    manager or call close(). `header_room`: bytes kept for update_header().
    """

    def __init__(self, path, header, steps_per_chunk=128, level=1, header_room=0):
        self.path = str(path)
        self.header = {"schema": SCHEMA, **header, "mass_scale": MASS_SCALE}
        self._steps_per_chunk = steps_per_chunk
        self._level = level
        self._num_steps = 0
        self._num_chunks = 0
        self._header_bytes = len(self._header_text()) + header_room
        self._file = open(self.path + ".partial", "wb")
        self._write_header()
        self._start_chunk()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.abort()

    def _header_text(self):
        return json.dumps(self.header, separators=(",", ":")).encode()

    def _write_header(self):
        text = self._header_text()
        if len(text) > self._header_bytes:
            raise ValueError(f"{self.path}: a header of {len(text)} bytes, room for {self._header_bytes}")
        text = text.ljust(self._header_bytes)
        self._file.write(MAGIC + struct.pack("<IIQ", VERSION, len(text), xxhash.xxh3_64_intdigest(text)) + text)

    def update_header(self, **fields):
        """Replaces fields of the header (num_tokens, tokens_hash ...) that are known only as the text grows."""
        unknown = fields.keys() - self.header.keys()
        if unknown:
            raise ValueError(f"{self.path}: no such header fields: {sorted(unknown)}")
        self.header.update(fields)
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        self._file.seek(end)
        self._file.flush()

    def _start_chunk(self):
        rows = len(self.header["recorded_layers"]) * self.header["num_kv_heads"]
        self._encoder = RankEncoder(rows)
        self._left, self._mass, self._shifts, self._rest = [], [], [], []

    @property
    def num_steps(self):
        """Added so far."""
        return self._num_steps + len(self._rest)

    def _position(self):
        return self.header["first_position"] + self.num_steps

    def add_step(self, pages, mass, rest):
        """pages, mass: [layers, heads, listed]; rest: [layers, heads]. Steps come in order. True when a chunk ended."""
        header = self.header
        position = self._position()
        pages = np.asarray(pages, np.int64)
        shape = (len(header["recorded_layers"]), header["num_kv_heads"], listed_pages(header, position))
        if pages.shape != shape or np.shape(mass) != shape or np.shape(rest) != shape[:2]:
            raise ValueError(f"step at position {position}: expected arrays of shape {shape}")
        rows = shape[0] * shape[1]
        codes = mass_codes(mass).reshape(rows, shape[2])
        left, differences, shifts = self._encoder.encode(pages.reshape(rows, -1), codes, num_pages(header, position))
        self._left.append(left)
        self._mass.append(differences)
        self._shifts.append(shifts)
        self._rest.append(np.asarray(rest, "<f4").reshape(rows))
        full = len(self._rest) == self._steps_per_chunk
        if full:
            self._flush()
        return full

    def _flush(self):
        steps = len(self._rest)
        if steps == 0:
            return
        header = self.header
        layers, heads = len(header["recorded_layers"]), header["num_kv_heads"]
        planes = page_code_bytes(num_pages(header, self._position() - 1))
        # [rows, steps] or [rows, entries of all steps]
        rest, shifts = np.stack(self._rest, axis=1), np.stack(self._shifts, axis=1)
        left, mass = np.concatenate(self._left, axis=1), np.concatenate(self._mass, axis=1)
        head = struct.pack("<IIQII", CHUNK_MAGIC, steps, self._num_steps, layers, 0)
        payload = b""
        for layer in range(layers):
            rows = slice(layer * heads, (layer + 1) * heads)
            codes = left[rows].astype(np.uint32)
            raw = rest[rows].tobytes() + shifts[rows].tobytes()
            raw += b"".join((codes >> 8 * plane & 0xFF).astype(np.uint8).tobytes() for plane in range(planes))
            raw += mass[rows].tobytes()
            compressed = zstandard.ZstdCompressor(level=self._level).compress(raw)
            head += struct.pack("<IIQ", len(compressed), len(raw), xxhash.xxh3_64_intdigest(compressed))
            payload += compressed
        self._file.write(head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head)) + payload)
        self._file.flush()
        self._num_steps += steps
        self._num_chunks += 1
        self._start_chunk()

    def close(self):
        self._flush()
        end = struct.pack("<IIQ", END_MAGIC, self._num_chunks, self._num_steps)
        self._file.write(end + struct.pack("<Q", xxhash.xxh3_64_intdigest(end)))
        self._file.close()
        os.replace(self.path + ".partial", self.path)

    def abort(self, keep=False):
        """Stops: the file is removed, or `keep`s its whole chunks as PATH.partial."""
        self._file.close()
        if not keep:
            os.remove(self.path + ".partial")
