// The files that `retrosim simulate` can leave beside its answer.
#pragma once

#include <string>

#include "reports/simulation_run.h"

namespace retrosim {

struct SimulationFiles {
  std::string timeline;  // Perfetto JSON; empty: none
  std::string graph;     // Graphviz; empty: none
  bool graph_all_layers = false;

  /// Throws InputError naming the flag of a file that could not be written; to be asked before simulating.
  void require_writable() const;
  /// Throws InputError when a file cannot be written.
  void write(const SimulationRun& run) const;
};

}  // namespace retrosim
