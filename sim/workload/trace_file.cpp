#include "sim/workload/trace_file.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>

#include "model/error.h"
#include "model/json_reader.h"

namespace retrosim {
namespace {

constexpr double kMaxTokens = 1 << 24;
constexpr double kMaxSeconds = 4e6;  // of simulated time after the first arrival
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

/// A line of the file and where it is.
struct Line {
  std::string_view text;
  std::string where;  // file:line
};

struct Row {
  std::int64_t arrival_ns = 0;
  std::int32_t input_tokens = 0;
  std::int32_t output_tokens = 0;
  std::vector<std::uint64_t> hash_ids;  // Mooncake's
};

std::vector<std::string_view> cells_of(const Line& line, std::size_t expected) {
  std::vector<std::string_view> cells;
  std::string_view rest = line.text;
  for (;;) {
    const std::size_t comma = rest.find(',');
    cells.push_back(rest.substr(0, comma));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (expected != 0 && cells.size() != expected) {
    throw InputError(line.where, "columns", std::to_string(cells.size()), std::to_string(expected));
  }
  return cells;
}

double number(std::string_view text, const Line& line, std::string_view field, double max) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || !(value >= 0 && value <= max)) {
    throw InputError(line.where, field, text,
                     "a number in [0, " + std::to_string(static_cast<std::int64_t>(max)) + "]");
  }
  return value;
}

std::int32_t tokens(double value, const Line& line, std::string_view field, std::int32_t min = 1) {
  if (value != std::floor(value) || value < min || value > kMaxTokens) {
    throw InputError(line.where, field, std::to_string(value),
                     "a whole number of tokens in [" + std::to_string(min) + ", 16777216]");
  }
  return static_cast<std::int32_t>(value);
}

std::int64_t ns_of(double seconds) { return std::llround(seconds * static_cast<double>(kNsPerSecond)); }

/// "2023-11-16 18:17:03.9799600", "2024-05-10 00:00:00.009930+00:00": nanoseconds since 1970.
std::int64_t timestamp_ns(std::string_view text, const Line& line) {
  const auto refuse = [&]() -> std::int64_t {
    throw InputError(line.where, "TIMESTAMP", text, "YYYY-MM-DD hh:mm:ss[.fraction][+00:00]");
  };
  std::string_view rest = text;
  for (const std::string_view zone : {"+00:00", "Z"}) {
    if (rest.ends_with(zone)) rest.remove_suffix(zone.size());
  }
  const auto field = [&](std::size_t at, std::size_t size, int max) {
    int value = -1;
    const auto [end, code] = std::from_chars(rest.data() + at, rest.data() + at + size, value);
    if (code != std::errc{} || end != rest.data() + at + size || value < 0 || value > max) refuse();
    return value;
  };
  if (rest.size() < 19 || rest[4] != '-' || rest[7] != '-' || (rest[10] != ' ' && rest[10] != 'T') || rest[13] != ':' ||
      rest[16] != ':') {
    refuse();
  }
  const std::chrono::year_month_day date{std::chrono::year(field(0, 4, 9999)),
                                         std::chrono::month(static_cast<unsigned>(field(5, 2, 12))),
                                         std::chrono::day(static_cast<unsigned>(field(8, 2, 31)))};
  if (!date.ok() || field(0, 4, 9999) < 1970 || field(0, 4, 9999) > 2200) refuse();
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  std::int64_t ns = ((days * 24 + field(11, 2, 23)) * 60 + field(14, 2, 59)) * 60 + field(17, 2, 60);
  ns *= kNsPerSecond;
  if (rest.size() == 19) return ns;
  if (rest[19] != '.' || rest.size() > 29 || rest.size() == 20) refuse();
  std::int64_t scale = kNsPerSecond;
  for (const char digit : rest.substr(20)) {
    if (digit < '0' || digit > '9') refuse();
    scale /= 10;
    ns += scale * (digit - '0');
  }
  return ns;
}

enum class Format { three_columns, azure, burst_gpt, json_lines };

class Parser {
 public:
  Parser(std::string_view text, std::string_view origin) : rest_(text), origin_(origin) {}

  Workload parse() {
    std::optional<Line> line = next();
    if (!line) throw InputError(origin_, "", "an empty file", "a request trace");
    const Format format = format_of(*line);
    if (format != Format::json_lines) line = next();
    std::vector<Row> rows;
    for (; line; line = next()) {
      if (const std::optional<Row> row = parse_row(format, *line)) rows.push_back(*row);
    }
    if (rows.empty()) throw InputError(origin_, "", "no requests", "at least one");
    return workload_of(std::move(rows));
  }

 private:
  std::optional<Line> next() {
    while (!rest_.empty()) {
      const std::size_t end = rest_.find('\n');
      std::string_view text = rest_.substr(0, end);
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
      ++number_;
      if (text.ends_with('\r')) text.remove_suffix(1);
      if (!text.empty()) return Line{text, origin_ + ":" + std::to_string(number_)};
    }
    return std::nullopt;
  }

  Format format_of(const Line& line) {
    if (line.text.starts_with("{")) return Format::json_lines;
    if (line.text == "arrived_at,num_prefill_tokens,num_decode_tokens") return Format::three_columns;
    if (line.text == "TIMESTAMP,ContextTokens,GeneratedTokens") return Format::azure;
    const std::vector<std::string_view> cells = cells_of(line, 0);
    const auto column = [&](std::string_view name) {
      return static_cast<std::size_t>(std::find(cells.begin(), cells.end(), name) - cells.begin());
    };
    columns_ = cells.size();
    timestamp_column_ = column("Timestamp");
    input_column_ = column("Request tokens");
    output_column_ = column("Response tokens");
    if (std::max({timestamp_column_, input_column_, output_column_}) < columns_) return Format::burst_gpt;
    throw InputError(line.where, "header", line.text.substr(0, 100),
                     "arrived_at,num_prefill_tokens,num_decode_tokens; TIMESTAMP,ContextTokens,GeneratedTokens; "
                     "BurstGPT's Timestamp,...,Request tokens,Response tokens,...; or JSON lines");
  }

  std::optional<Row> parse_row(Format format, const Line& line) {
    switch (format) {
      case Format::three_columns: {
        const auto cells = cells_of(line, 3);
        return Row{ns_of(number(cells[0], line, "arrived_at", kMaxSeconds)),
                   tokens(number(cells[1], line, "num_prefill_tokens", kMaxTokens), line, "num_prefill_tokens"),
                   tokens(number(cells[2], line, "num_decode_tokens", kMaxTokens), line, "num_decode_tokens"),
                   {}};
      }
      case Format::azure: {
        const auto cells = cells_of(line, 3);
        return Row{timestamp_ns(cells[0], line),
                   tokens(number(cells[1], line, "ContextTokens", kMaxTokens), line, "ContextTokens"),
                   tokens(number(cells[2], line, "GeneratedTokens", kMaxTokens), line, "GeneratedTokens"),
                   {}};
      }
      case Format::burst_gpt: {
        const auto cells = cells_of(line, columns_);
        const std::int32_t input =
            tokens(number(cells[input_column_], line, "Request tokens", kMaxTokens), line, "Request tokens", 0);
        const std::int32_t output =
            tokens(number(cells[output_column_], line, "Response tokens", kMaxTokens), line, "Response tokens", 0);
        const double seconds = number(cells[timestamp_column_], line, "Timestamp", 1e9);
        if (input == 0 || output == 0) {
          ++skipped_;
          return std::nullopt;
        }
        return Row{ns_of(seconds), input, output, {}};
      }
      case Format::json_lines: return parse_json_row(line);
    }
    return std::nullopt;
  }

  Row parse_json_row(const Line& line) {
    const nlohmann::json json = parse_json(line.text, line.where);
    if (!json.is_object()) throw InputError(line.where, "", "something else", "a JSON object per line");
    const JsonReader reader(json, line.where);
    const auto count = [&](std::string_view key) {
      return static_cast<std::int32_t>(reader.integer(key, 1, static_cast<std::int64_t>(kMaxTokens)));
    };
    if (reader.has("input_length")) {
      const double ms = reader.number("timestamp", 0, 1e3 * kMaxSeconds);
      Row row{std::llround(ms * 1e6), count("input_length"), count("output_length"), {}};
      row.hash_ids = hash_ids(json, line, row.input_tokens);
      return row;
    }
    const bool short_names = reader.has("input_toks");
    const Row row{0,
                  count(short_names ? "input_toks" : "input_tokens"),
                  count(short_names ? "output_toks" : "output_tokens"),
                  {}};
    const bool in_seconds = reader.has("arrival_s");
    const bool in_ns = reader.has("arrival_time_ns");
    if (!arrivals_given_) arrivals_given_ = in_seconds || in_ns;
    if (*arrivals_given_ != (in_seconds || in_ns)) {
      throw InputError(line.where, "arrival_s", in_seconds || in_ns ? "a value" : "nothing",
                       "an arrival in every line or in none");
    }
    Row result = row;
    if (in_seconds) result.arrival_ns = ns_of(reader.number("arrival_s", 0, kMaxSeconds));
    if (in_ns) result.arrival_ns = reader.integer("arrival_time_ns", 0, static_cast<std::int64_t>(kMaxSeconds * 1e9));
    return result;
  }

  static std::vector<std::uint64_t> hash_ids(const nlohmann::json& json, const Line& line, std::int64_t input_tokens) {
    constexpr std::uint64_t kMostId = (1ULL << 61) - 1;
    std::vector<std::uint64_t> ids;
    const auto found = json.find("hash_ids");
    if (found == json.end()) return ids;
    const auto most =
        static_cast<std::size_t>((input_tokens + Workload::kHashedBlockTokens - 1) / Workload::kHashedBlockTokens);
    if (!found->is_array() || found->size() > most) {
      throw InputError(line.where, "hash_ids",
                       found->is_array() ? std::to_string(found->size()) + " values" : std::string(found->type_name()),
                       "a list of at most " + std::to_string(most) + " ids, one for each block of 512 prompt tokens");
    }
    for (const nlohmann::json& id : *found) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() > kMostId) {
        throw InputError(line.where, "hash_ids", id.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
                         "whole numbers in [0, 2^61)");
      }
      ids.push_back(id.get<std::uint64_t>());
    }
    return ids;
  }

  Workload workload_of(std::vector<Row> rows) const {
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.arrival_ns < b.arrival_ns; });
    Workload workload;
    workload.skipped_unanswered = skipped_;
    workload.requests.reserve(rows.size());
    for (const Row& row : rows) {
      const std::int64_t ns = row.arrival_ns - rows.front().arrival_ns;
      if (ns > static_cast<std::int64_t>(kMaxSeconds) * kNsPerSecond) {
        throw InputError(origin_, "arrivals", std::to_string(ns / kNsPerSecond) + " s", "a span below 46 days");
      }
      workload.requests.push_back({.arrival = ns * 1000,
                                   .input_tokens = row.input_tokens,
                                   .output_tokens = row.output_tokens,
                                   .first_hash = static_cast<std::uint32_t>(workload.hash_ids.size()),
                                   .num_hashes = static_cast<std::uint32_t>(row.hash_ids.size())});
      workload.hash_ids.insert(workload.hash_ids.end(), row.hash_ids.begin(), row.hash_ids.end());
    }
    workload.description = std::to_string(rows.size()) + " requests of " + origin_;
    return workload;
  }

  std::string_view rest_;
  std::string origin_;
  std::size_t number_ = 0;
  std::size_t columns_ = 0;
  std::size_t timestamp_column_ = 0;
  std::size_t input_column_ = 0;
  std::size_t output_column_ = 0;
  std::int64_t skipped_ = 0;
  std::optional<bool> arrivals_given_;
};

}  // namespace

Workload parse_workload(std::string_view text, std::string_view origin) { return Parser(text, origin).parse(); }

Workload load_workload(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (!stream || !std::filesystem::is_regular_file(file)) {
    throw InputError(file.string(), "", "", "a readable request trace (CSV or JSON lines)");
  }
  text << stream.rdbuf();
  return parse_workload(std::move(text).str(), file.string());
}

}  // namespace retrosim
