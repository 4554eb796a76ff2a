// Files that a command leaves behind: whole or not at all.
#pragma once

#include <filesystem>
#include <string_view>

namespace retrosim {

/// Writes `text` beside `file` and renames it into place, so that `file` is never partial.
/// Throws InputError naming the file when its folder is missing or cannot be written.
void write_output_file(const std::filesystem::path& file, std::string_view text);

/// Throws InputError naming `flag` unless a file could be written at `file`: to be asked before long work.
void require_writable(const std::filesystem::path& file, std::string_view flag);

}  // namespace retrosim
