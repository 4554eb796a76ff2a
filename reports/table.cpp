#include "reports/table.h"

#include <algorithm>
#include <stdexcept>

namespace retrosim {
namespace {

/// Characters on a terminal: UTF-8 continuation bytes take no room.
std::size_t display_width(const std::string& cell) {
  return static_cast<std::size_t>(
      std::count_if(cell.begin(), cell.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string csv_cell(const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string markdown_cell(const std::string& cell) {
  std::string escaped;
  for (const char c : cell) {
    if (c == '|') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

}  // namespace

Table::Table(std::vector<std::string> header, std::size_t text_columns)
    : header_(std::move(header)), text_columns_(text_columns) {}

void Table::add(std::vector<std::string> row) {
  if (row.size() != header_.size()) throw std::logic_error("table row has another width than its header");
  rows_.push_back(std::move(row));
}

std::vector<std::size_t> Table::widths() const {
  std::vector<std::size_t> widths;
  for (const std::string& cell : header_) widths.push_back(display_width(cell));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  }
  return widths;
}

std::string Table::to_text(std::size_t indent) const {
  const std::vector<std::size_t> width = widths();
  const auto line = [&](const std::vector<std::string>& row) {
    std::string text(indent, ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(width[i] - display_width(row[i]), ' ');
      if (i > 0) text += "  ";
      text += i < text_columns_ ? row[i] + padding : padding + row[i];
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text + "\n";
  };
  std::vector<std::string> dashes;
  for (const std::size_t w : width) dashes.emplace_back(w, '-');
  std::string text = line(header_) + line(dashes);
  for (const auto& row : rows_) text += line(row);
  return text;
}

std::string Table::to_markdown() const {
  const auto line = [](const std::vector<std::string>& row) {
    std::string text = "|";
    for (const std::string& cell : row) text += " " + markdown_cell(cell) + " |";
    return text + "\n";
  };
  std::string text = line(header_) + "|";
  for (std::size_t i = 0; i < header_.size(); ++i) text += i < text_columns_ ? " --- |" : " ---: |";
  text += "\n";
  for (const auto& row : rows_) text += line(row);
  return text;
}

std::string Table::to_csv() const {
  const auto line = [](const std::vector<std::string>& row) {
    std::string text;
    for (std::size_t i = 0; i < row.size(); ++i) text += (i > 0 ? "," : "") + csv_cell(row[i]);
    return text + "\r\n";
  };
  std::string text = line(header_);
  for (const auto& row : rows_) text += line(row);
  return text;
}

}  // namespace retrosim
