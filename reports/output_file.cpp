#include "reports/output_file.h"

#include <unistd.h>

#include <fstream>
#include <string>
#include <system_error>

#include "model/error.h"

namespace retrosim {

void require_writable(const std::filesystem::path& file, std::string_view flag) {
  std::error_code ignored;
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (file.empty() || std::filesystem::is_directory(file, ignored)) {
    throw InputError("", flag, file.string(), "the path of a file to write");
  }
  if (!std::filesystem::is_directory(folder, ignored)) {
    throw InputError("", flag, file.string(), "a path in a folder that exists");
  }
  if (access(folder.c_str(), W_OK) != 0)
    throw InputError("", flag, file.string(), "a path in a folder open to writing");
}

void write_output_file(const std::filesystem::path& file, std::string_view text) {
  // Devices (/dev/null, /dev/stdout, pipes) are written in place: a rename would replace them.
  std::error_code error;
  const bool special = std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error);
  std::filesystem::path target = file;
  if (!special) target += ".partial-" + std::to_string(getpid());

  std::ofstream stream(target, std::ios::binary | std::ios::trunc);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  stream.close();
  if (!stream) {
    if (!special) std::filesystem::remove(target, error);
    throw InputError(file.string(), "", "", "a file that can be written");
  }
  if (special) return;
  std::filesystem::rename(target, file, error);
  if (error) {
    std::error_code ignored;
    std::filesystem::remove(target, ignored);
    throw InputError(file.string(), "", "", "a file that can be written (" + error.message() + ")");
  }
}

}  // namespace retrosim
