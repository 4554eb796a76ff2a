#include "calibrate/live/counter_expectation.h"

#include <cmath>

#include "model/dram_traffic.h"

namespace retrosim {

void write_expected_bytes(std::ostream& out, const LiveConfig& live, const StepGraph& graph, std::int64_t l2_bytes) {
  const std::vector<DramTraffic> traffic = dram_traffic(graph, l2_bytes);
  for (StepGraph::Vertex v = 0; v < graph.size(); ++v) {
    const Op& op = graph.op(v);
    out << nlohmann::ordered_json{{"id", live.id},
                                  {"op", op.name},
                                  {"kind", name_of(op.kind())},
                                  {"layer", op.layer},
                                  {"read_bytes", std::llround(traffic[v].read_bytes)},
                                  {"write_bytes", std::llround(traffic[v].write_bytes)}}
               .dump()
        << '\n';
  }
}

StepGraph decoder_graph(const LiveConfig& live, int sm_count) {
  const DecodeConfig config = decode_config(live, sm_count);
  return live_graph(config, graph_demand(config, config.context), live.prefetch_bytes);
}

}  // namespace retrosim
