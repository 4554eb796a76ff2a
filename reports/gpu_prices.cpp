#include "reports/gpu_prices.h"

#include <charconv>

#include "model/error.h"

namespace retrosim {

std::map<std::string, GpuPrice> gpu_prices(const std::vector<std::string>& overrides) {
  const std::string source =
      "default: middle of the on-demand range of specialised clouds, May 2026 (mercatus-ai.com/blog/cloud-gpu-pricing)";
  std::map<std::string, GpuPrice> prices{
      {"a100-sxm", {1.30, source}}, {"h100-sxm", {3.00, source}}, {"h200-sxm", {4.00, source}}};
  for (const std::string& text : overrides) {
    const std::size_t equals = text.find('=');
    double price = 0;
    bool valid = equals != std::string::npos && equals > 0;
    if (valid) {
      const char* last = text.data() + text.size();
      const auto [end, code] = std::from_chars(text.data() + equals + 1, last, price);
      valid = code == std::errc{} && end == last && price > 0 && price < 1e6;
    }
    if (!valid) throw InputError("", "--gpu-price", text, "GPU=USD_PER_HOUR, e.g. h100-sxm=2.5");
    prices[text.substr(0, equals)] = {price, "given"};
  }
  return prices;
}

}  // namespace retrosim
