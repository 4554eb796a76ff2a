// Recorded selections as a schedule for a decode of another model's shape and a longer context.
#pragma once

#include <span>

#include "kernels/top_k/selection_schedule.h"
#include "model/decode_config.h"
#include "traces/trace_reader.h"

namespace retrosim {

/// What `config`'s policy selects at the first `num_steps` recorded steps, in `config`'s shape:
///
/// Lists. The recorded lists are those of all traces' recorded layers that config leaves sparse, by trace, layer and KV
/// head. List ((sequence * sparse layers + sparse layer) * KV heads + KV head) of the decode follows the recorded list
/// of that number, modulo how many there are.
///
/// Pages. The pages that are full when the recording starts are laid end to end e times, e being how often the recorded
/// context goes into config.context; a page's copies rank one after the other where it ranks. The page being filled
/// then, and those that come after it, follow once. So pages age as the recorded ones do and have their neighbours, the
/// context grows by a token per step, and the budget is config's share of all pages, to the page. first_context is
/// config.context or less.
///
/// Throws InputError when the traces do not start at the same position, have another page size than config, fewer
/// steps, no layer that config leaves sparse, or a longer context than config.
SelectionSchedule recorded_selection(std::span<const TraceReader* const> traces, const DecodeConfig& config,
                                     std::int64_t num_steps);

}  // namespace retrosim
