// The systems, models and GPUs that published tables name, as configurations of this program.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/decode_config.h"

namespace retrosim {

/// Why a row is not compared; ends its mapping.
struct Refusal {
  std::string reason;
};

struct PublishedSystem {
  std::string_view published;  // as tables name the policy
  std::string_view policy;
  std::string_view implementation;  // empty: depends on who measured
  int dense_layers = 0;
  int page_size = 16;
  std::optional<PolicyVariant> variant = {};
  DType weights = DType::f16;
  DType kv = DType::f16;
};

/// All of these throw Refusal for a name that is not known.
const PublishedSystem& find_published_system(const std::string& name);
/// Bundled model; `four_bit_weights` where the name says so.
struct PublishedModel {
  LlmSpec llm;
  bool four_bit_weights = false;
};
PublishedModel find_published_model(const std::string& name);
/// Bundled GPU; adds to `assumptions` what the text leaves open.
std::string find_published_gpu(const std::string& text, std::vector<std::string>& assumptions);

/// MagicPIG's hash settings and the share of the keys that each samples, as its evaluation states them.
struct LshSetting {
  std::string_view published;
  double bits;
  double tables;
  double share;
};
const LshSetting& find_lsh_setting(const std::string& text);

/// Which implementation ran a system without one of its own ("Full"), by the source of the figure.
std::string_view implementation_of_source(std::string_view source);

}  // namespace retrosim
