// Serving simulations held against what others measured on live servers. Nothing is fitted to these rows.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "reports/json_text.h"
#include "reports/serving_json.h"

namespace retrosim {

/// `retrosim validate requests`: one live server, request by request. The table gives arrivals, lengths and the
/// server's max_num_seqs, max_num_batched_tokens, tp and dp; `request` gives model, GPU and the rest.
struct RequestsValidation {
  ServingOutcome outcome;
  std::vector<std::string> request_ids;
  struct Measured {
    double queue_ms = 0;
    double ttft_ms = 0;
    double tpot_ms = 0;
    double latency_ms = 0;
  };
  std::vector<Measured> measured;  // [requests], in the order of the simulation's requests
  std::string table;
};

/// Columns: request_id, input_tokens, output_tokens, arrival_s, queue_ms, ttft_ms, tpot_ms, latency_ms, tp, dp,
/// max_num_seqs, max_num_batched_tokens. Throws InputError naming file and line.
RequestsValidation validate_requests(ServingRequest request, const std::string& measured_csv);

/// Schema retrosim.validate-requests/1; errors are predicted / measured - 1.
Json requests_validation_json(const RequestsValidation& validation);
/// Measured and predicted side by side, a line per request.
std::string requests_validation_csv(const RequestsValidation& validation);

/// `retrosim validate serving`: many servers, one mean TTFT and TPOT each at a client concurrency.
struct ServingRow {
  std::vector<std::string> cells;  // of the table
  std::string gpu;
  std::string backend;
  std::string precision;
  double measured_ttft_ms = 0;
  double measured_tpot_ms = 0;
  double predicted_ttft_ms = 0;
  double predicted_tpot_ms = 0;
  std::string left_out;  // why; empty when simulated
  double tpot_error() const { return predicted_tpot_ms / measured_tpot_ms - 1; }
};

struct ServingValidation {
  std::string table;
  std::string header;
  std::vector<ServingRow> rows;
  std::map<std::string, std::string> profiles;  // by GPU: provenance
  ServingRequest settings;                      // what the columns do not say
  int rounds = 0;                               // requests per client
};

/// Columns: backend, model, gpu, precision, input_tokens, output_tokens, concurrency, tp, pp, attention_dp, ttft_ms,
/// tpot_ms. Clients send `rounds` requests each, one after another, all starting at once.
ServingValidation validate_serving(const ServingRequest& settings, const std::string& measured_csv, int rounds);

/// Schema retrosim.validate-serving/1; errors are of TPOT, predicted / measured - 1.
Json serving_validation_json(const ServingValidation& validation);
std::string serving_validation_csv(const ServingValidation& validation);

}  // namespace retrosim
