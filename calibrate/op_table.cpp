#include "calibrate/op_table.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "calibrate/csv_rows.h"
#include "model/error.h"

namespace retrosim {
namespace {

constexpr double kSmallKvBytes = 2e6;  // decode attention below this shows its latency alone, wherever the KV is
constexpr double kL2Multiples = 4;     // from this multiple of L2 on, replayed KV comes from HBM (tables' README)
constexpr std::int64_t kPageSize = 16;

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

const char* rows_regime(std::int64_t rows) {
  if (rows <= 16) return "rows 1 to 16";
  if (rows <= 128) return "rows 17 to 128";
  return rows <= 1024 ? "rows 129 to 1024" : "rows above 1024";
}

/// The cells before the column of the time, and those after it that do not flag the measurement.
std::string label_of(const CsvRows& rows, const std::string& time_column) {
  std::string label;
  for (std::size_t i = 0; i < rows.header().size() && rows.header()[i] != time_column; ++i) {
    label += (i == 0 ? "" : " ") + rows.cells()[i];
  }
  return label;
}

bool is_flagged(const CsvRows& rows, const char* column) { return rows.has(column) && rows.number(column) != 0; }

OpTableRow gemm_row(const CsvRows& rows) {
  const DType dtype = parse_dtype(rows.text("dtype"), rows.where() + ": dtype");
  const std::int64_t m = rows.integer("m");
  OpTableRow row{
      .label = label_of(rows, "latency_us"),
      .regime = rows_regime(m),
      .ops = {{.shape = MatmulShape{.m = m, .n = rows.integer("n"), .k = rows.integer("k"), .weight_dtype = dtype},
               .name = "product"}},
      .gaps = 1,
      .measured_us = rows.positive("latency_us")};
  if (is_flagged(rows, "weights_l2_resident")) {
    row.reason = "weights stayed in L2 from replay to replay; a decoding step reads them from HBM";
  } else if (is_flagged(rows, "nonmonotone_flag")) {
    row.reason = "flagged as doubtful by the table (nonmonotone)";
  }
  return row;
}

/// A call of an attention backend is three kernels of the step graph: the write of the new keys and values (of
/// rope_append), attention, and the merge of its splits.
OpTableRow attention_row(const CsvRows& rows, const GpuSpec& spec, const char* q_heads, const char* kv_heads,
                         const char* time, bool replayed) {
  const DType dtype =
      rows.has("kv_dtype") ? parse_dtype(rows.text("kv_dtype"), rows.where() + ": kv_dtype") : DType::bf16;
  const std::int64_t batch = rows.integer("batch");
  const std::int64_t tokens = rows.integer("kv_len_tokens");
  const std::int64_t heads = rows.integer(kv_heads);
  const std::int64_t queries = rows.integer(q_heads);
  const std::int64_t head_dim = rows.integer("head_dim");
  if (queries % heads != 0) throw InputError(rows.where(), q_heads, rows.text(q_heads), "a multiple of the KV heads");
  const AttentionShape attention{.batch = batch,
                                 .num_q_heads = queries,
                                 .num_kv_heads = heads,
                                 .head_dim = head_dim,
                                 .page_size = kPageSize,
                                 .rows = batch,
                                 .pages_loaded = batch * heads * ((tokens + kPageSize - 1) / kPageSize),
                                 .tokens_loaded = batch * heads * tokens,
                                 .kv_dtype = dtype};
  const RopeAppendShape append{.rows_appended = batch, .num_kv_heads = heads, .head_dim = head_dim, .kv_dtype = dtype};
  const AttentionMergeShape merge{.batch = batch, .rows = batch, .num_q_heads = queries, .head_dim = head_dim};
  const auto kv = static_cast<double>(attention.bytes_moved().kv_read);
  const double l2 = static_cast<double>(spec.l2_bytes);
  OpTableRow row{.label = label_of(rows, time),
                 .regime = std::string(kv <= kSmallKvBytes ? "KV to 2 MB" : "KV above 2 MB") +
                           (batch <= 64 ? ", batch to 64" : ", batch above 64"),
                 .ops = {{.shape = append, .name = "kv_append"},
                         {.shape = attention, .name = "attention"},
                         {.shape = merge, .name = "attention_merge"}},
                 .gaps = replayed ? 3 : 0,
                 .measured_us = rows.positive(time)};
  if (replayed && kv > kSmallKvBytes && kv < kL2Multiples * l2) {
    row.reason = "the same KV was replayed and is less than 4x L2: part of it came from L2";
  }
  return row;
}

class LayerRows {
 public:
  explicit LayerRows(std::string file) : file_(std::move(file)) {}

  OpTableRow read(const CsvRows& rows) {
    const std::int64_t count = rows.integer("tokens_or_sequences_M");
    const std::string& layer = rows.text("layer");
    return {
        .label = label_of(rows, "time_us"),
        .regime = layer,
        .ops = {{.shape = vllm_layer_shape(llm_of(rows), layer, count, rows.integer("tp"), file_), .name = "layer"}},
        .measured_us = rows.positive("time_us")};
  }

 private:
  const LlmSpec& llm_of(const CsvRows& rows) {
    const std::string name = lower_case(rows.text("model"));
    const auto found = llms_.find(name);
    if (found != llms_.end()) return found->second;
    const std::vector<std::string> bundled = bundled_llm_names();
    if (std::ranges::find(bundled, name) == bundled.end()) {
      throw InputError(rows.where(), "model", rows.text("model"), "a bundled model (see retrosim llms)");
    }
    return llms_.emplace(name, find_llm_spec(name)).first->second;
  }

  std::string file_;
  std::map<std::string, LlmSpec> llms_;
};

}  // namespace

OpShape vllm_layer_shape(const LlmSpec& llm, const std::string& layer, std::int64_t rows, std::int64_t tp,
                         const std::string& file) {
  const std::int64_t hidden = llm.hidden_size;
  const std::int64_t head = llm.head_dim;
  const std::int64_t q = llm.num_q_heads / tp;
  const std::int64_t kv = std::max<std::int64_t>(1, llm.num_kv_heads / tp);
  const std::int64_t intermediate = llm.intermediate_size / tp;
  const auto product = [&](std::int64_t n, std::int64_t k) { return MatmulShape{.m = rows, .n = n, .k = k}; };
  if (layer == "qkv_proj") return product((q + 2 * kv) * head, hidden);
  if (layer == "o_proj") return product(hidden, q * head);
  if (layer == "gate_up_proj") return product(2 * intermediate, hidden);
  if (layer == "down_proj") return product(hidden, intermediate);
  if (layer == "lm_head") return product(llm.vocab_size / tp, hidden);
  if (layer == "layernorm" || layer == "final_layernorm") {
    return RmsNormShape{.rows = rows, .hidden_size = hidden, .adds_residual = true};
  }
  if (layer == "rotary_emb") {
    return RopeAppendShape{.rows = rows, .rows_appended = rows, .num_q_heads = q, .num_kv_heads = kv, .head_dim = head};
  }
  if (layer == "act_fn") return SiluMulShape{.rows = rows, .intermediate_size = intermediate};
  if (layer == "embedding") return EmbeddingShape{.rows = rows, .hidden_size = hidden};
  if (layer == "sampler") return SampleShape{.rows = rows, .vocab_size = llm.vocab_size};
  throw InputError(file, "layer", layer,
                   "qkv_proj, o_proj, gate_up_proj, down_proj, lm_head, layernorm, final_layernorm, rotary_emb, "
                   "act_fn, embedding or sampler");
}

OpTable read_op_table(const std::filesystem::path& csv, const GpuSpec& spec) {
  CsvRows rows(csv);
  OpTable table;
  if (rows.has("m") && rows.has("n") && rows.has("k") && rows.has("latency_us")) {
    table.format = "gemm";
    while (rows.next()) table.rows.push_back(gemm_row(rows));
  } else if (rows.has("kv_len_tokens") && rows.has("latency_us")) {
    table.format = "attention_decode";
    while (rows.next()) {
      table.rows.push_back(attention_row(rows, spec, "num_q_heads", "num_kv_heads", "latency_us", true));
    }
  } else if (rows.has("kv_len_tokens") && rows.has("time_us")) {
    table.format = "vllm_attention_decode";
    while (rows.next()) {
      table.rows.push_back(attention_row(rows, spec, "num_q_heads_per_gpu", "num_kv_heads_per_gpu", "time_us", false));
    }
  } else if (rows.has("layer") && rows.has("tokens_or_sequences_M")) {
    table.format = "vllm_layers";
    LayerRows layers(csv.string());
    while (rows.next()) table.rows.push_back(layers.read(rows));
  } else {
    throw InputError(csv.string(), "header", rows.header().front(),
                     "the columns m,n,k,dtype,latency_us (products); batch,kv_len_tokens,num_q_heads,num_kv_heads,"
                     "head_dim,latency_us (decode attention); or those of vllm_layers_* and vllm_attn_decode_*");
  }
  return table;
}

}  // namespace retrosim
