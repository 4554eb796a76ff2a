#include "calibrate/published_tables.h"

#include <boost/tokenizer.hpp>
#include <charconv>
#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <regex>

#include "model/error.h"

namespace retrosim {
namespace {

/// A CSV file with a header line, one row at a time.
class CsvReader {
 public:
  explicit CsvReader(const std::filesystem::path& file) : file_(file.string()), stream_(file) {
    if (!stream_) throw InputError(file_, "", "", "a readable CSV file");
    if (!read_cells()) throw InputError(file_, "", "", "a header line");
    for (std::size_t i = 0; i < cells_.size(); ++i) columns_[cells_[i]] = i;
  }

  bool next() { return read_cells(); }

  const std::string& text(const std::string& column) const {
    const auto found = columns_.find(column);
    if (found == columns_.end()) throw InputError(file_, column, "nothing", "a column of this name");
    if (found->second >= cells_.size())
      throw InputError(file_, column, "a short line", "a value (line " + line_text() + ")");
    return cells_[found->second];
  }

  double number(const std::string& column) const {
    const std::string& cell = text(column);
    double value = 0;
    const auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (code != std::errc{} || end != cell.data() + cell.size() || !std::isfinite(value) || value < 0 || value > 1e15) {
      throw InputError(file_, column, cell, "a number that is not negative (line " + line_text() + ")");
    }
    return value;
  }

  std::int64_t integer(const std::string& column) const { return static_cast<std::int64_t>(number(column)); }

  double latency_us() const {
    const double value = number("latency_us");
    if (!(value > 0))
      throw InputError(file_, "latency_us", text("latency_us"), "more than 0 (line " + line_text() + ")");
    return value;
  }

  /// The cells before the latency: what was measured.
  std::string label() const {
    std::string result;
    for (std::size_t i = 0; i < cells_.size() && i < columns_.at("latency_us"); ++i)
      result += (i == 0 ? "" : " ") + cells_[i];
    return result;
  }

 private:
  std::string line_text() const { return std::to_string(line_); }

  bool read_cells() {
    std::string line;
    do {
      if (!std::getline(stream_, line)) return false;
      ++line_;
    } while (line.empty());
    try {
      const boost::tokenizer<boost::escaped_list_separator<char>> cells(line);
      cells_.assign(cells.begin(), cells.end());
    } catch (const boost::escaped_list_error&) {
      throw InputError(file_, "line " + line_text(), line, "comma-separated values");
    }
    return true;
  }

  std::string file_;
  std::ifstream stream_;
  std::map<std::string, std::size_t> columns_;
  std::vector<std::string> cells_;
  int line_ = 0;
};

}  // namespace

std::vector<GemmRow> read_gemm_rows(const std::filesystem::path& csv) {
  CsvReader reader(csv);
  std::vector<GemmRow> rows;
  while (reader.next()) {
    rows.push_back({.label = reader.label(),
                    .m = reader.integer("m"),
                    .n = reader.integer("n"),
                    .k = reader.integer("k"),
                    .latency_us = reader.latency_us(),
                    .weights_l2_resident = reader.integer("weights_l2_resident") != 0,
                    .nonmonotone = reader.integer("nonmonotone_flag") != 0});
  }
  return rows;
}

std::vector<DecodeAttentionRow> read_decode_attention_rows(const std::filesystem::path& csv) {
  CsvReader reader(csv);
  std::vector<DecodeAttentionRow> rows;
  while (reader.next()) {
    rows.push_back({.label = reader.label(),
                    .batch = reader.integer("batch"),
                    .kv_len_tokens = reader.integer("kv_len_tokens"),
                    .num_q_heads = reader.integer("num_q_heads"),
                    .num_kv_heads = reader.integer("num_kv_heads"),
                    .head_dim = reader.integer("head_dim"),
                    .latency_us = reader.latency_us(),
                    .kv_l2_resident = reader.integer("kv_l2_resident") != 0});
  }
  return rows;
}

std::vector<AllReduceRow> read_all_reduce_rows(const std::filesystem::path& csv, const std::string& gpu,
                                               const std::string& library) {
  CsvReader reader(csv);
  std::vector<AllReduceRow> rows;
  while (reader.next()) {
    if (reader.text("gpu") != gpu || reader.text("library") != library) continue;
    rows.push_back({.label = reader.label(),
                    .num_gpus = static_cast<int>(reader.integer("num_gpus")),
                    .message_bytes = reader.integer("message_bytes"),
                    .latency_us = reader.latency_us()});
  }
  return rows;
}

ProbeFigures read_probe(const std::filesystem::path& text) {
  std::ifstream stream(text);
  if (!stream) throw InputError(text.string(), "", "", "a readable file");
  ProbeFigures probe;
  std::smatch m;
  const auto number = [&](std::size_t i) { return std::stod(m[i].str()); };
  const std::vector<std::pair<std::regex, std::function<void()>>> patterns{
      {std::regex(R"(copy ([\d.]+) GB/s.*)"), [&] { probe.copy_bytes_per_s = number(1) * 1e9; }},
      {std::regex(R"(read +([\d.]+) MB: ([\d.]+) us.*)"),
       [&] {
         probe.reads.push_back({m[0].str(), 0, number(1) * 1e6, number(2)});
       }},
      {std::regex(R"(gather page +(\d+) B total +([\d.]+) MB: ([\d.]+) us.*)"),
       [&] {
         probe.gathers.push_back({m[0].str(), number(1), number(2) * 1e6, number(3)});
       }},
      {std::regex(R"(launch back-to-back ([\d.]+) us)"), [&] { probe.launch_us = number(1); }},
      {std::regex(R"(graph kernel node ([\d.]+) us)"), [&] { probe.graph_node_us = number(1); }},
      {std::regex(R"(H2D ([\d.]+) D2H ([\d.]+) GB/s)"),
       [&] {
         probe.h2d_bytes_per_s = number(1) * 1e9;
         probe.d2h_bytes_per_s = number(2) * 1e9;
       }},
      {std::regex(R"(H2D 64KB ([\d.]+) us)"), [&] { probe.h2d_64kib_us = number(1); }},
  };
  for (std::string line; std::getline(stream, line);) {
    for (const auto& [pattern, store] : patterns) {
      if (std::regex_match(line, m, pattern)) store();
    }
  }
  const auto require = [&](double value, const char* what) {
    if (!(value > 0)) throw InputError(text.string(), what, "nothing", "a line with this figure");
  };
  require(probe.copy_bytes_per_s, "copy");
  require(probe.launch_us, "launch back-to-back");
  require(probe.graph_node_us, "graph kernel node");
  require(probe.h2d_bytes_per_s, "H2D");
  require(probe.d2h_bytes_per_s, "D2H");
  require(probe.h2d_64kib_us, "H2D 64KB");
  require(static_cast<double>(probe.gathers.size()), "gather");
  return probe;
}

}  // namespace retrosim
