#include "kernels/checkpoint/llm_weights.h"

#include "kernels/checkpoint/mapped_file.h"
#include "kernels/checkpoint/safetensors.h"
#include "model/error.h"

namespace retrosim {
namespace {

class LayerLoader {
 public:
  LayerLoader(const Safetensors& file, int layer)
      : file_(file), prefix_("model.layers." + std::to_string(layer) + ".") {}

  void append(const std::string& name, std::initializer_list<std::int64_t> shape, std::vector<float>& out) const {
    file_.append_to(prefix_ + name, std::span(shape.begin(), shape.size()), out);
  }

 private:
  const Safetensors& file_;
  std::string prefix_;
};

LayerWeights load_layer(const Safetensors& file, const LlmSpec& llm, int layer) {
  const std::int64_t hidden = llm.hidden_size;
  const std::int64_t q_size = std::int64_t{llm.num_q_heads} * llm.head_dim;
  const std::int64_t kv_size = std::int64_t{llm.num_kv_heads} * llm.head_dim;
  const LayerLoader loader(file, layer);
  LayerWeights weights;
  loader.append("input_layernorm.weight", {hidden}, weights.input_norm);
  loader.append("self_attn.q_proj.weight", {q_size, hidden}, weights.qkv);
  loader.append("self_attn.k_proj.weight", {kv_size, hidden}, weights.qkv);
  loader.append("self_attn.v_proj.weight", {kv_size, hidden}, weights.qkv);
  if (llm.qkv_bias) {
    loader.append("self_attn.q_proj.bias", {q_size}, weights.qkv_bias);
    loader.append("self_attn.k_proj.bias", {kv_size}, weights.qkv_bias);
    loader.append("self_attn.v_proj.bias", {kv_size}, weights.qkv_bias);
  }
  if (llm.qk_norm) {
    loader.append("self_attn.q_norm.weight", {llm.head_dim}, weights.q_norm);
    loader.append("self_attn.k_norm.weight", {llm.head_dim}, weights.k_norm);
  }
  loader.append("self_attn.o_proj.weight", {hidden, q_size}, weights.o);
  loader.append("post_attention_layernorm.weight", {hidden}, weights.post_attention_norm);
  loader.append("mlp.gate_proj.weight", {llm.intermediate_size, hidden}, weights.gate_up);
  loader.append("mlp.up_proj.weight", {llm.intermediate_size, hidden}, weights.gate_up);
  loader.append("mlp.down_proj.weight", {hidden, llm.intermediate_size}, weights.down);
  return weights;
}

}  // namespace

LlmWeights load_llm_weights(const std::filesystem::path& folder) {
  LlmWeights weights;
  weights.llm = load_llm_spec(folder / "config.json");
  const LlmSpec& llm = weights.llm;
  if (llm.moe.num_experts > 0) {
    throw InputError((folder / "config.json").string(), "num_experts", std::to_string(llm.moe.num_experts),
                     "a dense model: mixtures of experts are not decoded on the host");
  }
  const std::filesystem::path file = folder / "model.safetensors";
  const MappedFile mapped(file);
  const Safetensors tensors(mapped.bytes(), file.string());
  const std::int64_t table[] = {llm.vocab_size, llm.hidden_size};
  const std::int64_t hidden[] = {llm.hidden_size};
  tensors.append_to("model.embed_tokens.weight", table, weights.embedding);
  for (int layer = 0; layer < llm.num_layers; ++layer) weights.layers.push_back(load_layer(tensors, llm, layer));
  tensors.append_to("model.norm.weight", hidden, weights.final_norm);
  if (!llm.tied_embeddings) tensors.append_to("lm_head.weight", table, weights.lm_head);
  return weights;
}

}  // namespace retrosim
