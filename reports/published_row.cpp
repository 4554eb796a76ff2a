#include "reports/published_row.h"

#include <array>
#include <boost/tokenizer.hpp>
#include <fstream>
#include <string_view>

#include "model/error.h"

namespace retrosim {

std::vector<PublishedRow> read_published_rows(const std::filesystem::path& file) {
  static constexpr std::array<std::string PublishedRow::*, 12> kMembers{
      &PublishedRow::row,     &PublishedRow::policy, &PublishedRow::model,    &PublishedRow::gpu,
      &PublishedRow::context, &PublishedRow::batch,  &PublishedRow::budget,   &PublishedRow::metric,
      &PublishedRow::value,   &PublishedRow::unit,   &PublishedRow::evidence, &PublishedRow::source};
  constexpr std::string_view kHeader = "row,policy,model,gpu,context,batch,budget,metric,value,unit,evidence,source";
  std::ifstream stream(file);
  std::string line;
  if (!stream || !std::getline(stream, line)) throw InputError(file.string(), "", "nothing to read", "a table");
  if (line.ends_with('\r')) line.pop_back();
  if (line != kHeader) throw InputError(file.string(), "header", line, std::string(kHeader));
  std::vector<PublishedRow> rows;
  for (std::int64_t number = 2; std::getline(stream, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    const boost::tokenizer cells(line, boost::escaped_list_separator<char>("", ",", "\""));
    PublishedRow row;
    std::size_t column = 0;
    for (const std::string& cell : cells) {
      if (column < kMembers.size()) row.*kMembers[column] = cell;
      ++column;
    }
    if (column != kMembers.size()) {
      throw InputError(file.string(), "line " + std::to_string(number), std::to_string(column) + " cells",
                       std::to_string(kMembers.size()));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace retrosim
