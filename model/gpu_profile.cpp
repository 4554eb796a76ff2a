#include "model/gpu_profile.h"

#include <algorithm>

#include "model/embedded.h"
#include "model/error.h"
#include "model/file_hash.h"
#include "model/gpu_spec_json.h"
#include "model/json_reader.h"

namespace retrosim {

GpuProfile read_gpu_profile(const JsonReader& reader);  // gpu_profile_json.cpp

namespace {

constexpr std::string_view kDonor = "h100-sxm";

/// The share of the datasheet's bandwidth that kernels sustain on a generation, beside Hopper's. Ampere: one factor
/// from the half of aiconfigurator's A100 products and decode attention (hash of the shape) that is not used to check
/// it, 1 / 1.22; Blackwell has informed nothing, and other generations are taken as Hopper.
double bandwidth_share(const GpuSpec& spec) {
  const bool ampere = spec.compute_capability_x10 >= 80 && spec.compute_capability_x10 < 89;
  return ampere ? 1 / 1.22 : 1;
}

/// Files that are not there cannot be checked: profiles travel without their raw samples.
void check_sample_files(const GpuProfile& profile, const std::filesystem::path& profile_file) {
  for (const SampleFile& sample : profile.sample_files) {
    const std::filesystem::path path = profile_file.parent_path() / sample.path;
    std::error_code code;
    if (sample.xxh3_64.empty() || !std::filesystem::is_regular_file(path, code)) continue;
    const std::string found = xxh3_of_file(path);
    if (found != sample.xxh3_64) {
      throw InputError(profile_file.string(), "sample_files." + sample.path, "a file with xxh3 " + found,
                       sample.xxh3_64);
    }
  }
}

const embedded::File* bundled_profile(std::string_view name) {
  const auto files = embedded::gpu_profiles();
  const auto found = std::ranges::find(files, name, &embedded::File::name);
  return found == files.end() ? nullptr : &*found;
}

/// The bundled profile named after a GPU of the same compute capability; kDonor where there is none, or has it itself.
GpuProfile donor_profile(const GpuSpec& spec) {
  const embedded::File* donor_file = bundled_profile(kDonor);
  if (donor_file == nullptr) throw std::logic_error("no bundled profile to transfer from");
  GpuProfile donor = parse_gpu_profile(donor_file->text, "bundled profile " + std::string(kDonor));
  if (donor.spec.compute_capability_x10 == spec.compute_capability_x10) return donor;
  for (const embedded::File& file : embedded::gpu_profiles()) {
    GpuProfile profile = parse_gpu_profile(file.text, "bundled profile " + std::string(file.name));
    if (profile.spec.compute_capability_x10 == spec.compute_capability_x10) return profile;
  }
  return donor;
}

}  // namespace

GpuProfile parse_gpu_profile(std::string_view json_text, std::string_view origin) {
  const nlohmann::json json = parse_json(json_text, origin);
  return read_gpu_profile(JsonReader(json, std::string(origin)));
}

GpuProfile load_gpu_profile(const std::filesystem::path& file) {
  const nlohmann::json json = read_json_file(file);
  GpuProfile profile = read_gpu_profile(JsonReader(json, file.string()));
  check_sample_files(profile, file);
  return profile;
}

GpuProfile transfer_profile(const GpuSpec& spec, const GpuProfile& donor) {
  GpuProfile profile = donor;
  profile.name = spec.name;
  profile.spec = spec;
  profile.sample_files.clear();
  // Tables hold the tiles and waves of the donor's kernels, which another generation runs others of.
  const bool same_generation = donor.spec.compute_capability_x10 == spec.compute_capability_x10;
  // An efficiency stays a share: nothing moves more than the datasheet says.
  const double generation = std::min(1.0, bandwidth_share(spec) / bandwidth_share(donor.spec));
  for (auto& [key, kind] : profile.kinds) {
    for (double Fitted::*bound : {&Fitted::value, &Fitted::low, &Fitted::high}) {
      kind.hbm_efficiency.*bound *= generation;
    }
    if (!same_generation) kind.tables.clear();
    kind.measured = false;
    kind.hold_out = {};
    kind.by_regime.clear();
    kind.sampled_shapes.clear();
    kind.samples = 0;
    kind.source = "transferred from " + donor.name + ": " + kind.source;
  }
  const double pcie = spec.pcie_bandwidth_bytes_per_s / donor.spec.pcie_bandwidth_bytes_per_s;
  profile.pcie_h2d_bytes_per_s *= pcie;
  profile.pcie_d2h_bytes_per_s *= pcie;
  profile.l2_bandwidth_bytes_per_s *= spec.sm_count * spec.sm_clock_hz / (donor.spec.sm_count * donor.spec.sm_clock_hz);
  profile.provenance = "Datasheet of " + spec.name + " with the efficiencies and latencies of " + donor.name +
                       "; nothing was measured on this GPU. Donor: " + donor.provenance;
  return profile;
}

GpuProfile find_gpu_profile(std::string_view name_or_path) {
  if (const embedded::File* file = bundled_profile(name_or_path)) {
    return parse_gpu_profile(file->text, "bundled profile " + std::string(name_or_path));
  }
  const std::vector<std::string> names = bundled_gpu_names();
  std::error_code code;
  const std::filesystem::path path(name_or_path);
  if (std::ranges::find(names, name_or_path) == names.end() && std::filesystem::is_regular_file(path, code)) {
    const nlohmann::json json = read_json_file(path);
    const JsonReader reader(json, path.string());
    if (reader.string("schema").starts_with("retrosim.gpu-profile/")) return load_gpu_profile(path);
  }
  const GpuSpec spec = find_gpu_spec(name_or_path);
  return transfer_profile(spec, donor_profile(spec));
}

}  // namespace retrosim
