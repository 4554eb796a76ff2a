#include "reports/sweep_run.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "model/error.h"
#include "reports/format.h"
#include "reports/sweep_file.h"

namespace retrosim {
namespace {

// Points of one chunk: a few milliseconds of work, so that neither messages nor the last chunks cost much.
constexpr std::uint64_t kStepsPerChunk = 64;
constexpr std::uint64_t kServingRunsPerChunk = 1;
// Runs of neighbouring points that one rank computes: they share replays, and rows behind them wait in memory.
constexpr std::uint64_t kRunsPerSweep = 64;
constexpr std::uint64_t kMostChunksPerRun = 64;

ChunkWork make_work(const SweepSpec& spec, const std::shared_ptr<SweepLibrary>& library, SweepFormat format) {
  return [evaluator = std::make_shared<SweepEvaluator>(spec, library, format)](const Chunk& chunk) {
    std::string rows;
    for (std::uint64_t i = 0; i < chunk.count; ++i) rows += evaluator->row(chunk.first + i);
    return rows;
  };
}

}  // namespace

SweepOutcome run_sweep(const SweepSpec& spec, const SweepOptions& options, RankLink* link,
                       const std::function<void(const SweepProgress&)>& progress) {
  if (options.threads < 1 || options.threads > 1024) {
    throw InputError("", "--threads", std::to_string(options.threads), "in [1, 1024]");
  }
  if (!(options.rank_timeout_s >= 0.1 && options.rank_timeout_s <= 1e6)) {
    throw InputError("", "--rank-timeout-s", fixed(options.rank_timeout_s, 3), "in [0.1, 1e6]");
  }
  const SweepFormat format = sweep_format_of(options.out);
  const auto library = std::make_shared<SweepLibrary>();
  const CoordinatorOptions coordination{
      .rank_timeout = std::chrono::milliseconds(std::llround(options.rank_timeout_s * 1e3)),
      .fingerprint = spec.fingerprint,
      .total = spec.design.size()};
  SweepOutcome outcome{.points = spec.design.size()};
  if (link != nullptr && link->rank() > 0) {
    WorkerPool workers(options.threads, [&] { return make_work(spec, library, format); });
    outcome.end = work_for_rank_0(*link, workers, coordination);
    return outcome;
  }
  SweepFile file(options.out, spec, options.resume);
  outcome.resumed = file.rows();
  const std::uint64_t chunk = spec.serving ? kServingRunsPerChunk : kStepsPerChunk;
  const std::uint64_t chunks_per_run =
      std::clamp<std::uint64_t>(spec.design.size() / kRunsPerSweep / chunk, 1, kMostChunksPerRun);
  ChunkLedger ledger(file.rows(), spec.design.size(), chunk, chunks_per_run);
  WorkerPool workers(options.threads, [&] { return make_work(spec, library, format); });
  coordinate(
      ledger, workers, link, coordination, [&](std::string_view rows) { file.append(rows); },
      [&](const SweepProgress& now) {
        outcome.elapsed_s = now.elapsed_s;
        outcome.end = now.lost_ranks ? RankEnd::some_lost : RankEnd::together;
        progress(now);
      });
  return outcome;
}

std::string describe(const SweepProgress& progress) {
  const auto done = static_cast<double>(progress.completed - progress.resumed);
  const double rate = progress.elapsed_s > 0 ? done / progress.elapsed_s : 0;
  std::string text = std::to_string(progress.completed) + " of " + std::to_string(progress.total) + " points (" +
                     fixed(100.0 * static_cast<double>(progress.completed) / static_cast<double>(progress.total), 1) +
                     " %)";
  if (rate > 0) {
    text += ", " + fixed(rate, rate < 10 ? 2 : 0) + " points/s";
    const double left = static_cast<double>(progress.total - progress.completed) / rate;
    text += ", " + fixed(left, 0) + " s left";
  }
  if (progress.ranks > 1) text += ", " + std::to_string(progress.ranks) + " ranks";
  return text;
}

}  // namespace retrosim
