#!/usr/bin/env python3
"""Makes a large trace of a small one, in seconds: every recorded layer again and again, as further layers.

    python3 tests/bench/repeat_layers.py small.rtrace large.rtrace --copies 31

For measuring readers at sizes that nobody wants to record. The compressed blocks are copied as they are; the header
says what was done in `workload` and `synthetic`. Needs xxhash.
"""

import argparse
import json
import pathlib
import struct
import sys

import xxhash

MAX_LAYERS = 1024


def exactly(file, count):
    data = file.read(count)
    if len(data) != count:
        sys.exit(f"{file.name}: cut off; a closed trace is needed")
    return data


def checksum(data):
    return struct.pack("<Q", xxhash.xxh3_64_intdigest(data))


def repeat(source, out, copies):
    preamble = exactly(source, 24)
    if preamble[:8] != b"\x89RTRACE\n":
        sys.exit(f"{source.name}: not a trace")
    header = json.loads(exactly(source, struct.unpack_from("<I", preamble, 12)[0]))
    layers = len(header["recorded_layers"])
    if not 1 <= copies * layers <= MAX_LAYERS:
        sys.exit(f"--copies {copies}: {layers} recorded layers each, expected at most {MAX_LAYERS} in all")
    note = f"{layers} layers repeated {copies} times"
    header["num_layers"] = copies * layers
    header["recorded_layers"] = list(range(copies * layers))
    header["workload"] += f"; {note}"
    header["synthetic"] = header.get("synthetic", "recorded") + f"; {note}"
    text = json.dumps(header, separators=(",", ":")).encode()
    out.write(preamble[:12] + struct.pack("<I", len(text)) + checksum(text) + text)
    while (magic := exactly(source, 4)) == b"CHNK":
        fixed = magic + exactly(source, 20)
        entries = exactly(source, 16 * layers)
        exactly(source, 8)
        blocks = exactly(source, sum(struct.unpack_from("<I", entries, 16 * i)[0] for i in range(layers)))
        chunk_header = fixed[:16] + struct.pack("<II", copies * layers, 0) + entries * copies
        out.write(chunk_header + checksum(chunk_header))
        for _ in range(copies):
            out.write(blocks)
    out.write(magic + exactly(source, 20))  # the end mark counts chunks and steps, which stay


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--copies", type=int, required=True)
    args = parser.parse_args()
    with args.source.open("rb") as source, args.out.open("wb") as out:
        repeat(source, out, args.copies)


if __name__ == "__main__":
    main()
