// Tables of measurements: comma-separated, one header line, no quoting.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace retrosim {

/// One row at a time. Every refusal is an InputError that names file, line, column and value.
class CsvRows {
 public:
  explicit CsvRows(const std::filesystem::path& file);

  /// False at the end of the file. Throws when a line has not as many cells as the header.
  bool next();

  bool has(const std::string& column) const;
  const std::string& text(const std::string& column) const;
  /// A finite number from 0 to 1e12.
  double number(const std::string& column) const;
  /// The same, above 0.
  double positive(const std::string& column) const;
  /// A whole number from 1 to 1e12.
  std::int64_t integer(const std::string& column) const;

  const std::vector<std::string>& header() const { return header_; }
  const std::vector<std::string>& cells() const { return cells_; }
  /// "file:line" of the current row.
  std::string where() const;

 private:
  bool next_cells(std::vector<std::string>& cells);

  std::string file_;
  std::ifstream stream_;
  std::size_t line_ = 0;
  std::vector<std::string> header_;
  std::vector<std::string> cells_;
};

}  // namespace retrosim
