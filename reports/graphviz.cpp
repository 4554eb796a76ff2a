#include "reports/graphviz.h"

#include <set>
#include <utility>
#include <vector>

#include "reports/format.h"

namespace retrosim {
namespace {

using Vertex = StepGraph::Vertex;

/// Operations of one layer, or of one stretch outside the layers, in launch order.
struct Block {
  int layer = -1;
  std::vector<Vertex> vertices;
};

/// Neighbouring blocks that are drawn once.
struct Cluster {
  std::vector<Block> blocks;

  const Block& front() const { return blocks.front(); }
};

std::vector<Block> blocks_of(const StepGraph& graph) {
  std::vector<Block> blocks;
  for (Vertex v = 0; v < graph.size(); ++v) {
    const int layer = graph.op(v).layer;
    if (blocks.empty() || blocks.back().layer != layer) blocks.push_back({.layer = layer, .vertices = {}});
    blocks.back().vertices.push_back(v);
  }
  return blocks;
}

bool same_operations(const StepGraph& graph, const Block& a, const Block& b) {
  if (a.layer < 0 || b.layer < 0 || a.vertices.size() != b.vertices.size()) return false;
  for (std::size_t i = 0; i < a.vertices.size(); ++i) {
    const Op& left = graph.op(a.vertices[i]);
    const Op& right = graph.op(b.vertices[i]);
    if (std::string_view(left.name) != right.name || left.kind() != right.kind() || left.stream != right.stream) {
      return false;
    }
  }
  return true;
}

std::vector<Cluster> clusters_of(const StepGraph& graph, GraphLayers layers) {
  std::vector<Cluster> clusters;
  for (Block& block : blocks_of(graph)) {
    const bool joins =
        layers == GraphLayers::collapsed && !clusters.empty() && same_operations(graph, clusters.back().front(), block);
    if (!joins) clusters.emplace_back();
    clusters.back().blocks.push_back(std::move(block));
  }
  return clusters;
}

const char* fill_of(Engine engine) {
  switch (engine) {
    case Engine::tensor_core: return "#dbe7f6";
    case Engine::cuda_core: return "#eef1f4";
    case Engine::host: return "#fbe8d3";
    case Engine::copy: return "#dff2e4";
  }
  return "#ffffff";
}

std::string node_id(Vertex vertex) { return "op" + std::to_string(vertex); }

std::string node_line(const StepGraph& graph, const Cluster& cluster, std::size_t index) {
  double bytes = 0;
  double flops = 0;
  for (const Block& block : cluster.blocks) {
    const Op& op = graph.op(block.vertices[index]);
    bytes += static_cast<double>(op.bytes_moved().hbm());
    flops += op.flops();
  }
  const auto count = static_cast<double>(cluster.blocks.size());
  const Vertex vertex = cluster.front().vertices[index];
  const Op& op = graph.op(vertex);
  return "    " + node_id(vertex) + " [label=\"" + op.name + "\\n" + format_bytes(bytes / count) + ", " +
         format_flops(flops / count) + "\", fillcolor=\"" + fill_of(op.engine()) + "\"];\n";
}

std::string cluster_label(const Cluster& cluster) {
  const int first = cluster.blocks.front().layer;
  const int last = cluster.blocks.back().layer;
  if (first < 0) return "";
  if (first == last) return "layer " + std::to_string(first);
  return "layers " + std::to_string(first) + "-" + std::to_string(last) + " (mean of " +
         std::to_string(cluster.blocks.size()) + ")";
}

}  // namespace

std::string graphviz_text(const StepGraph& graph, GraphLayers layers) {
  const std::vector<Cluster> clusters = clusters_of(graph, layers);
  // Each vertex is drawn as its counterpart in the first block of its cluster.
  std::vector<Vertex> drawn_as(graph.size());
  for (const Cluster& cluster : clusters) {
    for (const Block& block : cluster.blocks) {
      for (std::size_t i = 0; i < block.vertices.size(); ++i) {
        drawn_as[block.vertices[i]] = cluster.front().vertices[i];
      }
    }
  }

  std::string text =
      "digraph step {\n  rankdir=TB;\n  fontname=\"sans-serif\";\n"
      "  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\", fontsize=10];\n"
      "  edge [color=\"#5b6670\"];\n";
  for (std::size_t c = 0; c < clusters.size(); ++c) {
    const std::string label = cluster_label(clusters[c]);
    const bool boxed = !label.empty();
    text += boxed ? "  subgraph cluster_" + std::to_string(c) + " {\n    label=\"" + label +
                        "\"; fontsize=11; style=rounded; color=\"#9aa5b1\";\n"
                  : "  {\n";
    for (std::size_t i = 0; i < clusters[c].front().vertices.size(); ++i) text += node_line(graph, clusters[c], i);
    text += "  }\n";
  }

  std::set<std::pair<Vertex, Vertex>> edges;
  std::set<std::pair<Vertex, Vertex>> repeated;  // from a collapsed layer into the next one like it
  const auto& boost_graph = graph.boost();
  for (auto [edge, end] = boost::edges(boost_graph); edge != end; ++edge) {
    const Vertex from = boost::source(*edge, boost_graph);
    const Vertex to = boost::target(*edge, boost_graph);
    const std::pair drawn{drawn_as[from], drawn_as[to]};
    (drawn.first < drawn.second ? edges : repeated).insert(drawn);
  }
  for (const auto& [from, to] : edges) text += "  " + node_id(from) + " -> " + node_id(to) + ";\n";
  for (const auto& [from, to] : repeated) {
    text += "  " + node_id(from) + " -> " + node_id(to) +
            " [style=dashed, constraint=false, label=\"next layer\", fontsize=9];\n";
  }
  return text + "}\n";
}

}  // namespace retrosim
