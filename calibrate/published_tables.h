// Readers of kernel measurements that others published (CSV tables of aiconfigurator, and the text of a first H100
// probe).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace retrosim {

struct GemmRow {
  std::string label;  // the row's key columns
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  double latency_us = 0;
  bool weights_l2_resident = false;
  bool nonmonotone = false;
};

/// Dense paged decode attention of one layer, the write of the new keys and values included.
struct DecodeAttentionRow {
  std::string label;
  std::int64_t batch = 0;
  std::int64_t kv_len_tokens = 0;
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  double latency_us = 0;
  bool kv_l2_resident = false;
};

struct AllReduceRow {
  std::string label;
  int num_gpus = 0;
  std::int64_t message_bytes = 0;
  double latency_us = 0;
};

/// Gather of whole pages scattered over HBM; the time includes one launch.
struct GatherRow {
  std::string label;
  double page_bytes = 0;
  double total_bytes = 0;
  double latency_us = 0;
};

struct ProbeFigures {
  std::vector<GatherRow> reads;  // streaming reads: page_bytes is 0
  std::vector<GatherRow> gathers;
  double copy_bytes_per_s = 0;  // read plus written
  double launch_us = 0;         // back to back, without a graph
  double graph_node_us = 0;
  double h2d_bytes_per_s = 0;
  double d2h_bytes_per_s = 0;
  double h2d_64kib_us = 0;
};

/// All throw InputError naming the file and the column or line for anything missing or malformed.
std::vector<GemmRow> read_gemm_rows(const std::filesystem::path& csv);
std::vector<DecodeAttentionRow> read_decode_attention_rows(const std::filesystem::path& csv);
/// Rows of one GPU and communication library.
std::vector<AllReduceRow> read_all_reduce_rows(const std::filesystem::path& csv, const std::string& gpu,
                                               const std::string& library);
ProbeFigures read_probe(const std::filesystem::path& text);

}  // namespace retrosim
