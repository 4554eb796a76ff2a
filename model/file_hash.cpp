#include "model/file_hash.h"

#include <xxhash.h>

#include <fstream>
#include <iterator>

#include "model/error.h"

namespace retrosim {

std::string xxh3_of_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw InputError(file.string(), "", "", "a readable file");
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  const XXH64_hash_t hash = XXH3_64bits(bytes.data(), bytes.size());
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(hash >> static_cast<unsigned>(shift)) & 15U];
  return text;
}

}  // namespace retrosim
