#include "model/error.h"

namespace retrosim {
namespace {

std::string compose(std::string_view file, std::string_view field, std::string_view value,
                    std::string_view expectation) {
  std::string text;
  if (!file.empty()) text.append(file).append(": ");
  if (!field.empty()) text.append(field).append(": ");
  if (!value.empty()) text.append("got ").append(value);
  if (!value.empty() && !expectation.empty()) text.append(", ");
  if (!expectation.empty()) text.append("expected ").append(expectation);
  return text;
}

}  // namespace

InputError::InputError(std::string_view file, std::string_view field, std::string_view value,
                       std::string_view expectation)
    : std::runtime_error(compose(file, field, value, expectation)) {}

}  // namespace retrosim
