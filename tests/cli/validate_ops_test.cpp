#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/cli/program.h"

namespace retrosim::test {
namespace {

const char* const kGemmHeader =
    "gpu,backend,version,kernel,dtype,m,n,k,latency_us,weights_l2_resident,nonmonotone_flag\n";

std::string table(const TemporaryFolder& folder, const std::string& text) {
  const std::string path = (folder / "table.csv").string();
  std::ofstream(path) << text;
  return path;
}

TEST(ValidateOps, ComparesRowsAndSaysWhichAreLeftOut) {
  const TemporaryFolder folder;
  const std::string rows =
      "x,y,z,w,bf16,1,28672,4096,100,0,0\nx,y,z,w,bf16,512,28672,4096,300,0,0\n"
      "x,y,z,w,bf16,1,1024,1024,3,1,0\nx,y,z,w,bf16,1,28672,8192,100,0,1\n";
  const Outcome outcome = run("validate ops --gpu h100-sxm --json --measured " + table(folder, kGemmHeader + rows));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json json = outcome.json();
  EXPECT_EQ(json["schema"], "retrosim.validate-ops/1");
  EXPECT_EQ(json["rows"], 2);
  EXPECT_EQ(json["rows_left_out"], 2);
  EXPECT_EQ(json["left_out"].size(), 2U);
  EXPECT_EQ(json["by_regime"]["rows 1 to 16"]["rows"], 1);
  EXPECT_EQ(json["by_regime"]["rows 129 to 1024"]["rows"], 1);
  // One row each: the overall mean is that of the two regimes.
  const double mean = (json["by_regime"]["rows 1 to 16"]["mape"].get<double>() +
                       json["by_regime"]["rows 129 to 1024"]["mape"].get<double>()) /
                      2;
  EXPECT_NEAR(json["mape"], mean, 1e-12);
  for (const char* key : {"median_abs_error", "bias", "p95_abs_error"}) EXPECT_TRUE(json[key].is_number()) << key;
  // 28672 x 4096 weights of 2 bytes at 3.35 TB/s take 70.1 us: the roofline misses 100 us by 0.299.
  EXPECT_NEAR(json["by_regime"]["rows 1 to 16"]["naive_roofline"]["bias"], -0.2986, 2e-3);
}

TEST(ValidateOps, FasterMemoryShortensWhatReadsWeights) {
  const TemporaryFolder folder;
  const std::string file = table(folder, std::string(kGemmHeader) + "x,y,z,w,bf16,1,28672,4096,100,0,0\n");
  const auto bias = [&](const std::string& flags) {
    const Outcome outcome = run("validate ops --gpu h100-sxm --measured " + file + flags);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.json()["bias"].get<double>();
  };
  // Twice the bandwidth halves the part that is bound by it; latency and L2 traffic stay.
  const double before = 1 + bias("");
  const double after = 1 + bias(" --set hbm_bandwidth_bytes_per_s=6.7e12");
  EXPECT_LT(after, 0.6 * before);
  EXPECT_GT(after, 0.5 * before);
}

TEST(ValidateOps, ReadsDecodeAttentionAndLayers) {
  const TemporaryFolder folder;
  const Outcome attention =
      run("validate ops --gpu h100-sxm --measured " +
          table(folder,
                "gpu,backend,version,kernel,kv_dtype,batch,kv_len_tokens,num_q_heads,num_kv_heads,head_dim,latency_us,"
                "kv_l2_resident\nx,y,z,w,bf16,16,32768,32,8,128,800,0\nx,y,z,w,bf16,1,32768,32,8,128,60,0\n"));
  ASSERT_EQ(attention.exit_code, 0) << attention.err;
  EXPECT_EQ(attention.json()["rows"], 1);           // 2.1 GB of KV
  EXPECT_EQ(attention.json()["rows_left_out"], 1);  // 134 MB: less than 4 x 50 MiB of L2
  const Outcome layers =
      run("validate ops --gpu rtx-4090 --measured " + table(folder,
                                                            "gpu,model,tp,layer,tokens_or_sequences_M,time_us\n"
                                                            "RTX4090,Llama-3.1-8B,1,down_proj,1,140\n"));
  ASSERT_EQ(layers.exit_code, 0) << layers.err;
  EXPECT_EQ(layers.json()["format"], "vllm_layers");
  EXPECT_EQ(layers.json()["by_regime"]["down_proj"]["rows"], 1);
}

TEST(ValidateOps, ARowLessTableHasNoErrors) {
  const TemporaryFolder folder;
  const Outcome outcome = run("validate ops --gpu h100-sxm --measured " + table(folder, kGemmHeader));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.json()["rows"], 0);
  EXPECT_TRUE(outcome.json()["mape"].is_null());
}

TEST(ValidateOps, RefusesWhatItCannotRead) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& text, const std::string& expected) {
    expect_refused("validate ops --gpu h100-sxm --measured " + table(folder, text), expected);
  };
  refused("a,b\n1,2\n", "header");
  refused(std::string(kGemmHeader) + "x,y,z,w,bf16,1,2\n", "columns");
  refused(std::string(kGemmHeader) + "x,y,z,w,bf12,1,64,64,3,0,0\n", "dtype");
  refused(std::string(kGemmHeader) + "x,y,z,w,bf16,0,64,64,3,0,0\n", ":2");
  refused(std::string(kGemmHeader) + "x,y,z,w,bf16,1,64,64,nan,0,0\n", "latency_us");
  refused("gpu,model,tp,layer,tokens_or_sequences_M,time_us\nx,gpt-9,1,down_proj,1,140\n", "gpt-9");
  refused("gpu,model,tp,layer,tokens_or_sequences_M,time_us\nx,Llama-3.1-8B,1,pooler,1,140\n", "pooler");
  expect_refused("validate ops --gpu h100-sxm --measured /nowhere.csv", "/nowhere.csv");
}

TEST(WhatIf, EveryVerbThatTakesAGpuTakesSet) {
  const std::string simulate =
      "simulate --gpu h100-sxm --llm llama-3.1-8b --policy full --context 4096 --steps 1 --json ";
  const double before = run(simulate).json()["step"]["latency_us_mean"].get<double>();
  const Outcome outcome = run(simulate + "--set hbm_bandwidth_bytes_per_s=6.7e12 --set sm_count=132");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_LT(outcome.json()["step"]["latency_us_mean"].get<double>(), 0.75 * before);
  for (const char* verb : {"simulate", "report", "serve", "plan", "validate requests", "validate ops"}) {
    EXPECT_NE(run(std::string(verb) + " --help").out.find("--set"), std::string::npos) << verb;
  }
  expect_refused(simulate + "--set hbm_speed=1", "hbm_bandwidth_bytes_per_s");
  expect_refused(simulate + "--set hbm_bandwidth_bytes_per_s", "--set");
  expect_refused(simulate + "--set hbm_bandwidth_bytes_per_s=-1", "hbm_bandwidth_bytes_per_s");
  expect_refused(simulate + "--set sm_count=1.5", "sm_count");
  expect_refused(simulate + "--set name=7", "--set");
}

TEST(Calibrate, SaysThatItNeedsAGpu) {
  if (std::system("nvidia-smi >/dev/null 2>&1") == 0) GTEST_SKIP() << "there is a GPU";
  const std::string out = (std::filesystem::path(testing::TempDir()) / "retrosim_calibrate_never").string();
#ifdef RETROSIM_WITH_CUDA
  expect_refused("calibrate --out " + out, "a CUDA GPU");
#else
  expect_refused("calibrate --out " + out, "built without CUDA");
#endif
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace retrosim::test
