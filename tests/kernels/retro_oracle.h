// A naive RetroAttention decoder in double for one sequence: it keeps an explicit set of pages per query, layer and
// list, all keys and values by position, and unnormalised attention sums, and recomputes everything else from them.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "kernels/checkpoint/llm_weights.h"
#include "kernels/page_score/page_score.h"

namespace retrosim::kernels {

class RetroOracle {
 public:
  using Row = std::vector<double>;

  struct Rules {
    int page_size = 4;
    int dense_layers = 0;
    int window = 1;
    GroupReduction reduction = GroupReduction::max;
    std::function<std::int64_t(std::int64_t)> pages_selected;  // k of a number of pages
  };

  RetroOracle(const LlmWeights& weights, Rules rules) : weights_(weights), llm_(weights.llm), rules_(std::move(rules)) {
    layers_.resize(llm_.num_layers);
  }

  Row prefill(const std::vector<std::int32_t>& tokens) {
    Row logits;
    for (const std::int32_t token : tokens) {
      logits = run(token, llm_.num_layers, 1);
      first_decoded_ = next_;
    }
    return logits;
  }
  Row step(std::int32_t token) { return run(token, rules_.dense_layers, rules_.window); }

  /// Pages of list `list` that the query at `position` loaded in `layer`.
  const std::set<int>& pages(int layer, int list, int position) const {
    return layers_[layer].pages.at({list, position});
  }

 private:
  // Attention sums of one (query position, query head): sum of exp(logit) * value, and of exp(logit).
  struct Sums {
    Row values;
    double weight = 0;
  };
  struct Layer {
    std::map<std::pair<int, int>, Row> keys;  // (KV head, position)
    std::map<std::pair<int, int>, Row> values;
    std::map<std::pair<int, int>, std::set<int>> pages;  // (list, query position)
    std::map<std::pair<int, int>, Sums> sums;            // (query head, query position)
  };

  Row norm(const Row& x, const std::vector<float>& gain) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    Row out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      out[i] = x[i] * gain[i] / std::sqrt(squares / static_cast<double>(x.size()) + llm_.rms_norm_eps);
    }
    return out;
  }
  static Row multiply(const std::vector<float>& weight, const Row& x) {
    Row out(weight.size() / x.size());
    for (std::size_t i = 0; i < weight.size(); ++i) out[i / x.size()] += weight[i] * x[i % x.size()];
    return out;
  }
  // Each pair (i, i + d/2) is a complex number that turns by position * theta^(-2i/d).
  Row turn(const Row& head, const std::vector<float>& gain, int position) const {
    Row out = gain.empty() ? head : norm(head, gain);
    const std::size_t half = head.size() / 2;
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = position * std::pow(llm_.rope_theta, -static_cast<double>(i) / static_cast<double>(half));
      const std::complex<double> turned = std::complex(out[i], out[i + half]) * std::polar(1.0, angle);
      out[i] = turned.real();
      out[i + half] = turned.imag();
    }
    return out;
  }
  static double dot(const Row& a, const Row& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }

  Row run(std::int32_t token, int dense_layers, int window) {
    const int t = next_++;
    std::map<int, Row> block;  // by position
    block[t] = Row(&weights_.embedding[token * llm_.hidden_size],
                   &weights_.embedding[token * llm_.hidden_size] + llm_.hidden_size);
    for (int layer = 0; layer < llm_.num_layers; ++layer) {
      if (layer == dense_layers && window > 1) {
        for (int position = std::max(first_decoded_, t - window + 1); position < t; ++position)
          block[position] = entering_.at(position);
      }
      if (layer == dense_layers) entering_[t] = block.at(t);
      attend(layer, t, dense_layers, block);
      const LayerWeights& w = weights_.layers[layer];
      for (auto& [position, x] : block) {
        const Row gate_up = multiply(w.gate_up, norm(x, w.post_attention_norm));
        Row activated(gate_up.size() / 2);
        for (std::size_t i = 0; i < activated.size(); ++i) {
          activated[i] = gate_up[i] / (1 + std::exp(-gate_up[i])) * gate_up[i + activated.size()];
        }
        const Row down = multiply(w.down, activated);
        for (std::size_t i = 0; i < x.size(); ++i) x[i] += down[i];
      }
    }
    return multiply(weights_.embedding, norm(block.at(t), weights_.final_norm));
  }

  void attend(int layer, int t, int dense_layers, std::map<int, Row>& block) {
    const LayerWeights& w = weights_.layers[layer];
    Layer& state = layers_[layer];
    const int d = llm_.head_dim;
    std::map<std::pair<int, int>, Row> queries;  // (query head, position)
    for (const auto& [position, x] : block) {
      Row qkv = multiply(w.qkv, norm(x, w.input_norm));
      for (std::size_t i = 0; i < w.qkv_bias.size(); ++i) qkv[i] += w.qkv_bias[i];
      const auto head = [&](int index) { return Row(qkv.begin() + index * d, qkv.begin() + (index + 1) * d); };
      for (int h = 0; h < llm_.num_q_heads; ++h) queries[{h, position}] = turn(head(h), w.q_norm, position);
      if (position != t && layer <= dense_layers) continue;
      for (int h = 0; h < llm_.num_kv_heads; ++h) {
        state.keys[{h, position}] = turn(head(llm_.num_q_heads + h), w.k_norm, position);
        state.values[{h, position}] = head(llm_.num_q_heads + llm_.num_kv_heads + h);
      }
    }
    const bool sparse = layer >= dense_layers;
    const auto lists = static_cast<int>(selection_heads(rules_.reduction, llm_.num_q_heads, llm_.num_kv_heads));
    for (int list = 0; sparse && list < lists; ++list) state.pages[{list, t}] = select(layer, list, t, queries);
    for (auto& [position, x] : block) {
      Row concatenated;
      for (int h = 0; h < llm_.num_q_heads; ++h) {
        Sums& sums = state.sums[{h, position}];
        sums.values.resize(d);
        std::set<int> pages;
        for (int page = 0; page <= t / rules_.page_size; ++page) pages.insert(page);
        if (sparse) {
          const int list = h * lists / llm_.num_q_heads;
          pages = state.pages.at({list, t});
          for (int other = position; other < t; ++other) {
            for (const int page : state.pages.at({list, other})) pages.erase(page);
          }
        }
        const int kv_head = h / llm_.query_group();
        for (const int page : pages) {
          for (int p = page * rules_.page_size; p < (page + 1) * rules_.page_size && p <= position; ++p) {
            const double weight = std::exp(dot(queries.at({h, position}), state.keys.at({kv_head, p})) / std::sqrt(d));
            sums.weight += weight;
            for (int i = 0; i < d; ++i) sums.values[i] += weight * state.values.at({kv_head, p})[i];
          }
        }
        for (int i = 0; i < d; ++i) concatenated.push_back(sums.values[i] / sums.weight);
      }
      const Row projected = multiply(w.o, concatenated);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += projected[i];
    }
  }

  std::set<int> select(int layer, int list, int t, const std::map<std::pair<int, int>, Row>& queries) const {
    const Layer& state = layers_[layer];
    const int d = llm_.head_dim;
    const int pages = t / rules_.page_size + 1;
    const auto lists = static_cast<int>(selection_heads(rules_.reduction, llm_.num_q_heads, llm_.num_kv_heads));
    const int heads = llm_.num_q_heads / lists;
    std::vector<std::pair<double, int>> ranked;  // (-score, page)
    for (int page = 0; page < pages - 1; ++page) {
      double best = -INFINITY, sum = 0;
      for (int h = list * heads; h < (list + 1) * heads; ++h) {
        const int kv_head = h / llm_.query_group();
        double bound = 0;
        for (int i = 0; i < d; ++i) {
          double highest = -INFINITY;
          for (int p = page * rules_.page_size; p < (page + 1) * rules_.page_size; ++p) {
            highest = std::max(highest, queries.at({h, t})[i] * state.keys.at({kv_head, p})[i]);
          }
          bound += highest;
        }
        best = std::max(best, bound);
        sum += bound;
      }
      ranked.emplace_back(rules_.reduction == GroupReduction::mean ? -sum : -best, page);
    }
    std::sort(ranked.begin(), ranked.end());
    std::set<int> chosen{pages - 1};
    for (const auto& [score, page] : ranked) {
      if (static_cast<std::int64_t>(chosen.size()) == rules_.pages_selected(pages)) break;
      chosen.insert(page);
    }
    return chosen;
  }

  const LlmWeights& weights_;
  const LlmSpec& llm_;
  Rules rules_;
  std::vector<Layer> layers_;
  std::map<int, Row> entering_;  // hidden rows at the first sparse layer, by position
  int next_ = 0;
  int first_decoded_ = 0;
};

}  // namespace retrosim::kernels
