// `retrosim trace record` beside the recorder itself: its progress line and its result as a document.
#pragma once

#include <string>

#include "reports/json_text.h"
#include "traces/record.h"

namespace retrosim {

/// "recorded 512 of 1024 steps (4096 of 5120 tokens), 31.2 s, 28 s to go"
std::string progress_text(const RecordProgress& progress, const RecordOptions& options);

/// Schema retrosim.trace_record/1.
Json recording_document(const RecordResult& result, const std::string& out);
std::string recording_text(const RecordResult& result, const std::string& out);

}  // namespace retrosim
