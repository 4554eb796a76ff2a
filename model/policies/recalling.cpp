#include "model/policies/recalling.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

/// Rank of every page, 0 the best; pages that are not listed rank last.
std::vector<std::int64_t> ranks_of(const RankedPages& ranked) {
  std::vector<std::int64_t> rank(static_cast<std::size_t>(ranked.num_pages), ranked.num_pages);
  for (std::size_t i = 0; i < ranked.pages.size(); ++i) rank[ranked.pages[i]] = static_cast<std::int64_t>(i);
  return rank;
}

}  // namespace

void select_with_always_kept(const RankedPages& ranked, std::int64_t sinks, std::int64_t recent, std::int64_t count,
                             std::vector<PageId>& out) {
  recent = std::clamp<std::int64_t>(recent, 1, count);
  sinks = std::clamp<std::int64_t>(sinks, 0, count - recent);
  const std::int64_t first_recent = ranked.num_pages - recent;
  out.clear();
  for (std::int64_t page = 0; page < sinks; ++page) out.push_back(static_cast<PageId>(page));
  for (std::int64_t page = first_recent; page < ranked.num_pages; ++page) out.push_back(static_cast<PageId>(page));
  const auto wanted = static_cast<std::size_t>(count);
  for (const PageId page : ranked.pages) {
    if (out.size() == wanted) break;
    if (page >= sinks && page < first_recent) out.push_back(page);
  }
  if (out.size() < wanted) {
    throw InputError("", "budget", std::to_string(count) + " pages",
                     "at most the " + std::to_string(ranked.pages.size()) + " ranked pages that the trace recorded");
  }
}

void recall(const RankedPages& ranked, const std::vector<PageId>& selected, std::int64_t capacity, Residency rule,
            SelectionMemory& memory) {
  const auto pages = static_cast<std::size_t>(ranked.num_pages);
  const auto known = static_cast<std::size_t>(memory.num_pages);
  memory.resident.resize(pages, 0);
  memory.uses.resize(pages, 0);
  if (memory.steps == 0) {
    for (const PageId page : selected) memory.resident[page] = 1;
    auto room = capacity - static_cast<std::int64_t>(selected.size());
    for (std::size_t i = 0; i < ranked.pages.size() && room > 0; ++i) {
      if (memory.resident[ranked.pages[i]] != 0) continue;
      memory.resident[ranked.pages[i]] = 1;
      --room;
    }
  } else {
    std::fill(memory.resident.begin() + static_cast<std::ptrdiff_t>(known), memory.resident.end(), std::uint8_t{1});
  }

  memory.recalled = 0;
  for (const PageId page : selected) {
    memory.recalled += memory.resident[page] != 0 ? 0 : 1;
    ++memory.uses[page];
    memory.resident[page] = 2;  // selected: stays
  }
  std::vector<PageId> others;
  for (std::size_t page = 0; page < pages; ++page) {
    if (memory.resident[page] == 1) others.push_back(static_cast<PageId>(page));
  }
  auto room = std::clamp<std::int64_t>(capacity - static_cast<std::int64_t>(selected.size()), 0,
                                       static_cast<std::int64_t>(others.size()));
  if (rule == Residency::last_selection) room = 0;
  if (room < static_cast<std::int64_t>(others.size())) {
    const std::vector<std::int64_t> rank = ranks_of(ranked);
    std::nth_element(others.begin(), others.begin() + room, others.end(), [&](PageId a, PageId b) {
      if (rule == Residency::most_used && memory.uses[a] != memory.uses[b]) return memory.uses[a] > memory.uses[b];
      return rank[a] != rank[b] ? rank[a] < rank[b] : a < b;
    });
    for (auto left = others.begin() + room; left != others.end(); ++left) memory.resident[*left] = 0;
  }
  for (const PageId page : selected) memory.resident[page] = 1;
  memory.num_pages = ranked.num_pages;
  ++memory.steps;
}

StepGraph::Vertex read_back(StepGraphBuilder& graph, std::int64_t bytes, const char* name, int layer) {
  const auto copied =
      graph.add_after(*graph.last(Stream::compute), DeviceToHostShape{.bytes = bytes}, name, layer, Stream::copy_out);
  return graph.add_after(copied, HostComputeShape{}, "host_sync", layer, Stream::host);
}

void copy_in(StepGraphBuilder& graph, StepGraph::Vertex ready, const HostToDeviceShape& copies, const char* name,
             int layer) {
  if (copies.bytes == 0) {
    graph.await(Stream::compute, ready);
    return;
  }
  graph.await(Stream::compute, graph.add_after(ready, copies, name, layer, Stream::copy_in));
}

void copy_out(StepGraphBuilder& graph, std::int64_t bytes, const char* name, int layer) {
  graph.add_after(*graph.last(Stream::compute), DeviceToHostShape{.bytes = bytes}, name, layer, Stream::copy_out);
}

}  // namespace retrosim
