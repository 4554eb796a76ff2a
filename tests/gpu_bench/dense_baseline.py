#!/usr/bin/env python3
"""Dense decode attention of the libraries that are there (FlashInfer, paged; PyTorch, contiguous), one layer, one step.

Prints one JSON document: per shape and implementation the samples in microseconds, each the median of CUDA-graph replays
over KV copies that together exceed the L2 four times.
"""
import argparse
import json
import math
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

HEAD_DIM = 128
KV_HEADS = 8
L2_BYTES = 0  # set in main


def time_us(launches, replays=15, repetitions=7):
    """Samples of the time of one launch; `launches` is a list of functions, captured one after the other."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for launch in launches[:2]:
            launch()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for launch in launches:
            launch()
    for _ in range(3):
        graph.replay()
    torch.cuda.synchronize()
    samples = []
    for _ in range(repetitions):
        times = []
        for _ in range(replays):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) * 1e3 / len(launches))
        samples.append(statistics.median(times))
    return samples


def torch_implementations(batch, context, q_heads, copies):
    group = q_heads // KV_HEADS
    q = torch.randn(batch, q_heads, 1, HEAD_DIM, dtype=torch.bfloat16, device="cuda")
    packed = q.view(batch, KV_HEADS, group, HEAD_DIM)
    kv = [torch.randn(2, batch, KV_HEADS, context, HEAD_DIM, dtype=torch.bfloat16, device="cuda") for _ in range(copies)]
    token_major = [torch.randn(2, batch, context, KV_HEADS, HEAD_DIM, dtype=torch.bfloat16, device="cuda")
                   for _ in range(copies)]
    for layout, copies_of in (("head_major", kv), ("token_major", [x.transpose(2, 3) for x in token_major])):
        for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
            def grouped(x, backend=backend):
                with sdpa_kernel(backend):
                    return F.scaled_dot_product_attention(q, x[0], x[1], enable_gqa=True)

            def as_rows(x, backend=backend):
                with sdpa_kernel(backend):
                    return F.scaled_dot_product_attention(packed, x[0], x[1])

            yield f"torch_{backend.name.lower()}_gqa_{layout}", grouped, copies_of
            yield f"torch_{backend.name.lower()}_rows_{layout}", as_rows, copies_of


def flashinfer_implementations(batch, context, q_heads, copies, page_size=16):
    import flashinfer

    pages = context // page_size
    q = torch.randn(batch, q_heads, HEAD_DIM, dtype=torch.bfloat16, device="cuda")
    kv = [torch.randn(batch * pages, 2, KV_HEADS, page_size, HEAD_DIM, dtype=torch.bfloat16, device="cuda")
          for _ in range(copies)]
    indices = torch.randperm(batch * pages, device="cuda", dtype=torch.int32)
    indptr = torch.arange(batch + 1, device="cuda", dtype=torch.int32) * pages
    last = torch.full((batch,), page_size, device="cuda", dtype=torch.int32)
    for tensor_cores in (False, True):
        wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
            torch.empty(512 << 20, dtype=torch.uint8, device="cuda"), "HND", use_cuda_graph=True,
            use_tensor_cores=tensor_cores, paged_kv_indptr_buffer=indptr.clone(),
            paged_kv_indices_buffer=indices.clone(), paged_kv_last_page_len_buffer=last.clone())
        wrapper.plan(indptr, indices, last, q_heads, KV_HEADS, HEAD_DIM, page_size, q_data_type=torch.bfloat16)
        yield f"flashinfer_tensor_cores_{tensor_cores}", lambda x, w=wrapper: w.run(q, x), kv


def main():
    global L2_BYTES
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default="32768:1:32,32768:16:32,8192:1:32,8192:8:32,8192:32:32,32768:8:32,32768:32:32,"
                        "131072:1:32,131072:8:32,8192:1:64,8192:8:64,8192:32:64,32768:1:64,32768:8:64,32768:32:64,"
                        "131072:1:64,131072:8:64", help="context:batch:query heads, comma-separated")
    arguments = parser.parse_args()
    properties = torch.cuda.get_device_properties(0)
    L2_BYTES = properties.L2_cache_size
    results = []
    for shape in arguments.shapes.split(","):
        context, batch, q_heads = map(int, shape.split(":"))
        kv_bytes = 2 * batch * KV_HEADS * context * HEAD_DIM * 2
        copies = max(1, min(64, math.ceil(4 * L2_BYTES / kv_bytes)))
        for source in (torch_implementations, flashinfer_implementations):
            try:
                for name, function, kv in source(batch, context, q_heads, copies):
                    try:
                        samples = time_us([lambda x=x: function(x) for x in kv])
                    except Exception as error:  # a backend that refuses the shape
                        print(f"{name} {shape}: {str(error).splitlines()[0][:100]}", file=sys.stderr)
                        continue
                    results.append({"context": context, "batch": batch, "q_heads": q_heads, "kv_heads": KV_HEADS,
                                    "head_dim": HEAD_DIM, "kv_bytes": kv_bytes, "implementation": name,
                                    "samples_us": samples, "median_us": statistics.median(samples)})
            except ImportError as error:
                print(f"{source.__name__}: {error}", file=sys.stderr)
            torch.cuda.empty_cache()
    json.dump({"gpu": properties.name, "torch": torch.__version__, "cuda": torch.version.cuda,
               "l2_bytes": L2_BYTES, "results": results}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
