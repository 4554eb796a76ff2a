// The two error channels: what a user did wrong, and what a question cannot have as an answer.
// Bugs of our own are assertions or std::logic_error and reach neither.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace retrosim {

/// Bad usage or bad input: wrong flag, missing file, damaged trace, malformed JSON. `main` maps it to exit code 2.
class InputError : public std::runtime_error {
 public:
  explicit InputError(const std::string& message) : std::runtime_error(message) {}

  /// Message "<file>: <field>: got <value>, expected <expectation>"; empty parts are left out.
  InputError(std::string_view file, std::string_view field, std::string_view value, std::string_view expectation);
};

/// A well-formed question without a feasible answer (does not fit in memory, validation failed). Exit code 1.
class InfeasibleError : public std::runtime_error {
 public:
  explicit InfeasibleError(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace retrosim
