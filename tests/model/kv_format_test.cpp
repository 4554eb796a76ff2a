#include "model/kv_format.h"

#include <gtest/gtest.h>

#include "model/gpu_profile.h"
#include "model/pricing.h"
#include "tests/model/tiny_llm.h"

namespace retrosim {
namespace {

// One token and KV head of 128 elements, K and V together; figures of the papers for K alone in the comments.
TEST(KvFormat, BytesWithScales) {
  EXPECT_EQ(kv_bytes(DType::bf16, 1, 128), 512);
  EXPECT_EQ(kv_bytes(DType::fp8_e4m3, 1, 128), 256);
  EXPECT_EQ(kv_bytes(DType::int8, 1, 128), 256);
  EXPECT_EQ(kv_bytes(DType::int4, 1, 128), 2 * 68);  // QServe: 64 bytes, scale and zero point of 2 each
  EXPECT_EQ(kv_bytes(DType::int2, 1, 128), 2 * 48);  // KIVI: 32 bytes, 4 groups of a scale and a minimum of 2 each
  EXPECT_EQ(kv_bytes(DType::int2, 1, 80), 2 * (20 + 3 * 4));  // a last group of 16 elements has scales too
}

TEST(KvFormat, TheWholeCacheCarriesItsScales) {
  const LlmSpec llm = testing::tiny_llm();  // 4 layers, 2 KV heads of 8
  EXPECT_EQ(llm.kv_bytes_per_token(DType::bf16), 4 * 2 * 32);
  EXPECT_EQ(llm.kv_bytes_per_token(DType::int4), 4 * 2 * (8 + 8));
  EXPECT_EQ(llm.kv_bytes_per_token(DType::int2), 4 * 2 * (4 + 8));
}

TEST(KvFormat, ReadsIts2BitName) {
  EXPECT_EQ(parse_dtype("int2", "--kv-cache-dtype"), DType::int2);
  EXPECT_EQ(name_of(DType::int2), "int2");
}

TEST(KvFormat, IntegersAreWidenedOnCudaCores) {
  const AttentionShape shape{.batch = 1,
                             .num_q_heads = 32,
                             .num_kv_heads = 8,
                             .head_dim = 128,
                             .page_size = 16,
                             .rows = 1,
                             .pages_loaded = 8 * 2048,
                             .tokens_loaded = 8 * 32768,
                             .num_splits = 4};
  const GpuProfile gpu = find_gpu_profile("h100-sxm");
  Op op{.shape = shape, .name = "attention", .layer = 0};
  EXPECT_EQ(work_of(op, gpu.spec).dequantise_flops, 0);
  std::get<AttentionShape>(op.shape).kv_dtype = DType::fp8_e4m3;
  EXPECT_EQ(work_of(op, gpu.spec).dequantise_flops, 0);
  std::get<AttentionShape>(op.shape).kv_dtype = DType::int4;
  // A multiply-add for each of 2 * 8 * 32,768 * 128 elements.
  EXPECT_EQ(work_of(op, gpu.spec).dequantise_flops, 2.0 * 2 * 8 * 32768 * 128);
  const Pricer pricer(gpu);
  EXPECT_GT(pricer.price(op).cuda_share, 0);
  // Without CUDA cores to speak of, widening is all that counts.
  GpuProfile slow = gpu;
  slow.spec.cuda_core_flops_per_s = 1e12;
  const double widening_s =
      2.0 * 2 * 8 * 32768 * 128 / (slow.kinds.at("attention.bfloat16").compute_efficiency.value * 1e12);
  EXPECT_GT(Pricer(slow).price(op).latency_s(), widening_s);
  EXPECT_LT(Pricer(slow).price(op).latency_s(), 1.2 * widening_s + pricer.price(op).latency_s());
}

}  // namespace
}  // namespace retrosim
