#include "reports/sweep_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <system_error>

#include "model/error.h"
#include "model/json_reader.h"
#include "reports/output_file.h"

namespace retrosim {
namespace {

constexpr const char* kSchema = "retrosim.sweep/1";

std::string hex(std::uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::filesystem::path description_of(std::filesystem::path file) { return file += ".spec.json"; }

Json describe(const SweepSpec& spec) {
  return {{"schema", kSchema},
          {"retrosim_version", RETROSIM_VERSION},
          {"spec_xxh3_64", hex(spec.fingerprint)},
          {"command", spec.serving ? "serve" : "simulate"},
          {"points", spec.design.size()},
          {"columns", sweep_columns(spec)}};
}

void check_description(const std::filesystem::path& file, const SweepSpec& spec) {
  const std::filesystem::path description = description_of(file);
  const nlohmann::json there = read_json_file(description);
  const JsonReader reader(there, description.string());
  const std::string hash = reader.string("spec_xxh3_64");
  if (hash != hex(spec.fingerprint)) {
    throw InputError(file.string(), "spec_xxh3_64", hash,
                     hex(spec.fingerprint) + ": --resume goes on with the sweep that the file was begun with");
  }
}

/// Whole lines, and the bytes that they take.
struct Lines {
  std::uint64_t count = 0;
  std::uintmax_t bytes = 0;
};

Lines whole_lines(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  Lines lines;
  std::uintmax_t at = 0;
  std::array<char, 1 << 16> block{};
  while (stream.read(block.data(), block.size()), stream.gcount() > 0) {
    for (std::streamsize i = 0; i < stream.gcount(); ++i) {
      ++at;
      if (block[static_cast<std::size_t>(i)] != '\n') continue;
      ++lines.count;
      lines.bytes = at;
    }
  }
  return lines;
}

}  // namespace

SweepFormat sweep_format_of(const std::filesystem::path& file) {
  if (file.extension() == ".csv") return SweepFormat::csv;
  if (file.extension() == ".jsonl") return SweepFormat::json_lines;
  throw InputError("", "--out", file.string(), "a path that ends with .csv or .jsonl");
}

SweepFile::SweepFile(const std::filesystem::path& file, const SweepSpec& spec, bool resume) : file_(file) {
  const SweepFormat format = sweep_format_of(file);
  require_writable(file, "--out");
  const bool there = std::filesystem::exists(file);
  if (there && !resume) {
    throw InputError("", "--out", file.string(), "no file there yet, or --resume to go on with it");
  }
  bool header = format == SweepFormat::csv;
  if (there) {
    check_description(file, spec);
    const Lines lines = whole_lines(file);
    std::filesystem::resize_file(file, lines.bytes);
    rows_ = lines.count - (header && lines.count > 0 ? 1 : 0);
    header = header && lines.count == 0;
    if (rows_ > spec.design.size()) {
      throw InputError(file.string(), "rows", std::to_string(rows_),
                       "at most the sweep's " + std::to_string(spec.design.size()));
    }
  } else {
    write_output_file(description_of(file), json_text(describe(spec)));
  }
  stream_.reset(std::fopen(file.c_str(), "ab"));
  if (!stream_) throw InputError(file.string(), "", "", "a file that can be written");
  if (header) append(sweep_csv_header(spec));
}

void SweepFile::append(std::string_view rows) {
  const bool written = std::fwrite(rows.data(), 1, rows.size(), stream_.get()) == rows.size();
  if (!written || std::fflush(stream_.get()) != 0) {
    throw InputError(file_.string(), "", "", "a file that can be written (is the disk full?)");
  }
}

}  // namespace retrosim
