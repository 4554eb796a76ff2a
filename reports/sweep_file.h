// Where a sweep's rows go: a file that grows row by row in the order of the points, so that whatever a killed run left
// is the beginning of what an undisturbed one writes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "reports/sweep_point.h"

namespace retrosim {

/// ".csv" or ".jsonl". Throws InputError naming --out for anything else.
SweepFormat sweep_format_of(const std::filesystem::path& file);

/// Beside FILE lies FILE.spec.json: which sweep its rows are of.
class SweepFile {
 public:
  /// Creates the file with its header, or, with `resume`, goes on where it ends: a row cut off in the middle is
  /// dropped. Throws InputError when the file is there and `resume` is not asked for, when it holds rows of another
  /// sweep, or when it cannot be written.
  SweepFile(const std::filesystem::path& file, const SweepSpec& spec, bool resume);

  /// Rows that the file held when it was opened.
  std::uint64_t rows() const { return rows_; }
  /// Whole rows, at once visible to a reader of the file. Throws InputError when the disk is full.
  void append(std::string_view rows);

 private:
  struct Close {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
  };

  std::filesystem::path file_;
  std::uint64_t rows_ = 0;
  std::unique_ptr<std::FILE, Close> stream_;
};

}  // namespace retrosim
