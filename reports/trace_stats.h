// `retrosim trace stats`: what a trace says about a policy, as a document and as a page.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "reports/json_text.h"
#include "traces/statistics.h"

namespace retrosim {

struct TraceStatsRequest {
  std::string file;
  std::string policy = "quest";
  std::optional<double> budget;  // fraction of pages; default 0.15
  std::optional<std::int64_t> budget_tokens;
  std::vector<int> windows = {1, 2, 4, 8, 16};  // queries
};

struct TraceStatsAnswer {
  TraceStatsRequest request;
  TraceStatistics statistics;
  std::string warning;  // one line when the trace was cut off, else empty
};

/// Throws InputError naming the flag, or as trace_statistics() does.
TraceStatsAnswer run_trace_stats(const TraceStatsRequest& request);

/// Schema retrosim.trace_stats/1: `inputs`, then the fields of to_json(TraceStatistics).
Json trace_stats_document(const TraceStatsAnswer& answer);
std::string trace_stats_text(const TraceStatsAnswer& answer);

}  // namespace retrosim
