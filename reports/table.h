// A small table and its three texts: terminal, Markdown, CSV.
#pragma once

#include <string>
#include <vector>

namespace retrosim {

class Table {
 public:
  /// The first `text_columns` columns are left-aligned, the others right-aligned.
  explicit Table(std::vector<std::string> header, std::size_t text_columns = 1);

  /// Throws std::logic_error unless `row` has as many cells as the header.
  void add(std::vector<std::string> row);

  /// Columns padded with spaces, a line of dashes under the header; every line indented by `indent` spaces.
  std::string to_text(std::size_t indent = 0) const;
  std::string to_markdown() const;
  /// RFC 4180: cells with a comma, quote or line break are quoted.
  std::string to_csv() const;

 private:
  std::vector<std::size_t> widths() const;

  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
  std::size_t text_columns_;
};

}  // namespace retrosim
