// Fingerprint of a file, as profiles state it for their raw samples.
#pragma once

#include <filesystem>
#include <string>

namespace retrosim {

/// XXH3 (64 bits) of the file's bytes, 16 lower-case hex digits. Throws InputError when it cannot be read.
std::string xxh3_of_file(const std::filesystem::path& file);

}  // namespace retrosim
