// Data that leaves the GPU, and work on the host.
#pragma once

#include <cstdint>

#include "model/traffic.h"

namespace retrosim {

/// Sum of `message_bytes` over `num_gpus` GPUs of one node, result on all.
struct AllReduceShape {
  std::int64_t message_bytes = 0;
  int num_gpus = 1;

  Traffic bytes_moved() const {
    // Ring: each GPU sends 2 (g-1)/g of the message; HBM sees the message read and written once.
    return {.other_read = message_bytes,
            .other_write = message_bytes,
            .interconnect = num_gpus > 1 ? 2 * message_bytes * (num_gpus - 1) / num_gpus : 0};
  }
  double flops() const { return num_gpus > 1 ? static_cast<double>(message_bytes) / 2.0 : 0.0; }
};

/// `transfers` copies of `bytes` bytes in all from host memory to the GPU.
struct HostToDeviceShape {
  std::int64_t bytes = 0;
  std::int64_t transfers = 1;
  bool in_one_batch = false;  // handed to the copy engine together, instead of one after the other

  Traffic bytes_moved() const { return {.other_write = bytes, .host_to_device = bytes, .host_memory = bytes}; }
  double flops() const { return 0; }
};

/// `transfers` copies of `bytes` bytes in all from the GPU to host memory.
struct DeviceToHostShape {
  std::int64_t bytes = 0;
  std::int64_t transfers = 1;

  Traffic bytes_moved() const { return {.other_read = bytes, .device_to_host = bytes, .host_memory = bytes}; }
  double flops() const { return 0; }
};

/// Work of the CPU: bytes it streams through its memory and floating-point operations it does.
struct HostComputeShape {
  std::int64_t bytes = 0;
  double operations = 0;
  double bandwidth_share = 1;  // of the host's streaming bandwidth that its accesses reach

  Traffic bytes_moved() const { return {.host_memory = bytes}; }
  double flops() const { return operations; }
};

}  // namespace retrosim
