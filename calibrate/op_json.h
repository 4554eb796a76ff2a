// Operations to and from JSON, for files of measurements.
#pragma once

#include <nlohmann/json.hpp>

#include "model/json_reader.h"
#include "model/op.h"

namespace retrosim {

/// {"kind": "attention", <the shape's members by name>}; members of value 0 or false are left out. Throws
/// std::logic_error for a kind that is not measured.
nlohmann::ordered_json to_json(const OpShape& shape);

/// The inverse. Throws InputError for an unknown kind or member.
OpShape read_op_shape(const JsonReader& reader);

}  // namespace retrosim
