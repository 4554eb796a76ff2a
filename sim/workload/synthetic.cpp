#include "sim/workload/synthetic.h"

#include <array>
#include <charconv>

#include "model/error.h"

namespace retrosim {
namespace {

std::string text_of(double value) {
  std::array<char, 32> text{};
  const auto [end, code] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end};
}

constexpr std::int64_t kMaxRequests = 100'000'000;

}  // namespace

std::vector<TimePs> draw_arrivals(const ArrivalProcess& process, std::int64_t count, std::uint64_t seed) {
  if (count < 1 || count > kMaxRequests) {
    throw InputError("", "num_requests", std::to_string(count), "in [1, 100000000]");
  }
  std::vector<TimePs> arrivals(static_cast<std::size_t>(count), 0);
  if (process.kind == ArrivalKind::all_at_once) return arrivals;
  if (!(process.requests_per_s >= 1e-6 && process.requests_per_s <= 1e9)) {
    throw InputError("", "request_rate", text_of(process.requests_per_s), "requests/s in [1e-6, 1e9]");
  }
  if (process.kind == ArrivalKind::gamma && !(process.cv >= 0.01 && process.cv <= 100)) {
    throw InputError("", "arrival_cv", text_of(process.cv), "in [0.01, 100]");
  }
  const double shape = 1 / (process.cv * process.cv);
  double in_mean_gaps = 0;
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    RandomStream random(seed, RandomPurpose::arrival, i);
    in_mean_gaps += process.kind == ArrivalKind::poisson ? random.exponential() : random.gamma(shape) / shape;
    const double seconds = in_mean_gaps / process.requests_per_s;
    if (seconds > 4e6) throw InputError("", "request_rate", text_of(process.requests_per_s), "a span below 46 days");
    arrivals[i] = ps_from_seconds(seconds);
  }
  return arrivals;
}

Workload synthetic_workload(const ArrivalProcess& process, const LengthDistribution& input,
                            const LengthDistribution& output, std::int64_t count, std::uint64_t seed) {
  const std::vector<TimePs> arrivals = draw_arrivals(process, count, seed);
  Workload workload;
  workload.requests.reserve(arrivals.size());
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    RandomStream in(seed, RandomPurpose::input_length, i);
    RandomStream out(seed, RandomPurpose::output_length, i);
    workload.requests.push_back({arrivals[i], input.draw(in), output.draw(out)});
  }
  workload.description = std::to_string(count) + " requests, " + describe(process) + ", prompts " + input.text() +
                         ", outputs " + output.text() + ", seed " + std::to_string(seed);
  return workload;
}

Workload synthetic_sessions(const ArrivalProcess& process, const LengthDistribution& input,
                            const LengthDistribution& output, const SessionShape& shape, std::int64_t count,
                            std::uint64_t seed) {
  constexpr std::uint64_t kThinking = 1ULL << 32;  // draws of turns are below
  constexpr std::int64_t kMostTokens = 1 << 24;
  constexpr TimePs kPsPerMs = 1'000'000'000;
  draw_arrivals(process, 1, seed);  // refuses what is impossible
  Workload workload;
  workload.shared_prefix_tokens = shape.shared_prefix_tokens;
  std::vector<std::size_t> first_turns;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count);) {
    const std::size_t session = first_turns.size();
    first_turns.push_back(i);
    RandomStream turns_random(seed, RandomPurpose::session, session);
    const std::int32_t turns = shape.turns.draw(turns_random);
    std::int64_t said = shape.shared_prefix_tokens;
    for (std::int32_t turn = 0; turn < turns && i < static_cast<std::size_t>(count); ++turn, ++i) {
      RandomStream in(seed, RandomPurpose::input_length, i);
      RandomStream out(seed, RandomPurpose::output_length, i);
      RandomStream think(seed, RandomPurpose::session, kThinking + i);
      said += input.draw(in);
      Request request{.arrival = 0,
                      .input_tokens = static_cast<std::int32_t>(said),
                      .output_tokens = output.draw(out),
                      .session = static_cast<std::int32_t>(session)};
      said += request.output_tokens;
      if (said > kMostTokens) throw InputError("", "turns", std::to_string(said) + " tokens", "at most 16777216");
      if (turn > 0) {
        request.arrival = shape.think_ms.draw(think) * kPsPerMs;
        request.previous = static_cast<std::int32_t>(i) - 1;
      }
      workload.requests.push_back(request);
    }
  }
  workload.sessions = static_cast<std::int64_t>(first_turns.size());
  ArrivalProcess of_sessions = process;
  of_sessions.requests_per_s *= static_cast<double>(workload.sessions) / static_cast<double>(count);
  const std::vector<TimePs> arrivals = draw_arrivals(of_sessions, workload.sessions, seed);
  for (std::size_t s = 0; s < arrivals.size(); ++s) workload.requests[first_turns[s]].arrival = arrivals[s];
  workload.description = std::to_string(count) + " requests, " + describe(process) + ", in " +
                         std::to_string(workload.sessions) + " sessions of " + shape.turns.text() +
                         " turns, think time " + shape.think_ms.text() + " ms, shared prefix " +
                         std::to_string(shape.shared_prefix_tokens) + ", new prompt tokens " + input.text() +
                         ", outputs " + output.text() + ", seed " + std::to_string(seed);
  return workload;
}

std::string describe(const ArrivalProcess& process) {
  if (process.kind == ArrivalKind::all_at_once) return "all at once";
  const std::string rate = " at " + text_of(process.requests_per_s) + " requests/s";
  if (process.kind == ArrivalKind::poisson) return "poisson" + rate;
  return "gamma (cv " + text_of(process.cv) + ")" + rate;
}

}  // namespace retrosim
