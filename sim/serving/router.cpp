#include "sim/serving/router.h"

#include <algorithm>

namespace retrosim {

Router::Router(Routing routing, const Workload& workload, std::vector<Replica>& replicas)
    : routing_(routing),
      workload_(workload),
      replicas_(replicas),
      home_(static_cast<std::size_t>(workload.sessions), -1) {}

std::size_t Router::least_loaded() const {
  const auto less = [](const Replica& a, const Replica& b) { return a.load() < b.load(); };
  return static_cast<std::size_t>(std::min_element(replicas_.begin(), replicas_.end(), less) - replicas_.begin());
}

/// The replica with the longest cached prefix, among equals the least loaded.
std::size_t Router::best_prefix(std::uint32_t request) {
  std::size_t best = 0;
  std::int64_t most = -1;
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    const std::int64_t pages = replicas_[i].cached_pages(request);
    if (pages > most || (pages == most && replicas_[i].load() < replicas_[best].load())) {
      best = i;
      most = pages;
    }
  }
  return best;
}

std::size_t Router::route(std::uint32_t request) {
  switch (routing_) {
    case Routing::round_robin: return next_++ % replicas_.size();
    case Routing::least_loaded: return least_loaded();
    case Routing::prefix_aware: return best_prefix(request);
    case Routing::session_affinity: break;
  }
  const std::int32_t session = workload_.requests[request].session;
  if (session < 0) return least_loaded();
  std::int32_t& home = home_[static_cast<std::size_t>(session)];
  if (home < 0) home = static_cast<std::int32_t>(least_loaded());
  return static_cast<std::size_t>(home);
}

}  // namespace retrosim
