// The step graph as a Graphviz document: a cluster per layer, a node per operation.
#pragma once

#include <string>

#include "model/step_graph.h"

namespace retrosim {

enum class GraphLayers {
  collapsed,  // neighbouring layers with the same operations are drawn once; bytes and FLOPs are their means
  all,
};

/// DOT text of a directed graph; every edge of the step graph is drawn, and edges from one collapsed layer to the next
/// become one dashed edge.
std::string graphviz_text(const StepGraph& graph, GraphLayers layers);

}  // namespace retrosim
