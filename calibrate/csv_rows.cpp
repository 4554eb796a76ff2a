#include "calibrate/csv_rows.h"

#include <algorithm>
#include <boost/tokenizer.hpp>
#include <charconv>
#include <cmath>

#include "model/error.h"

namespace retrosim {

CsvRows::CsvRows(const std::filesystem::path& file) : file_(file.string()), stream_(file) {
  if (!std::filesystem::is_regular_file(file) || !stream_ || !next_cells(header_)) {
    throw InputError(file_, "", "", "a readable CSV file with a header line");
  }
}

bool CsvRows::next() {
  if (!next_cells(cells_)) return false;
  if (cells_.size() != header_.size()) {
    throw InputError(where(), "columns", std::to_string(cells_.size()), std::to_string(header_.size()));
  }
  return true;
}

bool CsvRows::has(const std::string& column) const {
  return std::find(header_.begin(), header_.end(), column) != header_.end();
}

const std::string& CsvRows::text(const std::string& column) const {
  const auto found = std::find(header_.begin(), header_.end(), column);
  if (found == header_.end()) throw InputError(file_, column, "nothing", "a column of this name");
  return cells_[static_cast<std::size_t>(found - header_.begin())];
}

double CsvRows::number(const std::string& column) const {
  const std::string& cell = text(column);
  double value = 0;
  const auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (code != std::errc{} || end != cell.data() + cell.size() || !(value >= 0 && value < 1e12)) {
    throw InputError(where(), column, cell, "a number that is not negative");
  }
  return value;
}

double CsvRows::positive(const std::string& column) const {
  const double value = number(column);
  if (value <= 0) throw InputError(where(), column, text(column), "a number above 0");
  return value;
}

std::int64_t CsvRows::integer(const std::string& column) const {
  const double value = number(column);
  if (value < 1 || value != std::floor(value))
    throw InputError(where(), column, text(column), "a whole number above 0");
  return static_cast<std::int64_t>(value);
}

std::string CsvRows::where() const { return file_ + ":" + std::to_string(line_); }

bool CsvRows::next_cells(std::vector<std::string>& cells) {
  std::string line;
  while (std::getline(stream_, line)) {
    ++line_;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    const boost::char_separator<char> comma(",", "", boost::keep_empty_tokens);
    const boost::tokenizer<boost::char_separator<char>> tokens(line, comma);
    cells.assign(tokens.begin(), tokens.end());
    return true;
  }
  return false;
}

}  // namespace retrosim
