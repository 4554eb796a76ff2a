// What policies that keep the KV cache in host memory share; inside model/policies/.
#pragma once

#include <cstdint>
#include <vector>

#include "model/policy.h"
#include "model/step_graph.h"

namespace retrosim {

/// Into `out`: the first `sinks` pages, the last `recent` ones (the open one at least) and the best ranked others,
/// `count` in all; sinks give way to recent ones where both do not fit. Throws InputError when the ranking is too
/// short.
void select_with_always_kept(const RankedPages& ranked, std::int64_t sinks, std::int64_t recent, std::int64_t count,
                             std::vector<PageId>& out);

/// Which resident pages stay when there are more than the GPU has room for.
enum class Residency : std::uint8_t {
  best_ranked,     // ArkVale: the lowest ranked resident leaves
  most_used,       // PQCache: least frequently used
  last_selection,  // IceCache: only what the latest step selected stays
};

/// Counts in memory.recalled the pages of `selected` that were not resident, makes them so and lets others leave until
/// `capacity` pages are. Pages that came since the step before were written on the GPU and are resident. At the first
/// step the best ranked pages are taken to be resident already, so that nothing is recalled then.
void recall(const RankedPages& ranked, const std::vector<PageId>& selected, std::int64_t capacity, Residency rule,
            SelectionMemory& memory);

/// Copies `bytes` that the latest operation on the compute stream produced to the host, which waits for them. Returns
/// the end of that wait.
StepGraph::Vertex read_back(StepGraphBuilder& graph, std::int64_t bytes, const char* name, int layer);

/// Copies to the GPU once `ready` has ended; the next operation on the compute stream waits for it. With nothing to
/// copy it waits for `ready` alone.
void copy_in(StepGraphBuilder& graph, StepGraph::Vertex ready, const HostToDeviceShape& copies, const char* name,
             int layer);

/// Copies `bytes` that the latest operation on the compute stream produced to the host; nothing waits for it.
void copy_out(StepGraphBuilder& graph, std::int64_t bytes, const char* name, int layer);

}  // namespace retrosim
