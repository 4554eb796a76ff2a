// Strict reading of JSON objects: every access names its field, every refusal names file, field, value and
// expectation, and `finish` refuses keys that nobody asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace retrosim {

/// Parses a whole JSON file (at most 64 MiB, at most 64 levels deep).
/// Throws InputError when it cannot be read, is too large, or is not JSON.
nlohmann::json read_json_file(const std::filesystem::path& file);

/// Parses JSON text; `origin` names it in errors. Throws InputError.
nlohmann::json parse_json(std::string_view text, std::string_view origin);

/// A view of one JSON object. The object must outlive the reader.
class JsonReader {
 public:
  /// `origin` is the file (or other source) and `path` the dotted place of `object` in it, for errors.
  JsonReader(const nlohmann::json& object, std::string origin, std::string path = "");

  /// True when the key is there and not null; marks it as known.
  bool has(std::string_view key) const;

  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::int64_t integer_or(std::string_view key, std::int64_t fallback, std::int64_t min, std::int64_t max) const;
  /// A finite number in [min, max].
  double number(std::string_view key, double min = std::numeric_limits<double>::lowest(),
                double max = std::numeric_limits<double>::max()) const;
  double number_or(std::string_view key, double fallback, double min = std::numeric_limits<double>::lowest(),
                   double max = std::numeric_limits<double>::max()) const;
  bool boolean(std::string_view key) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string string(std::string_view key) const;
  std::string string_or(std::string_view key, std::string_view fallback) const;
  std::vector<std::int64_t> integers(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::vector<double> numbers(std::string_view key) const;
  /// Reader of the nested object `key`.
  JsonReader object(std::string_view key) const;
  /// Readers of the array of objects `key`.
  std::vector<JsonReader> objects(std::string_view key) const;
  /// The raw value (marks the key as known). Throws InputError if missing.
  const nlohmann::json& raw(std::string_view key) const;
  /// The keys of this object, in file order or sorted; none is marked as known.
  std::vector<std::string> keys() const;

  /// True when the key was read, asked for or ignored before.
  bool is_known(std::string_view key) const { return known_.find(key) != known_.end(); }
  /// Marks a key as known without reading it.
  void ignore(std::string_view key) const;
  /// Throws InputError naming the first key that was neither read nor ignored.
  void finish() const;

  /// Throws InputError for the field `key` of this object.
  [[noreturn]] void fail(std::string_view key, std::string_view expectation) const;

  const std::string& origin() const { return origin_; }
  /// Dotted path of `key` from the root of the file.
  std::string path_of(std::string_view key) const;

 private:
  const nlohmann::json* find(std::string_view key) const;

  const nlohmann::json* object_;
  std::string origin_;
  std::string path_;
  mutable std::set<std::string, std::less<>> known_;
};

}  // namespace retrosim
