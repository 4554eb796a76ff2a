#include "reports/op_breakdown.h"

#include <gtest/gtest.h>

namespace retrosim {
namespace {

OpRecord record(const char* name, double latency_us, Bound bound, Provenance provenance) {
  OpRecord op;
  op.name = name;
  op.latency_us = latency_us;
  op.bound = bound;
  op.provenance = provenance;
  op.traffic.kv_read = 100;
  op.flops = 7;
  return op;
}

// attention 3 + 1 us, qkv 4 us: the group is bound by what took 3 of 4 us, known as badly as its worst operation.
TEST(OpBreakdown, GroupsByNameInLaunchOrder) {
  const std::vector<OpGroup> groups =
      group_operations({record("attention", 3, Bound::hbm, Provenance::measured),
                        record("qkv", 4, Bound::latency, Provenance::interpolated),
                        record("attention", 1, Bound::latency, Provenance::extrapolated)});
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].name, "attention");
  EXPECT_EQ(groups[0].launches, 2);
  EXPECT_DOUBLE_EQ(groups[0].latency_us, 4);
  EXPECT_DOUBLE_EQ(groups[0].hbm_bytes, 200);
  EXPECT_DOUBLE_EQ(groups[0].flops, 14);
  EXPECT_EQ(groups[0].main_bound(), name_of(Bound::hbm));
  EXPECT_EQ(groups[0].worst_provenance(), "extrapolated");
  const auto shares = provenance_shares(groups);
  EXPECT_DOUBLE_EQ(shares.at("measured"), 3.0 / 8);
  EXPECT_DOUBLE_EQ(shares.at("interpolated"), 4.0 / 8);
  EXPECT_DOUBLE_EQ(shares.at("extrapolated"), 1.0 / 8);
}

TEST(OpBreakdown, HasNoSharesOfNothing) { EXPECT_TRUE(provenance_shares({}).empty()); }

}  // namespace
}  // namespace retrosim
