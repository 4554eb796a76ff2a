#include "model/json_reader.h"

#include <cmath>
#include <fstream>
#include <sstream>
#include <utility>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 64U << 20U;
constexpr int kMaxDepth = 64;

std::string shorten(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

nlohmann::json parse_json(std::string_view text, std::string_view origin) {
  bool too_deep = false;
  auto limit_depth = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxDepth) too_deep = true;
    return !too_deep;
  };
  try {
    nlohmann::json document = nlohmann::json::parse(text.begin(), text.end(), limit_depth);
    if (too_deep) throw InputError(origin, "", "", "JSON of at most 64 levels");
    return document;
  } catch (const nlohmann::json::exception& error) {
    throw InputError(std::string(origin) + ": not valid JSON: " + error.what());
  }
}

nlohmann::json read_json_file(const std::filesystem::path& file) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(file, code)) {
    throw InputError(file.string(), "", "", "a readable file (there is none at this path)");
  }
  if (std::filesystem::file_size(file, code) > kMaxFileBytes || code) {
    throw InputError(file.string(), "", "", "a JSON file of at most 64 MiB");
  }
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream) throw InputError(file.string(), "", "", "a readable file");
  return parse_json(text.str(), file.string());
}

JsonReader::JsonReader(const nlohmann::json& object, std::string origin, std::string path)
    : object_(&object), origin_(std::move(origin)), path_(std::move(path)) {
  if (!object.is_object()) throw InputError(origin_, path_, shorten(object), "an object");
}

std::string JsonReader::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const nlohmann::json* JsonReader::find(std::string_view key) const {
  known_.emplace(key);
  const auto found = object_->find(std::string(key));
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

void JsonReader::fail(std::string_view key, std::string_view expectation) const {
  const nlohmann::json* value = find(key);
  throw InputError(origin_, path_of(key), value != nullptr ? shorten(*value) : "nothing", expectation);
}

bool JsonReader::has(std::string_view key) const { return find(key) != nullptr; }

const nlohmann::json& JsonReader::raw(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) fail(key, "a value");
  return *value;
}

std::int64_t JsonReader::integer(std::string_view key, std::int64_t min, std::int64_t max) const {
  const std::string expectation = "an integer in [" + std::to_string(min) + ", " + std::to_string(max) + "]";
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_number_integer()) fail(key, expectation);
  if (value->is_number_unsigned() &&
      value->get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    fail(key, expectation);
  }
  const auto number = value->get<std::int64_t>();
  if (number < min || number > max) fail(key, expectation);
  return number;
}

std::int64_t JsonReader::integer_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                                    std::int64_t max) const {
  return has(key) ? integer(key, min, max) : fallback;
}

double JsonReader::number(std::string_view key, double min, double max) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_number()) fail(key, "a number");
  const double number = value->get<double>();
  if (!std::isfinite(number) || !(number >= min) || !(number <= max)) {
    std::ostringstream expectation;
    expectation << "a finite number in [" << min << ", " << max << "]";
    fail(key, expectation.str());
  }
  return number;
}

double JsonReader::number_or(std::string_view key, double fallback, double min, double max) const {
  return has(key) ? number(key, min, max) : fallback;
}

bool JsonReader::boolean(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_boolean()) fail(key, "true or false");
  return value->get<bool>();
}

bool JsonReader::boolean_or(std::string_view key, bool fallback) const { return has(key) ? boolean(key) : fallback; }

std::string JsonReader::string(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_string()) fail(key, "a string");
  return value->get<std::string>();
}

std::string JsonReader::string_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? string(key) : std::string(fallback);
}

std::vector<std::int64_t> JsonReader::integers(std::string_view key, std::int64_t min, std::int64_t max) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_array()) fail(key, "an array of integers");
  std::vector<std::int64_t> result;
  result.reserve(value->size());
  for (const nlohmann::json& element : *value) {
    if (!element.is_number_integer() || element.get<std::int64_t>() < min || element.get<std::int64_t>() > max) {
      fail(key, "integers in [" + std::to_string(min) + ", " + std::to_string(max) + "]");
    }
    result.push_back(element.get<std::int64_t>());
  }
  return result;
}

std::vector<double> JsonReader::numbers(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_array()) fail(key, "an array of numbers");
  std::vector<double> result;
  result.reserve(value->size());
  for (const nlohmann::json& element : *value) {
    if (!element.is_number() || !std::isfinite(element.get<double>())) fail(key, "finite numbers");
    result.push_back(element.get<double>());
  }
  return result;
}

JsonReader JsonReader::object(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) fail(key, "an object");
  return JsonReader(*value, origin_, path_of(key));
}

std::vector<JsonReader> JsonReader::objects(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr || !value->is_array()) fail(key, "an array of objects");
  std::vector<JsonReader> result;
  result.reserve(value->size());
  for (std::size_t i = 0; i < value->size(); ++i) {
    result.emplace_back((*value)[i], origin_, path_of(key) + "[" + std::to_string(i) + "]");
  }
  return result;
}

std::vector<std::string> JsonReader::keys() const {
  std::vector<std::string> result;
  for (const auto& item : object_->items()) result.push_back(item.key());
  return result;
}

void JsonReader::ignore(std::string_view key) const { known_.emplace(key); }

void JsonReader::finish() const {
  for (const auto& item : object_->items()) {
    if (known_.find(item.key()) == known_.end()) {
      throw InputError(origin_, path_of(item.key()), shorten(item.value()), "no such field in this document");
    }
  }
}

}  // namespace retrosim
