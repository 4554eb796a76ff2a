#include "reports/serving_timeline.h"

#include <set>

#include "reports/json_text.h"

namespace retrosim {
namespace {

constexpr int kEngine = 1;  // thread of a replica's process

double microseconds(TimePs time) { return static_cast<double>(time) * 1e-6; }

int process_of(std::int16_t replica) { return replica + 1; }

/// Events are written one by one: a long run has millions.
class TraceEvents {
 public:
  void add(const Json& event) {
    text_ += text_.empty() ? "\n" : ",\n";
    text_ += event.dump(-1, ' ', true, Json::error_handler_t::replace);
  }
  std::string document() const { return R"({"displayTimeUnit":"ms","traceEvents":[)" + text_ + "\n]}\n"; }

 private:
  std::string text_;
};

void name_processes(const ServingRun& run, TraceEvents& events) {
  std::set<std::int16_t> replicas;
  for (const RequestRecord& request : run.requests) {
    if (request.replica >= 0) replicas.insert(request.replica);
  }
  for (const std::int16_t replica : replicas) {
    const int pid = process_of(replica);
    events.add({{"name", "process_name"},
                {"ph", "M"},
                {"pid", pid},
                {"args", {{"name", "replica " + std::to_string(replica)}}}});
    events.add({{"name", "thread_name"}, {"ph", "M"}, {"pid", pid}, {"tid", kEngine}, {"args", {{"name", "engine"}}}});
  }
}

const char* kind_of(const StepShape& shape) {
  if (shape.decodes == 0) return "prefill";
  return shape.prefill_chunks == 0 ? "decode" : "mixed";
}

void add_steps(const StepRecord& record, TraceEvents& events) {
  const int pid = process_of(record.replica);
  const StepShape& shape = record.shape;
  Json arguments{{"steps", record.steps},
                 {"decoding_sequences", shape.decodes},
                 {"prompt_tokens", shape.prefill_tokens},
                 {"prompt_chunks", shape.prefill_chunks}};
  if (shape.decodes > 0) arguments["context_mean"] = shape.context_sum / shape.decodes;
  events.add({{"name", kind_of(shape)},
              {"cat", "steps"},
              {"ph", "X"},
              {"ts", microseconds(record.start)},
              {"dur", microseconds(record.end - record.start)},
              {"pid", pid},
              {"tid", kEngine},
              {"args", std::move(arguments)}});
  const auto counter = [&](const char* name, Json values) {
    events.add(
        {{"name", name}, {"ph", "C"}, {"ts", microseconds(record.start)}, {"pid", pid}, {"args", std::move(values)}});
  };
  counter("sequences", {{"running", record.running}, {"waiting", record.waiting}});
  counter("kv_blocks", {{"used", record.kv_blocks_used}, {"cached", record.kv_blocks_cached}});
}

void add_request(std::size_t index, const RequestRecord& request, TraceEvents& events) {
  const auto slice = [&](const std::string& name, TimePs start, TimePs end, Json arguments) {
    const Json common{
        {"name", name}, {"cat", "request"}, {"id", index}, {"pid", process_of(request.replica)}, {"tid", 0}};
    Json begin = common;
    begin.update({{"ph", "b"}, {"ts", microseconds(start)}, {"args", std::move(arguments)}});
    Json finish = common;
    finish.update({{"ph", "e"}, {"ts", microseconds(end)}});
    events.add(begin);
    return finish;
  };
  const Json whole = slice("request " + std::to_string(index), request.arrival, request.finish,
                           {{"input_tokens", request.input_tokens},
                            {"output_tokens", request.output_tokens},
                            {"ttft_ms", request.ttft_s() * 1e3},
                            {"tpot_ms", request.tpot_s() * 1e3},
                            {"cached_tokens", request.cached_tokens},
                            {"preemptions", request.preemptions}});
  events.add(slice("queued", request.arrival, request.scheduled, Json::object()));
  events.add(slice("prefill", request.scheduled, request.first_token, Json::object()));
  if (request.output_tokens > 1) events.add(slice("decode", request.first_token, request.finish, Json::object()));
  events.add(whole);
}

}  // namespace

std::string serving_timeline(const ServingRun& run) {
  TraceEvents events;
  name_processes(run, events);
  for (const StepRecord& record : run.steps) add_steps(record, events);
  for (const PreemptionRecord& record : run.preemptions) {
    events.add({{"name", "preempted: request " + std::to_string(record.request)},
                {"ph", "i"},
                {"s", "t"},
                {"ts", microseconds(record.time)},
                {"pid", process_of(record.replica)},
                {"tid", kEngine},
                {"args", {{"request", record.request}}}});
  }
  for (std::size_t i = 0; i < run.requests.size(); ++i) {
    if (run.requests[i].outcome == RequestOutcome::finished) add_request(i, run.requests[i], events);
  }
  return events.document();
}

}  // namespace retrosim
