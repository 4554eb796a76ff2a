// GpuSpec to and from a JSON object; inside model/ only (profiles embed their GPU's spec).
#pragma once

#include <nlohmann/json.hpp>

#include "model/gpu_spec.h"
#include "model/json_reader.h"

namespace retrosim {

/// Reads and finishes the object. Throws InputError for missing or unknown keys and figures out of range.
GpuSpec read_gpu_spec(const JsonReader& reader);
nlohmann::ordered_json to_json(const GpuSpec& spec);

}  // namespace retrosim
