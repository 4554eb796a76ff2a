// Which replica a request goes to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/serving/replica.h"
#include "sim/workload/request.h"

namespace retrosim {

/// Keeps references to its arguments.
class Router {
 public:
  Router(Routing routing, const Workload& workload, std::vector<Replica>& replicas);

  std::size_t route(std::uint32_t request);

 private:
  std::size_t least_loaded() const;
  std::size_t best_prefix(std::uint32_t request);

  Routing routing_;
  const Workload& workload_;
  std::vector<Replica>& replicas_;
  std::size_t next_ = 0;
  std::vector<std::int32_t> home_;  // [sessions]: replica of the first turn; -1: none yet
};

}  // namespace retrosim
