// Records an attention trace: a real checkpoint runs over given tokens with dense attention, and every recorded step
// keeps each KV head's pages in the order of Quest's score, with the attention mass that truly fell on them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace retrosim {

/// Token ids of a text. The file is one JSON object: {"tokens": [ids], "source": sentence, "tokenizer": text}; the last
/// two may be missing.
struct TokensFile {
  std::vector<std::int32_t> tokens;
  std::string source;
  std::string tokenizer;
};

/// Throws InputError naming file and field.
TokensFile load_tokens(const std::filesystem::path& file);

struct RecordProgress {
  std::int64_t tokens_done = 0;  // forward pass, prompt included
  std::int64_t tokens_total = 0;
  std::int64_t steps_recorded = 0;
  double elapsed_s = 0;
  double eta_s = 0;  // from the floating-point operations still to do and the rate so far
};

struct RecordOptions {
  std::int64_t first_position = 0;  // of the first recorded step's query; the tokens before it are the prompt
  std::int64_t steps = 0;           // 0: to the end of the tokens
  std::vector<int> layers = {};     // ascending; empty: every layer without a sliding window
  int page_size = 16;               // tokens
  std::int64_t top_m = 0;           // ranked pages kept per step and KV head; 0: all
  std::int64_t chunk_tokens = 128;  // teacher-forced together
  int num_threads = 0;              // 0: as many as the machine has
  std::string model_name = {};      // empty: the checkpoint folder's name
  std::string workload = {};        // empty: the tokens file's source
  std::string tool_version = {};
  std::function<void(const RecordProgress&)> progress = {};  // after every chunk; may be empty
};

struct RecordResult {
  std::int64_t steps = 0;
  double prompt_s = 0;     // forward pass up to the first recorded step
  double recording_s = 0;  // forward pass, ranking and writing of the recorded steps
  /// Recorded tokens per second.
  double tokens_per_s() const { return recording_s > 0 ? static_cast<double>(steps) / recording_s : 0; }
};

/// Writes the trace to `out`; nothing is left there when recording fails. The query at position p predicts token p + 1,
/// which need not exist. Throws InputError for a checkpoint or tokens that cannot be read, a range outside them, a
/// context beyond the model, layers that do not exist or have a sliding window.
RecordResult record_trace(const std::filesystem::path& checkpoint, const std::filesystem::path& tokens_file,
                          const RecordOptions& options, const std::filesystem::path& out);

}  // namespace retrosim
