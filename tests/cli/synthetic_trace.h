// Small traces with a known overlap between steps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "traces/trace_writer.h"

namespace retrosim::test {

struct SyntheticTrace {
  int num_layers = 4;
  int num_kv_heads = 2;
  int page_size = 16;
  std::int64_t first_position = 1023;  // 64 pages
  std::int64_t steps = 96;
  /// The ranking turns by this many pages from step to step: 0 repeats the selection, large values share nothing.
  std::int64_t turn_pages = 0;
};

/// Step t ranks the pages (t * turn + i) mod num_pages, i = 0, 1, ...; all masses are equal.
inline void write_trace(const std::filesystem::path& file, const SyntheticTrace& shape) {
  TraceHeader header;
  header.tool_version = "test";
  header.model_name = "synthetic";
  header.config_hash = header.checkpoint_hash = header.tokens_hash = header.prompt_hash = "xxh3:0";
  header.num_layers = shape.num_layers;
  for (int layer = 0; layer < shape.num_layers; ++layer) header.recorded_layers.push_back(layer);
  header.num_kv_heads = shape.num_kv_heads;
  header.num_q_heads = 2 * shape.num_kv_heads;
  header.head_dim = 64;
  header.page_size = shape.page_size;
  header.first_position = shape.first_position;
  header.num_tokens = shape.first_position + shape.steps;
  header.prompt_tokens = shape.first_position;
  header.workload = "synthetic";
  TraceWriter writer(file, header, {.steps_per_chunk = 16});
  for (std::int64_t t = 0; t < shape.steps; ++t) {
    StepRecord step;
    step.position = shape.first_position + t;
    step.num_pages = step.position / shape.page_size + 1;
    std::vector<PageId> pages(static_cast<std::size_t>(step.num_pages));
    for (std::int64_t i = 0; i < step.num_pages; ++i) {
      pages[static_cast<std::size_t>(i)] = static_cast<PageId>((t * shape.turn_pages + i) % step.num_pages);
    }
    const std::vector<float> mass(pages.size(), 1.0F / static_cast<float>(pages.size()));
    const auto heads = static_cast<std::size_t>(shape.num_layers * shape.num_kv_heads);
    step.heads.assign(heads, HeadRecord{.pages = pages, .mass = mass});
    writer.add_step(step);
  }
  writer.close();
}

}  // namespace retrosim::test
