// `retrosim trace info`: what a trace says about itself and what its file holds.
#pragma once

#include <filesystem>
#include <string>

#include "reports/json_text.h"
#include "traces/trace_reader.h"

namespace retrosim {

/// Schema retrosim.trace_info/1: the file, the header's fields, then steps, chunks, entries, bytes and `truncated`.
/// Throws InputError for a chunk whose bytes are not those that were written.
Json trace_info_document(const TraceReader& trace);
/// The same for people. Throws likewise.
std::string trace_info_text(const TraceReader& trace);

/// Warning line for a trace that was cut off; empty for a whole one.
std::string truncation_warning(const TraceReader& trace);

}  // namespace retrosim
