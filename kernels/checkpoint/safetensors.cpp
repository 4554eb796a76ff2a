#include "kernels/checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "model/error.h"
#include "model/json_reader.h"

namespace retrosim {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are read as they lie in the file");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::int64_t kMaxElements = std::int64_t{1} << 44;

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

std::optional<std::int64_t> product_of(std::span<const std::int64_t> shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) {
    if (size != 0 && product > kMaxElements / size) return std::nullopt;
    product *= size;
  }
  return product;
}

DType dtype_of(const JsonReader& entry) {
  const std::string name = entry.string("dtype");
  if (name == "F32") return DType::f32;
  if (name == "BF16") return DType::bf16;
  if (name == "F16") return DType::f16;
  entry.fail("dtype", "F32, BF16 or F16");
}

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U); }

float from_f16(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  float magnitude = 0;
  if (exponent == 0x1F) {
    magnitude = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

}  // namespace

std::int64_t SafetensorsEntry::num_elements() const { return product_of(shape).value(); }

Safetensors::Safetensors(std::span<const std::byte> bytes, std::string origin) : origin_(std::move(origin)) {
  std::uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes) throw InputError(origin_, "", "", "a safetensors file (it is cut off)");
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  if (header_bytes > std::min<std::uint64_t>(kMaxHeaderBytes, bytes.size() - sizeof header_bytes)) {
    throw InputError(origin_, "header length", std::to_string(header_bytes),
                     "at most 100000000 bytes and at most the file");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof header_bytes, header_bytes);
  const std::span<const std::byte> data = bytes.subspan(sizeof header_bytes + header_bytes);
  const nlohmann::json document = parse_json(text, origin_);
  const JsonReader header(document, origin_);
  header.ignore("__metadata__");

  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  for (const std::string& name : header.keys()) {
    if (name == "__metadata__") continue;
    const JsonReader reader = header.object(name);
    SafetensorsEntry entry{.dtype = dtype_of(reader), .shape = reader.integers("shape", 0, kMaxElements), .data = {}};
    const auto offsets = reader.integers("data_offsets", 0, static_cast<std::int64_t>(data.size()));
    reader.finish();
    const std::optional<std::int64_t> elements = product_of(entry.shape);
    if (!elements) reader.fail("shape", "a tensor that fits in a file");
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] - offsets[0] != bytes_of(entry.dtype, *elements)) {
      reader.fail("data_offsets", "[begin, end] of " + std::to_string(bytes_of(entry.dtype, *elements)) + " bytes");
    }
    entry.data = data.subspan(offsets[0], offsets[1] - offsets[0]);
    ranges.emplace_back(offsets[0], offsets[1]);
    entries_.emplace(name, std::move(entry));
  }
  std::sort(ranges.begin(), ranges.end());
  std::int64_t end = 0;
  for (const auto& [first, last] : ranges) {
    if (first != end)
      throw InputError(origin_, "data_offsets", std::to_string(first), std::to_string(end) + " (no gap)");
    end = last;
  }
  if (end != static_cast<std::int64_t>(data.size())) {
    throw InputError(origin_, "data_offsets", std::to_string(end), "tensors that end with the file");
  }
}

void Safetensors::append_to(std::string_view name, std::span<const std::int64_t> shape, std::vector<float>& out) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw InputError(origin_, name, "nothing", "a tensor " + shape_text(shape));
  const SafetensorsEntry& entry = found->second;
  if (!std::equal(shape.begin(), shape.end(), entry.shape.begin(), entry.shape.end())) {
    throw InputError(origin_, name, shape_text(entry.shape), shape_text(shape) + " (config.json)");
  }
  const std::size_t first = out.size();
  const auto count = static_cast<std::size_t>(entry.num_elements());
  out.resize(first + count);
  if (entry.dtype == DType::f32) {
    if (count > 0) std::memcpy(out.data() + first, entry.data.data(), entry.data.size());
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, entry.data.data() + i * sizeof bits, sizeof bits);
      out[first + i] = entry.dtype == DType::bf16 ? from_bf16(bits) : from_f16(bits);
    }
  }
  for (std::size_t i = first; i < out.size(); ++i) {
    if (!std::isfinite(out[i])) throw InputError(origin_, name, std::to_string(out[i]), "finite weights");
  }
}

}  // namespace retrosim
