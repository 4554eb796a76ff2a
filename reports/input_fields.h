// The inputs of `simulate` and `serve` by name, as files give them: the flags' names with underscores.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "reports/serving_request.h"

namespace retrosim {

enum class InputType : std::uint8_t { text, flag, whole_number, number, object };
/// Whose input a field is.
enum class InputScope : std::uint8_t { both, simulate, serve };

struct InputField {
  std::string_view name;
  InputScope scope;
  InputType type;
  /// Throws InputError, without naming a place, for a value of another type or out of range; null unsets a field that
  /// has no default of its own.
  std::function<void(ServingRequest&, const nlohmann::json&)> set;
  /// Looks a name up: a model, a GPU, a policy. Throws InputError when there is none. Empty: nothing to look up.
  std::function<void(const std::string&)> look_up;
};

/// Null when there is no field of this name, or when `serve` (else `simulate`) has no such input.
const InputField* find_input_field(std::string_view name, bool serve);

/// Sets `request`'s field after looking the value up. Throws InputError naming `file` and the dotted `path`.
void set_input(const InputField& field, const nlohmann::json& value, std::string_view file, std::string_view path,
               ServingRequest& request);

/// The names, separated by commas, for errors.
std::string input_field_names(bool serve);

}  // namespace retrosim
