#include "reports/timeline.h"

#include <array>
#include <set>

namespace retrosim {
namespace {

constexpr std::array<const char*, kNumStreams> kStreamNames = {"compute", "copy in", "copy out", "host"};

Json metadata(const char* what, int pid, int tid, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", pid}, {"tid", tid}, {"args", {{"name", name}}}};
}

Json event(const OpRecord& op, int pid, int tid) {
  Json arguments{{"bound", name_of(op.bound)},
                 {"provenance", name_of(op.provenance)},
                 {"hbm_read_bytes", op.traffic.hbm_read()},
                 {"hbm_write_bytes", op.traffic.hbm_write()},
                 {"flops", op.flops}};
  if (op.layer >= 0) arguments["layer"] = op.layer;
  return {{"name", op.name},   {"cat", name_of(op.kind)},     {"ph", "X"},
          {"ts", op.start_us}, {"dur", op.latency_us},        {"pid", pid},
          {"tid", tid},        {"args", std::move(arguments)}};
}

}  // namespace

Json timeline_json(const std::vector<TimelineTrack>& tracks) {
  Json events = Json::array();
  int pid = 0;
  for (const TimelineTrack& track : tracks) {
    ++pid;
    events.push_back(metadata("process_name", pid, 0, track.name));
    std::set<Stream> streams;
    for (const OpRecord& op : *track.ops) streams.insert(op.stream);
    for (const Stream stream : streams) {
      const int tid = static_cast<int>(stream);
      events.push_back(metadata("thread_name", pid, tid, kStreamNames[static_cast<std::size_t>(stream)]));
    }
    for (const OpRecord& op : *track.ops) events.push_back(event(op, pid, static_cast<int>(op.stream)));
  }
  return {{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events)}};
}

}  // namespace retrosim
