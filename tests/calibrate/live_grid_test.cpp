#include "calibrate/live/live_grid.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace retrosim {
namespace {

TEST(LiveGrid, CoversWhatValidationPromises) {
  const std::vector<LiveConfig> grid = live_grid({.seed = 1});
  EXPECT_GE(grid.size(), 200U);
  std::set<std::string> models;
  std::set<std::string> ids;
  std::map<std::string, int> groups;
  std::set<int> windows;
  std::set<int> pages;
  int fp8 = 0;
  for (const LiveConfig& live : grid) {
    const DecodeConfig config = decode_config(live, 132);
    EXPECT_NO_THROW(validate(config)) << live.id;
    EXPECT_LE(device_bytes(config), 56e9) << live.id;
    models.insert(live.llm);
    ids.insert(live.id);
    ++groups[live.group];
    windows.insert(live.window);
    pages.insert(live.page_size);
    fp8 += live.kv_dtype == DType::fp8_e4m3 ? 1 : 0;
    if (live.policy != "quest") continue;
    EXPECT_EQ(kv_traffic_share(config) > 0.5 || live.window > 1, live.group == "grid.kv" || live.window > 1) << live.id;
  }
  EXPECT_EQ(ids.size(), grid.size());
  EXPECT_EQ(groups["grid.kv"], groups["grid.weights"]);
  EXPECT_GE(models.size(), 6U);
  EXPECT_EQ(windows, (std::set<int>{1, 2, 4, 8, 16}));
  EXPECT_EQ(pages, (std::set<int>{8, 16, 32, 64}));
  EXPECT_GT(fp8, 20);
}

TEST(LiveGrid, TheSameSeedGivesTheSameGridAndAnotherOneAnother) {
  const auto text = [](std::uint64_t seed) {
    std::string all;
    for (const LiveConfig& live : live_grid({.seed = seed, .points = 6})) all += to_json(live).dump();
    return all;
  };
  EXPECT_EQ(text(3), text(3));
  EXPECT_NE(text(3), text(4));
}

TEST(LiveGrid, EveryWindowHasItsWindowOne) {
  const std::vector<LiveConfig> grid = live_grid({.seed = 2, .points = 8});
  std::set<std::string> without;
  for (LiveConfig live : grid) {
    if (live.window > 1) continue;
    live.id = "";
    without.insert(to_json(live).dump());
  }
  for (LiveConfig live : grid) {
    if (live.window == 1) continue;
    live.id = "";
    live.window = 1;
    EXPECT_EQ(without.count(to_json(live).dump()), 1U);
  }
}

}  // namespace
}  // namespace retrosim
