// Price: seconds that one operation takes alone on a GPU, with what bounds it and how well that is known.
#pragma once

#include <cstdint>
#include <string_view>

#include "model/gpu_profile.h"
#include "model/op.h"

namespace retrosim {

enum class Bound : std::uint8_t { latency, hbm, tensor_core, cuda_core, pcie, interconnect, host };

/// How well a number is known, best first.
enum class Provenance : std::uint8_t { measured, interpolated, extrapolated, transferred };

struct Price {
  double fixed_s = 0;  // holds no shared resource: launch, ramp-up, dependent latency
  double body_s = 0;   // streams bytes and FLOPs, alone on the GPU
  // Shares of each resource's capacity that the body uses while it runs alone, in [0, 1].
  double hbm_share = 0;
  double tensor_share = 0;
  double cuda_share = 0;
  double pcie_h2d_share = 0;
  double pcie_d2h_share = 0;
  double interconnect_share = 0;
  double host_share = 0;
  Bound bound = Bound::latency;
  Provenance provenance = Provenance::interpolated;

  double latency_s() const { return fixed_s + body_s; }
};

std::string_view name_of(Bound bound);
std::string_view name_of(Provenance provenance);

class Pricer {
 public:
  /// Looks up every kind's parameters once; throws InputError when the profile lacks one that has no fallback kind.
  explicit Pricer(const GpuProfile& profile);

  Price price(const Op& op) const;
  const GpuProfile& profile() const { return profile_; }

 private:
  struct KindEntry {
    KindProfile profile;
    bool present = false;
  };
  GpuProfile profile_;
  // [kind][DType]
  std::array<std::array<KindEntry, 6>, kNumOpKinds> entries_;
};

}  // namespace retrosim
