// What the program knows without any file: its bundled GPUs and models.
#pragma once

#include "reports/json_text.h"
#include "reports/table.h"

namespace retrosim {

/// Schema retrosim.gpus/1: {"gpus": [...]}, datasheet figures with their units in the key names.
Json gpus_json();
Table gpus_table();

/// Schema retrosim.llms/1: {"llms": [...]}.
Json llms_json();
Table llms_table();

}  // namespace retrosim
