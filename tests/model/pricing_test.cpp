#include "model/pricing.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/error.h"

namespace retrosim {
namespace {

Fitted exactly(double value) { return {value, value, value}; }

/// A GPU whose numbers are easy: 1 GB/ms of HBM, 1 TFLOP/ms, 4 GB/ms of L2, 100 SMs, L2 of 1 MB.
GpuProfile round_gpu() {
  GpuProfile profile = find_gpu_profile("h100-sxm");
  profile.spec.hbm_bandwidth_bytes_per_s = 2e12;
  profile.spec.bf16_flops_per_s = 2e15;
  profile.spec.cuda_core_flops_per_s = 2e13;
  profile.spec.l2_bytes = 1'000'000;
  profile.spec.sm_count = 100;
  profile.spec.interconnect_bandwidth_bytes_per_s = 400e9;
  profile.l2_bandwidth_bytes_per_s = 4e12;
  profile.interconnect_efficiency = 0.5;
  profile.interconnect_latency_s = 4e-6;
  profile.pcie_h2d_bytes_per_s = 50e9;
  profile.pcie_latency_s = 5e-6;
  for (auto& [key, kind] : profile.kinds) {
    kind.fixed_latency_s = exactly(2e-6);
    kind.hbm_efficiency = exactly(0.5);      // 1e12 bytes/s
    kind.compute_efficiency = exactly(0.5);  // 1e15 FLOP/s, 1e13 on CUDA cores
    kind.half_bandwidth_bytes = exactly(0);
    kind.memory_half_units = exactly(0);
    kind.compute_half_units = exactly(0);
    kind.unit_latency_s = exactly(0);
    kind.measured = true;
    kind.sampled_shapes.clear();
    kind.tables.clear();
    kind.domain = {.min_bytes = 0, .max_bytes = 1e9, .min_flops = 0, .max_flops = 1e12};
  }
  return profile;
}

// Weights 2 * 1000 * 10000 = 2e7 bytes at 1e12 B/s: 20 us. Activations 2 * (10000 + 1000) = 22,000 bytes are below half
// of L2: 22,000 / 4e12 = 5.5 ns. FLOPs 2e7 / 1e15 = 20 ns, whose fourth power vanishes beside it.
TEST(Pricing, SkinnyProductIsBoundByItsWeights) {
  const Price price = Pricer(round_gpu()).price({.shape = MatmulShape{.m = 1, .n = 1000, .k = 10000}});
  EXPECT_DOUBLE_EQ(price.fixed_s, 2e-6);
  EXPECT_NEAR(price.body_s, 20.0055e-6, 1e-12);
  EXPECT_NEAR(price.hbm_share, 20 / 20.0055, 1e-6);
  EXPECT_NEAR(price.tensor_share, 0.02 / 20.0055, 1e-6);
  EXPECT_EQ(price.bound, Bound::hbm);
  EXPECT_EQ(price.provenance, Provenance::interpolated);
}

// m = 10000: 2 * 1e4 * 1e3 * 1e4 = 2e11 FLOP at 1e15: 200 us. Activations 2*(1e8 + 1e7) = 2.2e8 bytes exceed half of
// L2, so HBM moves 2e7 + 2.2e8 = 2.4e8 bytes: 240 us. (200^4 + 240^4)^(1/4) = 264.6 us.
TEST(Pricing, RooflineCornerIsRounded) {
  const Price price = Pricer(round_gpu()).price({.shape = MatmulShape{.m = 10000, .n = 1000, .k = 10000}});
  EXPECT_NEAR(price.body_s, std::pow(std::pow(200e-6, 4) + std::pow(240e-6, 4), 0.25), 1e-12);
  EXPECT_EQ(price.bound, Bound::hbm);
  EXPECT_LE(price.hbm_share, 1);
  EXPECT_LE(price.tensor_share, 1);
}

TEST(Pricing, EachParameterEntersTheFormulaAsDocumented) {
  const Roofline roofline{.fixed_s = 1,
                          .s_per_hbm_byte = 2,
                          .s_per_l2_byte = 0.5,
                          .s_per_flop = 0,
                          .half_bandwidth_bytes = 10,
                          .memory_half_units = 4,
                          .s_per_unit = 3};
  // memory = ((5 + 10) * 2 + 8 * 0.5) * (1 + 4/2) = 102; units 3 * 2 = 6; fixed 1.
  EXPECT_DOUBLE_EQ(roofline.latency_s({.hbm_bytes = 5, .l2_bytes = 8, .flops = 0, .units = 2}), 109);
  // No work: the latency alone, without ramp-up or units.
  EXPECT_DOUBLE_EQ(roofline.latency_s({.hbm_bytes = 0, .l2_bytes = 0, .flops = 0, .units = 2}), 1);
  const Roofline arithmetic{.s_per_flop = 2, .compute_half_units = 1};
  EXPECT_DOUBLE_EQ(arithmetic.latency_s({.flops = 3, .units = 1}), 12);
}

// 200 pages on 100 SMs, 50 ns each: 100 ns more. Masked, two older rows on each of 300 loaded pages: 600 pages, 300 ns.
TEST(Pricing, OlderQueriesPagesTakeTimeOnTheirSm) {
  GpuProfile profile = round_gpu();
  profile.unseen_visit_s = 50e-9;
  const Pricer pricer(profile);
  AttentionShape shape{.batch = 1,
                       .num_q_heads = 8,
                       .num_kv_heads = 2,
                       .head_dim = 128,
                       .page_size = 16,
                       .window = 3,
                       .rows = 3,
                       .pages_loaded = 300,
                       .tokens_loaded = 4800};
  const double none = pricer.price({.shape = shape}).latency_s();
  shape.unseen_visits = 200;
  EXPECT_NEAR(pricer.price({.shape = shape}).latency_s() - none, 100e-9, 1e-12);
  shape.masked = true;
  EXPECT_NEAR(pricer.price({.shape = shape}).latency_s() - none, 300e-9, 1e-12);
}

TEST(Pricing, UnitsAreTilesAndSequenceHeadPairs) {
  const GpuSpec spec = find_gpu_spec("h100-sxm");
  EXPECT_EQ(work_of({.shape = MatmulShape{.m = 129, .n = 300, .k = 8}}, spec).units, 2 * 3);
  // Eight experts with ten rows in all: at most two rows each, one row tile; 8 * 1 * 3.
  EXPECT_EQ(work_of({.shape = MatmulShape{.m = 10, .n = 300, .k = 8, .num_groups = 8}}, spec).units, 24);
  EXPECT_EQ(
      work_of({.shape = AttentionShape{.batch = 3, .num_q_heads = 32, .num_kv_heads = 8, .head_dim = 128}}, spec).units,
      24);
}

TEST(Pricing, WithoutWorkThereIsStillALatency) {
  const Price price = Pricer(round_gpu()).price({.shape = TopKShape{}});
  EXPECT_DOUBLE_EQ(price.latency_s(), 2e-6);
  EXPECT_EQ(price.bound, Bound::latency);
  EXPECT_EQ(price.hbm_share, 0);
}

// Ring of 4: each GPU sends 2 * 8e6 * 3/4 = 1.2e7 bytes at 200 GB/s: 60 us after 4 us. The message itself (1.6e7 bytes
// through HBM at 1e12) takes 16 us of HBM meanwhile.
TEST(Pricing, AllReduceIsBoundByTheInterconnect) {
  const Price price = Pricer(round_gpu()).price({.shape = AllReduceShape{.message_bytes = 8'000'000, .num_gpus = 4}});
  EXPECT_NEAR(price.fixed_s, 4e-6, 1e-15);
  EXPECT_NEAR(price.body_s, 60e-6, 1e-12);
  EXPECT_NEAR(price.interconnect_share, 1, 1e-12);
  EXPECT_NEAR(price.hbm_share, 16.0 / 60, 1e-9);
  EXPECT_EQ(price.bound, Bound::interconnect);
}

// 1e6 bytes in 3 copies: 3 * 5 us of latency, 1e6 / 50e9 = 20 us on the link.
TEST(Pricing, CopiesPayALatencyEach) {
  const Price price = Pricer(round_gpu()).price({.shape = HostToDeviceShape{.bytes = 1'000'000, .transfers = 3}});
  EXPECT_NEAR(price.fixed_s, 15e-6, 1e-15);
  EXPECT_NEAR(price.body_s, 20e-6, 1e-12);
  EXPECT_NEAR(price.pcie_h2d_share, 1, 1e-12);
  EXPECT_EQ(price.pcie_d2h_share, 0);
  EXPECT_EQ(price.bound, Bound::pcie);
}

// One batch of 3: 5 us once, and 1 us for each of the two further copies.
TEST(Pricing, CopiesOfOneBatchShareALatency) {
  GpuProfile profile = round_gpu();
  profile.pcie_copy_s = 1e-6;
  const Price price =
      Pricer(profile).price({.shape = HostToDeviceShape{.bytes = 1'000'000, .transfers = 3, .in_one_batch = true}});
  EXPECT_NEAR(price.fixed_s, 7e-6, 1e-15);
  EXPECT_NEAR(price.body_s, 20e-6, 1e-12);
}

TEST(Pricing, ProvenanceFollowsSamplesAndDomain) {
  GpuProfile profile = round_gpu();
  const Op op{.shape = MatmulShape{.m = 1, .n = 1000, .k = 10000}};
  const OpWork work = work_of(op, profile.spec);
  profile.kinds["matmul.bfloat16"].sampled_shapes = {{work.hbm_bytes + work.l2_bytes, work.flops, work.units}};
  const Pricer pricer(profile);
  EXPECT_EQ(pricer.price(op).provenance, Provenance::measured);
  EXPECT_EQ(pricer.price({.shape = MatmulShape{.m = 1, .n = 1000, .k = 20000}}).provenance, Provenance::interpolated);
  EXPECT_EQ(pricer.price({.shape = MatmulShape{.m = 1, .n = 100000, .k = 100000}}).provenance,
            Provenance::extrapolated);
  // float32 products were not measured: they borrow.
  EXPECT_EQ(pricer.price({.shape = MatmulShape{.m = 1, .n = 1000, .k = 10000, .weight_dtype = DType::f32}}).provenance,
            Provenance::transferred);
}

TEST(Pricing, ARealSampleShapeIsMeasured) {
  // 4096 x 4096 in bf16 with 64 rows is in the published table.
  const Pricer pricer(find_gpu_profile("h100-sxm"));
  EXPECT_EQ(pricer.price({.shape = MatmulShape{.m = 64, .n = 4096, .k = 4096}}).provenance, Provenance::measured);
}

// A table multiplies both parts of the latency, a step's overlap comes off the fixed part first: with exp(log 3) = 3
// and 1 us of overlap, 2 us fixed become 5 us and 20.0055 us of body 60.0165 us.
TEST(Pricing, TablesAndTheOverlapOfAStepChangeTheLatency) {
  GpuProfile profile = round_gpu();
  KindProfile& products = profile.kinds.at("matmul.bfloat16");
  products.tables = {LatencyTable({{.axis = ShapeAxis::rows, .knots = {1}}}, {std::log(3.0)})};
  products.step_overlap_s = 1e-6;
  const Op op{.shape = MatmulShape{.m = 1, .n = 1000, .k = 10000}};
  const Price price = Pricer(profile).price(op);
  EXPECT_NEAR(price.fixed_s, 5e-6, 1e-12);
  EXPECT_NEAR(price.body_s, 3 * 20.0055e-6, 1e-12);
  // More than 16 rows have an overlap of their own.
  products.many_rows_step_overlap_s = 2e-6;
  const Op many{.shape = MatmulShape{.m = 17, .n = 1000, .k = 10000}};
  EXPECT_NEAR(Pricer(profile).price(many).fixed_s, 4e-6, 1e-12);
  EXPECT_NEAR(Pricer(profile).price(op).fixed_s, 5e-6, 1e-12);
  // More overlap than latency: no time at all, never less.
  products.step_overlap_s = 1;
  EXPECT_EQ(Pricer(profile).price(op).latency_s(), 0);
  const std::string text = to_json_text(profile);
  EXPECT_EQ(to_json_text(parse_gpu_profile(text, "again")), text);
}

TEST(Pricing, AMissingKindIsNamed) {
  GpuProfile profile = round_gpu();
  profile.kinds.erase("top_k");
  EXPECT_THROW(Pricer{profile}, InputError);
}

TEST(Pricing, PriceGrowsWithWork) {
  const Pricer pricer(find_gpu_profile("h100-sxm"));
  double before = 0;
  for (std::int64_t n = 128; n <= 1 << 20; n *= 2) {
    const double now = pricer.price({.shape = MatmulShape{.m = 16, .n = n, .k = 4096}}).latency_s();
    EXPECT_GT(now, before) << n;
    before = now;
  }
}

}  // namespace
}  // namespace retrosim
