// Request traces that others recorded: arrival, prompt tokens and output tokens of every request.
#pragma once

#include <filesystem>
#include <string_view>

#include "sim/workload/request.h"

namespace retrosim {

/// Told apart by the header line or the keys of the first line:
///   three columns  arrived_at (s), num_prefill_tokens, num_decode_tokens        (Vidur's Splitwise files)
///   Azure          TIMESTAMP, ContextTokens, GeneratedTokens                    (AzurePublicDataset 2023 and 2024)
///   BurstGPT       Timestamp (s), ..., Request tokens, Response tokens, ...     (HPMLL/BurstGPT, both column sets)
///   Mooncake       JSON lines {"timestamp": ms, "input_length", "output_length", "hash_ids": [of 512-token blocks]};
///                  without hash_ids nothing is known of what prompts share
///   ShareGPT-like  JSON lines {"input_tokens", "output_tokens", "arrival_s"} (arrival_s in all lines or in none: then
///   all
///                  arrive at 0), also spelled input_toks, output_toks, arrival_time_ns
/// Arrivals count from the first request; requests are put in the order of their arrivals, those of one instant in the
/// order of the file. BurstGPT's rows without a response are skipped and counted. Throws InputError naming file and
/// line for anything else that is malformed, and for a file without requests.
Workload load_workload(const std::filesystem::path& file);
Workload parse_workload(std::string_view text, std::string_view origin);

}  // namespace retrosim
