// The safetensors container (https://huggingface.co/docs/safetensors, "Format"): an 8-byte little-endian header length,
// a JSON header {"name": {"dtype", "shape", "data_offsets": [begin, end]}}, then the raw row-major tensors without
// gaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/dtype.h"

namespace retrosim {

struct SafetensorsEntry {
  DType dtype{};
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;  // little-endian elements, not necessarily aligned

  std::int64_t num_elements() const;
};

class Safetensors {
 public:
  /// Views `bytes`, which must outlive it; `origin` names them in errors. Throws InputError for a header that is cut
  /// off, not JSON or has other fields, a dtype other than F32, BF16 and F16, sizes that do not match, and tensors that
  /// overlap, leave gaps or lie outside the file.
  Safetensors(std::span<const std::byte> bytes, std::string origin);

  const std::map<std::string, SafetensorsEntry, std::less<>>& entries() const { return entries_; }
  bool has(std::string_view name) const { return entries_.find(name) != entries_.end(); }

  /// Appends the tensor's elements as float32 to `out`. Throws InputError when it is missing, has another shape, or
  /// holds a value that is not finite.
  void append_to(std::string_view name, std::span<const std::int64_t> shape, std::vector<float>& out) const;

 private:
  std::string origin_;
  std::map<std::string, SafetensorsEntry, std::less<>> entries_;
};

}  // namespace retrosim
