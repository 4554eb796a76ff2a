#include "traces/record.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "traces/record_page_ranker.h"
#include "traces/record_plan.h"
#include "traces/trace_writer.h"

namespace retrosim {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void write_steps(const PageRanker& ranker, std::int64_t first_position, std::int64_t count, std::size_t num_layers,
                 const TraceHeader& header, TraceWriter& writer) {
  std::vector<StepRecord> records(static_cast<std::size_t>(count));
  for (std::int64_t step = 0; step < count; ++step) {
    StepRecord& record = records[static_cast<std::size_t>(step)];
    record.position = first_position + step;
    record.num_pages = header.num_pages(record.position);
    for (std::size_t slot = 0; slot < num_layers; ++slot) {
      for (int head = 0; head < header.num_kv_heads; ++head) {
        const PageRanks& ranks = ranker.ranks(step, slot, head);
        record.heads.push_back({.pages = ranks.pages, .mass = ranks.mass, .rest = ranks.rest});
      }
    }
  }
  writer.add_steps(records);
}

}  // namespace

RecordResult record_trace(const std::filesystem::path& checkpoint, const std::filesystem::path& tokens_file,
                          const RecordOptions& options, const std::filesystem::path& out) {
  const RecordPlan plan = plan_recording(checkpoint, tokens_file, options);
  const int threads = options.num_threads > 0 ? options.num_threads
                                              : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  kernels::DenseForward forward(plan.weights, plan.end, threads);
  PageRanker ranker(plan.weights.llm, plan.layers, options.page_size, plan.end, options.top_m);
  TraceWriter writer(out, plan.header);
  RecordResult result{.steps = plan.steps};
  const Clock::time_point start = Clock::now();
  try {
    for (std::int64_t position = 0; position < plan.end;) {
      const bool records = position >= options.first_position;
      const std::int64_t limit = records ? plan.end : options.first_position;
      const std::int64_t count = std::min(options.chunk_tokens, limit - position);
      ranker.expect(position, records ? count : 0);
      forward.run(std::span(plan.tokens.tokens).subspan(position, count), &ranker);
      if (records) write_steps(ranker, position, count, plan.layers.size(), plan.header, writer);
      position += count;
      const double elapsed = seconds_since(start);
      if (position == options.first_position) result.prompt_s = elapsed;
      if (options.progress) {
        options.progress({.tokens_done = position,
                          .tokens_total = plan.end,
                          .steps_recorded = std::max<std::int64_t>(0, position - options.first_position),
                          .elapsed_s = elapsed,
                          .eta_s = elapsed * (1 / share_done(plan.weights.llm, position, plan.end) - 1)});
      }
    }
    writer.close();
  } catch (...) {
    writer.abort();
    throw;
  }
  result.recording_s = seconds_since(start) - result.prompt_s;
  return result;
}

}  // namespace retrosim
