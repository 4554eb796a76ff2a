#include "reports/published_systems.h"

#include <algorithm>
#include <array>

namespace retrosim {
namespace {

constexpr DType kInt4 = DType::int4;
constexpr auto kReleased = PolicyVariant::released;

constexpr std::array kSystems{
    PublishedSystem{.published = "Full", .policy = "full", .implementation = ""},
    PublishedSystem{.published = "Full (FlashInfer)", .policy = "full", .implementation = ""},
    PublishedSystem{.published = "vLLM", .policy = "full", .implementation = "graph"},
    PublishedSystem{.published = "Quest", .policy = "quest", .implementation = "", .dense_layers = 2},
    PublishedSystem{.published = "TOVA", .policy = "tova", .implementation = "hf-eager", .dense_layers = 2},
    PublishedSystem{.published = "StreamingLLM", .policy = "streaming", .implementation = "hf-eager"},
    PublishedSystem{.published = "SnapKV", .policy = "snapkv", .implementation = "hf-eager"},
    PublishedSystem{.published = "ArkVale",
                    .policy = "arkvale",
                    .implementation = "hf-patched",
                    .dense_layers = 2,
                    .page_size = 32,
                    .variant = kReleased},
    PublishedSystem{.published = "PQCache", .policy = "pqcache", .implementation = "hf-eager", .variant = kReleased},
    PublishedSystem{.published = "MagicPIG",
                    .policy = "magicpig",
                    .implementation = "hf-patched",
                    .dense_layers = 2,
                    .variant = kReleased},
    PublishedSystem{.published = "IceCache", .policy = "icecache", .implementation = "hf-eager", .dense_layers = 2},
    PublishedSystem{.published = "IceCache(r)", .policy = "icecache", .implementation = "hf-eager", .dense_layers = 2},
    PublishedSystem{.published = "DuoAttention", .policy = "lserve", .implementation = "hf-eager"},
    PublishedSystem{.published = "LServe",
                    .policy = "lserve",
                    .implementation = "omniserve",
                    .page_size = 64,
                    .weights = kInt4,
                    .kv = kInt4},
    PublishedSystem{.published = "LServe static sparsity only",
                    .policy = "lserve",
                    .implementation = "omniserve",
                    .page_size = 64,
                    .weights = kInt4,
                    .kv = kInt4},
    PublishedSystem{.published = "INT4 KV (QServe), dense",
                    .policy = "full",
                    .implementation = "omniserve",
                    .page_size = 64,
                    .weights = kInt4,
                    .kv = kInt4},
    PublishedSystem{.published = "INT4 KV (QServe W4A8KV4)",
                    .policy = "full",
                    .implementation = "omniserve",
                    .page_size = 64,
                    .weights = kInt4,
                    .kv = kInt4}};

struct NotModelled {
  std::string_view prefix;
  std::string_view why;
};
constexpr std::array kNotModelled{
    NotModelled{"Dense (HF)",
                "the attention of the Hugging Face baseline (eager, SDPA or FlashAttention, which differ "
                "threefold) is not stated"},
    NotModelled{"Full (HF)",
                "the attention of the Hugging Face baseline (eager, SDPA or FlashAttention, which differ "
                "threefold) is not stated"},
    NotModelled{"TidalDecode", "its selection layers over tokens are none of the 14 policies"},
    NotModelled{"TRT-LLM", "the batch at which it was measured is not stated"},
    NotModelled{"Atom", "the batch at which it was measured is not stated"},
    NotModelled{"QuaRot", "the batch at which it was measured is not stated"}};

struct ModelName {
  std::string_view published;
  std::string_view llm;
};
constexpr std::array kModels{ModelName{"Llama-2-7B", "llama-2-7b"},
                             ModelName{"Llama-2-7B FP16 weights", "llama-2-7b"},
                             ModelName{"Llama-2-7B AWQ W4", "llama-2-7b"},
                             ModelName{"Llama-7B fp16", "llama-2-7b"},
                             ModelName{"LongChat-7B-v1.5-32k", "llama-2-7b"},
                             ModelName{"LWM-Text-Chat-1M (7B)", "llama-2-7b"},
                             ModelName{"Llama-2-13B", "llama-2-13b"},
                             ModelName{"Llama-2-70B", "llama-2-70b"},
                             ModelName{"Llama-30B", "llama-30b"},
                             ModelName{"Mistral-7B", "mistral-7b"},
                             ModelName{"Yi-34B", "yi-34b"},
                             ModelName{"Qwen1.5-72B", "qwen1.5-72b"},
                             ModelName{"Llama-3-8B", "llama-3.1-8b"},
                             ModelName{"Llama-3.1-8B", "llama-3.1-8b"},
                             ModelName{"Llama-3.1-8B-Instruct", "llama-3.1-8b"},
                             ModelName{"Llama-3.1-70B", "llama-3.1-70b"},
                             ModelName{"Qwen3-4B-Instruct-2507", "qwen3-4b-instruct-2507"}};
constexpr std::array kModelsNotModelled{
    NotModelled{"Minitron-4B", "which of the Minitron models it is, is not stated"},
    NotModelled{"MPT-7B", "its blocks (ALiBi, an MLP without a gate) are outside the model's vocabulary"},
    NotModelled{"OPT-", "its blocks (an MLP without a gate) are outside the model's vocabulary"}};

constexpr std::array kLshSettings{
    LshSetting{"K=10, L=150", 10, 150, 0.02},     LshSetting{"K=10, L=150 (≈2 %)", 10, 150, 0.02},
    LshSetting{"K=10, L=170", 10, 170, 0.025},    LshSetting{"(K,L)=(10,150)", 10, 150, 0.02},
    LshSetting{"(K,L)=(10,170)", 10, 170, 0.025}, LshSetting{"(K,L)=(10,220)", 10, 220, 0.04},
    LshSetting{"(K,L)=(9,120)", 9, 120, 0.04},    LshSetting{"(K,L)=(8,75)", 8, 75, 0.05},
    LshSetting{"(K,L)=(11,300)", 11, 300, 0.02}};

struct GpuName {
  std::string_view prefix;
  std::string_view gpu;
};
constexpr std::array kGpus{GpuName{"RTX 6000 Ada", "rtx-6000-ada"},
                           GpuName{"RTX 4090", "rtx-4090"},
                           GpuName{"A100 80GB PCIe", "a100-pcie"},
                           GpuName{"A100 40GB PCIe", "a100-40gb-pcie"},
                           GpuName{"H100 80GB PCIe", "h100-pcie"},
                           GpuName{"L20", "l20"},
                           GpuName{"L40S", "l40s"}};

template <class Table>
const auto* entry_of(const Table& table, std::string_view name) {
  const auto found = std::ranges::find(table, name, [](const auto& entry) { return entry.published; });
  return found == table.end() ? nullptr : &*found;
}

template <class Table>
void refuse_known(const Table& table, const std::string& name) {
  for (const NotModelled& known : table) {
    if (name.starts_with(known.prefix)) throw Refusal{name + ": " + std::string(known.why)};
  }
}

}  // namespace

const PublishedSystem& find_published_system(const std::string& name) {
  refuse_known(kNotModelled, name);
  if (const auto* system = entry_of(kSystems, name)) return *system;
  throw Refusal{"policy \"" + name + "\" is not modelled"};
}

PublishedModel find_published_model(const std::string& name) {
  refuse_known(kModelsNotModelled, name);
  const auto* model = entry_of(kModels, name);
  if (model == nullptr) throw Refusal{"model \"" + name + "\" is not stated or not modelled"};
  return {find_llm_spec(model->llm), name.ends_with("AWQ W4")};
}

std::string find_published_gpu(const std::string& text, std::vector<std::string>& assumptions) {
  for (const GpuName& gpu : kGpus) {
    if (text.starts_with(gpu.prefix)) return std::string(gpu.gpu);
  }
  if (text == "A100" || text == "A100 80GB") {
    assumptions.emplace_back("A100 of 80 GB, SXM: the version is not stated");
    return "a100-sxm";
  }
  throw Refusal{"GPU \"" + text + "\" is not stated or not modelled"};
}

const LshSetting& find_lsh_setting(const std::string& text) {
  if (const auto* setting = entry_of(kLshSettings, text)) return *setting;
  throw Refusal{"hash setting \"" + text + "\" is not modelled"};
}

std::string_view implementation_of_source(std::string_view source) {
  if (source.starts_with("Quest Fig 8") || source.starts_with("Quest Fig 9") || source == "Quest §4.3 / Fig 9") {
    return "kernel-benchmark";
  }
  for (const std::string_view prefix : {"Quest", "ArkVale", "TidalDecode"}) {
    if (source.starts_with(prefix)) return "hf-patched";
  }
  throw Refusal{"what runs the baseline is not stated (" + std::string(source) + ")"};
}

}  // namespace retrosim
