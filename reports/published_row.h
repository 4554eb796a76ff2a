// One figure that somebody published about decoding under a KV policy.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace retrosim {

/// As the table has it; text throughout.
struct PublishedRow {
  std::string row;  // number
  std::string policy;
  std::string model;
  std::string gpu;
  std::string context;
  std::string batch;
  std::string budget;
  std::string metric;
  std::string value;
  std::string unit;
  std::string evidence;
  std::string source;
};

/// Reads a comma-separated table with quoted cells whose header names the members of PublishedRow. Throws InputError
/// naming file, line and what was expected.
std::vector<PublishedRow> read_published_rows(const std::filesystem::path& file);

}  // namespace retrosim
