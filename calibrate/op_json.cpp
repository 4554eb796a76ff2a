#include "calibrate/op_json.h"

#include <array>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace retrosim {
namespace {

// visit_members(shape, f) calls f(name, member) for every member of the shapes that calibration measures.

template <class F>
void visit_members(EmbeddingShape& s, F f) {
  f("rows", s.rows), f("hidden_size", s.hidden_size);
}
template <class F>
void visit_members(RmsNormShape& s, F f) {
  f("rows", s.rows), f("hidden_size", s.hidden_size), f("adds_residual", s.adds_residual);
  f("product_splits", s.product_splits);
  f("rows_from_cache", s.rows_from_cache), f("rows_to_cache", s.rows_to_cache);
}
template <class F>
void visit_members(MatmulShape& s, F f) {
  f("m", s.m), f("n", s.n), f("k", s.k), f("weight_dtype", s.weight_dtype), f("bias", s.bias);
  f("splits", s.splits);
}
template <class F>
void visit_members(RopeAppendShape& s, F f) {
  f("rows", s.rows), f("rows_appended", s.rows_appended), f("rows_overwritten", s.rows_overwritten);
  f("pages_recomputed", s.pages_recomputed), f("keys_recomputed", s.keys_recomputed);
  f("summaries_widened", s.summaries_widened), f("num_q_heads", s.num_q_heads), f("num_kv_heads", s.num_kv_heads);
  f("head_dim", s.head_dim), f("kv_dtype", s.kv_dtype), f("qk_norm", s.qk_norm);
  f("product_splits", s.product_splits);
}
template <class F>
void visit_members(PageScoreShape& s, F f) {
  f("pages", s.pages), f("batch", s.batch), f("num_q_heads", s.num_q_heads), f("num_kv_heads", s.num_kv_heads);
  f("head_dim", s.head_dim);
}
template <class F>
void visit_members(TopKShape& s, F f) {
  f("pages", s.pages), f("selected", s.selected), f("batch", s.batch), f("num_kv_heads", s.num_kv_heads);
}
/// Samples of kernels before 4730489 have no `merges`: attention_merge was a launch of its own.
template <class F>
void visit_members(AttentionShape& s, F f) {
  f("batch", s.batch), f("num_q_heads", s.num_q_heads), f("num_kv_heads", s.num_kv_heads), f("head_dim", s.head_dim);
  f("page_size", s.page_size), f("window", s.window), f("rows", s.rows), f("pages_loaded", s.pages_loaded);
  f("tokens_loaded", s.tokens_loaded), f("unseen_visits", s.unseen_visits), f("unseen_union", s.unseen_union);
  f("masked", s.masked), f("tracks_last_loaded", s.tracks_last_loaded), f("num_splits", s.num_splits);
  f("kv_dtype", s.kv_dtype), f("merges", s.merges), f("cached_rows", s.cached_rows);
}
template <class F>
void visit_members(AttentionMergeShape& s, F f) {
  f("batch", s.batch), f("window", s.window), f("rows", s.rows), f("cached_rows", s.cached_rows);
  f("num_q_heads", s.num_q_heads), f("head_dim", s.head_dim), f("num_splits", s.num_splits);
}
template <class F>
void visit_members(PrefillAttentionShape& s, F f) {
  f("batch", s.batch), f("new_tokens", s.new_tokens), f("context_before", s.context_before);
  f("num_q_heads", s.num_q_heads), f("num_kv_heads", s.num_kv_heads), f("head_dim", s.head_dim);
  f("kv_dtype", s.kv_dtype);
}
template <class F>
void visit_members(SiluMulShape& s, F f) {
  f("rows", s.rows), f("intermediate_size", s.intermediate_size), f("product_splits", s.product_splits);
}
template <class F>
void visit_members(SampleShape& s, F f) {
  f("rows", s.rows), f("vocab_size", s.vocab_size), f("product_splits", s.product_splits);
}
template <class F>
void visit_members(HostToDeviceShape& s, F f) {
  f("bytes", s.bytes), f("transfers", s.transfers);
}
template <class F>
void visit_members(DeviceToHostShape& s, F f) {
  f("bytes", s.bytes), f("transfers", s.transfers);
}
template <class F>
void visit_members(CachePassShape& s, F f) {
  f("kv_read", s.kv_read), f("index_read", s.index_read), f("other_read", s.other_read), f("kv_write", s.kv_write);
  f("index_write", s.index_write), f("other_write", s.other_write);
}

template <class Shape>
constexpr bool kIsMeasured = !std::is_same_v<Shape, AllReduceShape> && !std::is_same_v<Shape, HostComputeShape> &&
                             !std::is_same_v<Shape, MoeRouteShape>;

constexpr std::int64_t kMaxCount = std::int64_t{1} << 50;

struct ReadMember {
  const JsonReader& reader;
  void operator()(const char* name, std::int64_t& value) const { value = reader.integer_or(name, value, 0, kMaxCount); }
  void operator()(const char* name, bool& value) const { value = reader.boolean_or(name, value); }
  void operator()(const char* name, DType& value) const {
    if (reader.has(name)) value = parse_dtype(reader.string(name), name);
  }
};

struct WriteMember {
  nlohmann::ordered_json& json;
  void operator()(const char* name, std::int64_t value) const {
    if (value != 0) json[name] = value;
  }
  void operator()(const char* name, bool value) const {
    if (value) json[name] = true;
  }
  void operator()(const char* name, DType value) const {
    if (value != DType::bf16) json[name] = name_of(value);
  }
};

/// Tries the shapes of OpShape from `Index` on until one has the kind's name.
template <std::size_t Index>
OpShape read_kind(const std::string& kind, const JsonReader& reader) {
  if constexpr (Index == kNumOpKinds) {
    reader.fail("kind", "an operation that calibration measures");
  } else {
    using Shape = std::variant_alternative_t<Index, OpShape>;
    if (!kIsMeasured<Shape> || kind != name_of(static_cast<OpKind>(Index))) return read_kind<Index + 1>(kind, reader);
    if constexpr (kIsMeasured<Shape>) {
      Shape shape;
      // Members of value 0 are left out: those with another default start at 0 too.
      if constexpr (requires { shape.window; }) shape.window = 0;
      if constexpr (requires { shape.num_splits; }) shape.num_splits = 0;
      if constexpr (requires { shape.transfers; }) shape.transfers = 0;
      visit_members(shape, ReadMember{reader});
      return shape;
    }
  }
  throw std::logic_error("read_op_shape");
}

}  // namespace

nlohmann::ordered_json to_json(const OpShape& shape) {
  nlohmann::ordered_json json;
  json["kind"] = name_of(static_cast<OpKind>(shape.index()));
  std::visit(
      [&](auto copy) {
        if constexpr (kIsMeasured<decltype(copy)>) {
          visit_members(copy, WriteMember{json});
        } else {
          throw std::logic_error("an operation that is not measured");
        }
      },
      shape);
  return json;
}

OpShape read_op_shape(const JsonReader& reader) {
  const OpShape shape = read_kind<0>(reader.string("kind"), reader);
  reader.finish();
  return shape;
}

}  // namespace retrosim
