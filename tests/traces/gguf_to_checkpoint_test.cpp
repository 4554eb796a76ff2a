// `gguf_to_checkpoint.py tokens` as a user meets it, on a tokenizer of single bytes. Needs a Python with numpy and
// tokenizers (RETROSIM_PYTHON names one) and is skipped without.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace retrosim {
namespace {

// argv[1]: folder that gets tokenizer.json, whose tokens are the 256 byte symbols.
constexpr const char* kMakeTokenizer = R"(
import pathlib, sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
made = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.ByteLevel()
made.save(str(pathlib.Path(sys.argv[1]) / "tokenizer.json"))
)";

std::string python_with_tokenizers() {
  const char* named = std::getenv("RETROSIM_PYTHON");
  for (const std::string& candidate : {std::string(named != nullptr ? named : ""), std::string("python3")}) {
    const std::string command = candidate + " -c 'import numpy, tokenizers' 2>/dev/null";
    if (!candidate.empty() && std::system(command.c_str()) == 0) return candidate;
  }
  return "";
}

class GgufToCheckpointTokens : public testing::Test {
 protected:
  void SetUp() override {
    interpreter_ = python_with_tokenizers();
    if (interpreter_.empty()) GTEST_SKIP() << "no python3 with numpy and tokenizers; RETROSIM_PYTHON names one";
    folder_ = std::filesystem::path(testing::TempDir()) / ("retrosim_tokens_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "make.py") << kMakeTokenizer;
    std::ofstream(folder_ / "text.txt") << "ten bytes.";
    ASSERT_EQ(run((folder_ / "make.py").string() + " " + folder_.string()), 0);
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  // Exit code; what the program said goes to errors_.
  int run(const std::string& arguments) {
    const std::filesystem::path errors = folder_ / "errors";
    const int status = std::system((interpreter_ + " " + arguments + " 2>" + errors.string()).c_str());
    std::ostringstream text;
    text << std::ifstream(errors).rdbuf();
    errors_ = text.str();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int write_tokens(const std::string& flags) {
    return run(RETROSIM_SOURCE_DIR "/traces/python/gguf_to_checkpoint.py tokens " + folder_.string() + " " +
               (folder_ / "text.txt").string() + " " + out().string() + " " + flags);
  }
  std::filesystem::path out() const { return folder_ / "out.json"; }

  std::string interpreter_;
  std::filesystem::path folder_;
  std::string errors_;
};

TEST_F(GgufToCheckpointTokens, KeepsWhatIsLeftAfterTheSkippedOnes) {
  ASSERT_EQ(write_tokens("--skip-tokens 9 --max-tokens 4"), 0) << errors_;
  EXPECT_EQ(nlohmann::json::parse(std::ifstream(out())).at("tokens").size(), 1U);
}

TEST_F(GgufToCheckpointTokens, RefusesToSkipTheWholeText) {
  for (const char* skipped : {"10", "11"}) {
    EXPECT_EQ(write_tokens(std::string("--skip-tokens ") + skipped), 2);
    EXPECT_NE(errors_.find("--skip-tokens: got " + std::string(skipped) + ", expected fewer than the 10 tokens"),
              std::string::npos)
        << errors_;
    EXPECT_FALSE(std::filesystem::exists(out()));
  }
  EXPECT_EQ(write_tokens("--skip-tokens -1"), 2);
}

}  // namespace
}  // namespace retrosim
