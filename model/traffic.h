// Bytes that one operation moves, by memory and by what they are.
#pragma once

#include <cstdint>

namespace retrosim {

/// All members are bytes. Reads and writes of HBM count every byte that the operation asks of device memory once,
/// whatever the L2 cache may absorb; pricing decides what a cache saves.
struct Traffic {
  std::int64_t kv_read = 0;            // keys and values of loaded pages
  std::int64_t summary_read = 0;       // page minima/maxima, and keys read again to recompute them
  std::int64_t weight_read = 0;        // model weights
  std::int64_t output_cache_read = 0;  // RetroAttention's cached outputs and log-sum-exps
  std::int64_t other_read = 0;         // activations, page tables, scores, partial results
  std::int64_t kv_write = 0;           // appended and overwritten keys and values
  std::int64_t summary_write = 0;
  std::int64_t output_cache_write = 0;
  std::int64_t other_write = 0;
  std::int64_t host_to_device = 0;  // over PCIe
  std::int64_t device_to_host = 0;  // over PCIe
  std::int64_t interconnect = 0;    // sent per GPU over NVLink (or the node's GPU-to-GPU link)
  std::int64_t host_memory = 0;     // read or written by the CPU in its own memory

  constexpr std::int64_t hbm_read() const {
    return kv_read + summary_read + weight_read + output_cache_read + other_read;
  }
  constexpr std::int64_t hbm_write() const { return kv_write + summary_write + output_cache_write + other_write; }
  constexpr std::int64_t hbm() const { return hbm_read() + hbm_write(); }

  constexpr Traffic& operator+=(const Traffic& o) {
    kv_read += o.kv_read;
    summary_read += o.summary_read;
    weight_read += o.weight_read;
    output_cache_read += o.output_cache_read;
    other_read += o.other_read;
    kv_write += o.kv_write;
    summary_write += o.summary_write;
    output_cache_write += o.output_cache_write;
    other_write += o.other_write;
    host_to_device += o.host_to_device;
    device_to_host += o.device_to_host;
    interconnect += o.interconnect;
    host_memory += o.host_memory;
    return *this;
  }
  friend constexpr bool operator==(const Traffic&, const Traffic&) = default;
};

}  // namespace retrosim
