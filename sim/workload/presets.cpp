#include "sim/workload/presets.h"

#include <array>
#include <initializer_list>
#include <string>

#include "model/error.h"

namespace retrosim {
namespace {

constexpr LengthDistribution quantiles(std::initializer_list<LengthQuantile> points) {
  LengthDistribution d{.kind = LengthKind::quantiles};
  for (const LengthQuantile& point : points) d.quantiles[d.num_quantiles++] = point;
  d.min = static_cast<std::int32_t>(d.quantiles[0].tokens);
  d.max = static_cast<std::int32_t>(d.quantiles[d.num_quantiles - 1].tokens);
  return d;
}

// Azure LLM inference traces of 2023 (Splitwise, ISCA 2024; AzurePublicDataset), the whole traces as Vidur prepared
// them: percentiles, mean, and the gaps between arrivals.
constexpr std::string_view kAzure =
    "published trace: Azure LLM inference dataset 2023 (Patel et al., Splitwise, ISCA 2024), its percentiles";

// Mooncake (Qin et al., FAST 2025), table of workloads: requests, mean prompt and output tokens. Medians and 95th
// percentiles: a public description of the three released traces (kvcache-ai/Mooncake, FAST25-release/traces).
// Lognormal by the median and a sigma between those that the mean and the 95th percentile ask for.
constexpr std::string_view kMooncake =
    "published statistics: Mooncake (Qin et al., FAST 2025), mean lengths; median and 95th percentile of the released "
    "trace";

// Coding agents, per model call: UW SyFI TraceLab, table 1 (357,161 agent steps): p25, p50, p90, p99 of the appended
// and of the output tokens. Appended tokens are cut above their 90th percentile: the published tail (99th percentile
// 232,206 and 121,009) is whole histories read again, longer than most models' context.
constexpr std::string_view kTraceLab =
    "published statistics: TraceLab (UW SyFI), table 1: tokens appended per model call of a coding agent up to their "
    "90th percentile, and output tokens";

// vLLM (Kwon et al., SOSP 2023), figure 11: mean lengths; exponential, as only the means are printed. Its arrivals are
// Poisson.
constexpr std::string_view kVllmPaper =
    "published statistics: vLLM (Kwon et al., SOSP 2023), figure 11: mean lengths; exponential, as only the means are "
    "printed";

constexpr std::array kPresets{
    WorkloadPreset{.name = "azure-conv",
                   .input = quantiles({{0, 2},
                                       {0.05, 181},
                                       {0.1, 207},
                                       {0.2, 387},
                                       {0.3, 403},
                                       {0.4, 703},
                                       {0.5, 1020},
                                       {0.6, 1071},
                                       {0.7, 1130},
                                       {0.8, 1315},
                                       {0.9, 2735},
                                       {0.95, 4083},
                                       {0.99, 4142},
                                       {0.999, 6212},
                                       {1, 14050}}),
                   .output = quantiles({{0, 7},
                                        {0.05, 41},
                                        {0.1, 54},
                                        {0.2, 77},
                                        {0.3, 91},
                                        {0.4, 103},
                                        {0.5, 129},
                                        {0.6, 177},
                                        {0.7, 384},
                                        {0.8, 400},
                                        {0.9, 424},
                                        {0.95, 451},
                                        {0.99, 601},
                                        {0.999, 954},
                                        {1, 1000}}),
                   .input_statistics = {1154.7, 396, 1020, 2735, 4083, 4142},
                   .output_statistics = {211.1, 85, 129, 424, 451, 601},
                   .tolerance = 0.03,
                   .requests_per_s = 5.53,
                   .arrival_cv = 1.094,
                   .source = kAzure},
    WorkloadPreset{.name = "azure-code",
                   .input = quantiles({{0, 3},
                                       {0.05, 75},
                                       {0.1, 147},
                                       {0.2, 385},
                                       {0.25, 578},
                                       {0.3, 770},
                                       {0.4, 1075},
                                       {0.5, 1469},
                                       {0.6, 1909},
                                       {0.7, 2433},
                                       {0.8, 3193},
                                       {0.9, 5194},
                                       {0.95, 7315},
                                       {0.99, 7436},
                                       {1, 7437}}),
                   .output = quantiles({{0, 6},
                                        {0.2, 8},
                                        {0.4, 11},
                                        {0.5, 13},
                                        {0.6, 16},
                                        {0.7, 20},
                                        {0.8, 29},
                                        {0.9, 55},
                                        {0.95, 90},
                                        {0.97, 128},
                                        {0.99, 252},
                                        {0.995, 361},
                                        {0.999, 831},
                                        {1, 1899}}),
                   .input_statistics = {2047.8, 578, 1469, 5194, 7315, 7436},
                   .output_statistics = {27.88, 9, 13, 55, 90, 252},
                   .tolerance = 0.06,
                   .requests_per_s = 2.567,
                   .arrival_cv = 13.15,
                   .source = kAzure},
    WorkloadPreset{.name = "mooncake-conversation",
                   .input = {.kind = LengthKind::lognormal, .a = 6900, .b = 1.06, .min = 1, .max = 126000},
                   .output = {.kind = LengthKind::normal, .a = 340, .b = 218, .min = 1, .max = 2000},
                   .input_statistics = {.mean = 12035, .p50 = 6900, .p95 = 39500},
                   .output_statistics = {.mean = 343, .p50 = 350, .p95 = 700},
                   .tolerance = 0.05,
                   .requests_per_s = 3.40,
                   .source = kMooncake},
    WorkloadPreset{.name = "mooncake-toolagent",
                   .input = {.kind = LengthKind::lognormal, .a = 6300, .b = 0.83, .min = 1, .max = 126000},
                   .output = {.kind = LengthKind::lognormal, .a = 30, .b = 1.87, .min = 1, .max = 32768},
                   .input_statistics = {.mean = 8596, .p50 = 6300, .p95 = 26000},
                   .output_statistics = {.mean = 182, .p50 = 30, .p95 = 600},
                   .tolerance = 0.12,
                   .requests_per_s = 6.67,
                   .source = kMooncake},
    WorkloadPreset{.name = "mooncake-synthetic",
                   .input = {.kind = LengthKind::lognormal, .a = 11600, .b = 0.82, .min = 1, .max = 191000},
                   .output = {.kind = LengthKind::lognormal, .a = 69, .b = 1.24, .min = 1, .max = 8192},
                   .input_statistics = {.mean = 15300, .p50 = 11600, .p95 = 49000},
                   .output_statistics = {.mean = 149, .p50 = 69, .p95 = 520},
                   .tolerance = 0.1,
                   .requests_per_s = 3.91,
                   .arrival_cv = 1,
                   .source = kMooncake},
    WorkloadPreset{.name = "agent-claude",
                   .input = quantiles({{0, 1}, {0.25, 384}, {0.5, 857}, {0.9, 5342}, {1, 20000}}),
                   .output = quantiles({{0, 1}, {0.25, 132}, {0.5, 252}, {0.9, 1671}, {0.99, 6571}, {1, 8192}}),
                   .input_statistics = {.p25 = 384, .p50 = 857, .p90 = 5342},
                   .output_statistics = {.mean = 690, .p25 = 132, .p50 = 252, .p90 = 1671, .p99 = 6571},
                   .tolerance = 0.1,
                   .source = kTraceLab},
    WorkloadPreset{.name = "agent-codex",
                   .input = quantiles({{0, 1}, {0.25, 406}, {0.5, 886}, {0.9, 8310}, {1, 20000}}),
                   .output = quantiles({{0, 1}, {0.25, 70}, {0.5, 184}, {0.9, 939}, {0.99, 3508}, {1, 4096}}),
                   .input_statistics = {.p25 = 406, .p50 = 886, .p90 = 8310},
                   .output_statistics = {.mean = 415, .p25 = 70, .p50 = 184, .p90 = 939, .p99 = 3508},
                   .tolerance = 0.1,
                   .source = kTraceLab},
    WorkloadPreset{.name = "sharegpt",
                   .input = {.kind = LengthKind::exponential, .a = 161.31, .max = 2048},
                   .output = {.kind = LengthKind::exponential, .a = 337.99, .max = 2048},
                   .input_statistics = {.mean = 161.31},
                   .output_statistics = {.mean = 337.99},
                   .tolerance = 0.02,
                   .arrival_cv = 1,
                   .source = kVllmPaper},
    WorkloadPreset{.name = "alpaca",
                   .input = {.kind = LengthKind::exponential, .a = 19.31, .max = 2048},
                   .output = {.kind = LengthKind::exponential, .a = 58.45, .max = 2048},
                   .input_statistics = {.mean = 19.31},
                   .output_statistics = {.mean = 58.45},
                   .tolerance = 0.02,
                   .arrival_cv = 1,
                   .source = kVllmPaper},
};

}  // namespace

std::span<const WorkloadPreset> workload_presets() { return kPresets; }

const WorkloadPreset& find_workload_preset(std::string_view name, std::string_view field) {
  std::string names;
  for (const WorkloadPreset& preset : kPresets) {
    if (preset.name == name) return preset;
    names.append(names.empty() ? "" : ", ").append(preset.name);
  }
  throw InputError("", field, name, "one of " + names + ", or a trace file");
}

}  // namespace retrosim
