#include "reports/trace_synthesis.h"

#include <memory>

#include "reports/format.h"
#include "reports/output_file.h"
#include "reports/table.h"

namespace retrosim {

TraceSynthesisAnswer run_trace_synthesis(const TraceSynthesisRequest& request) {
  require_writable(request.out, "--out");
  std::vector<std::unique_ptr<TraceReader>> files;
  std::vector<const TraceReader*> sources;
  for (const std::string& file : request.from) {
    files.push_back(std::make_unique<TraceReader>(file));
    sources.push_back(files.back().get());
  }
  TraceSynthesisAnswer answer{.request = request, .result = {}, .tests = {}};
  if (request.held_out) {
    for (const TraceReader* source : sources) {
      answer.tests.push_back(held_out_test(*source, request.options, request.out + ".held-out"));
    }
  }
  SynthesisOptions options = request.options;
  options.label = held_out_label(answer.tests);
  answer.result = synthesize(sources, options, request.out);
  return answer;
}

Json trace_synthesis_document(const TraceSynthesisAnswer& answer) {
  const TraceHeader& header = answer.result.header;
  Json json{{"schema", "retrosim.trace_synthesize/1"},
            {"inputs",
             {{"from", answer.request.from},
              {"context", header.first_position + 1},
              {"steps", answer.result.steps},
              {"layers", header.recorded_layers},
              {"kv_heads", header.num_kv_heads},
              {"seed", answer.request.options.seed}}},
            {"out", answer.request.out},
            {"label", header.synthetic},
            {"fitted_steps", answer.result.fitted_steps},
            {"factor_share_mean", answer.result.factor_share_mean},
            {"held_out", Json::array()}};
  for (const HeldOutTest& test : answer.tests) {
    Json entry{{"file", test.file},
               {"fitted_steps", test.fitted_steps},
               {"unseen_steps", test.unseen_steps},
               {"worst_gap", test.worst_gap()},
               {"statistics", Json::array()}};
    for (const HeldOutRow& row : test.rows) {
      entry["statistics"].push_back(
          {{"statistic", row.statistic}, {"recorded", row.recorded}, {"synthetic", row.synthetic}, {"gap", row.gap()}});
    }
    json["held_out"].push_back(std::move(entry));
  }
  return json;
}

std::string trace_synthesis_text(const TraceSynthesisAnswer& answer) {
  const TraceHeader& header = answer.result.header;
  std::string text;
  for (const HeldOutTest& test : answer.tests) {
    Table table({test.file, "unseen half", "synthetic", "gap"});
    for (const HeldOutRow& row : test.rows) {
      table.add({row.statistic, fixed(row.recorded, 4), fixed(row.synthetic, 4), fixed(row.gap(), 4)});
    }
    text += "fitted to " + std::to_string(test.fitted_steps) + " steps, held against the " +
            std::to_string(test.unseen_steps) + " after them\n" + table.to_text() + "\n";
  }
  return text + answer.request.out + ": " + std::to_string(answer.result.steps) + " steps from a context of " +
         std::to_string(header.first_position + 1) + " tokens, " + std::to_string(header.recorded_layers.size()) +
         " layers, " + std::to_string(header.num_kv_heads) + " KV heads\n" + header.synthetic + "\n";
}

}  // namespace retrosim
