#include <algorithm>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/top_k/top_k_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kBatch = 4;  // keys of a thread that are on their way at once
constexpr int kDigitBits = 11;
constexpr int kBins = 1 << kDigitBits;
constexpr int kMaxCandidates = kThreads;  // ranked against each other instead of by another digit
constexpr unsigned kAllLanes = 0xffffffffU;

/// A key that orders as the float does; -0 and 0 are one.
__device__ inline std::uint32_t ordered_key(float score) {
  const std::uint32_t bits = __float_as_uint(score + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

struct Shared {
  alignas(16) int bins[kBins];
  std::uint32_t candidates[kMaxCandidates];
  std::uint32_t low[kWarps];
  std::uint32_t high[kWarps];
  int warp_sums[kWarps];
  int above;      // keys in bins above the threshold's bin
  int bin;        // the threshold's bin
  int bin_count;  // keys in it
  int num_candidates;
  std::uint32_t threshold;
  int equal_taken;  // of the keys equal to the threshold, those of the lowest ids
};

__device__ inline void clear_bins(Shared& shared) {
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) shared.bins[i] = 0;
}

/// The float that `ordered_key` was made of.
__device__ inline float value_of(std::uint32_t key) {
  return __uint_as_float((key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key);
}

/// Counts the keys' bins, then finds the bin of the `wanted`-th largest key: shared.bin, shared.above and
/// shared.bin_count. bin(key) is monotone and below kBins; keys without one have bin -1. Expects cleared bins.
template <class Key, class Bin>
__device__ void find_bin(Shared& shared, int count, int wanted, Key&& key, Bin&& bin) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread & 31;
  const int warp = thread >> 5;
  for (int i = thread; i < count; i += kThreads) {
    const int b = bin(key(i));
    if (b >= 0) atomicAdd(&shared.bins[b], 1);
  }
  __syncthreads();
  // Each thread takes a run of four bins, the first thread the highest.
  static_assert(kBins == 4 * kThreads);
  const int4 run = reinterpret_cast<const int4*>(shared.bins)[kThreads - 1 - thread];
  const int own = run.x + run.y + run.z + run.w;
  int inclusive = own;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const int from = __shfl_up_sync(kAllLanes, inclusive, offset);
    if (lane >= offset) inclusive += from;
  }
  if (lane == 31) shared.warp_sums[warp] = inclusive;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < kWarps; ++w) inclusive += w < warp ? shared.warp_sums[w] : 0;
  if (inclusive >= wanted && inclusive - own < wanted) {
    int above = inclusive - own;
    int b = kBins - 1 - thread * 4;
    while (above + shared.bins[b] < wanted) above += shared.bins[b--];
    shared.above = above;
    shared.bin = b;
    shared.bin_count = shared.bins[b];
    shared.num_candidates = 0;
  }
  __syncthreads();
}

/// Ranks the at most kMaxCandidates keys for which is_candidate(key) against each other.
template <class Key, class Predicate>
__device__ void rank_candidates(Shared& shared, int count, int wanted, Key&& key, Predicate&& is_candidate) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < count; i += kThreads) {
    const std::uint32_t k = key(i);
    if (is_candidate(k)) shared.candidates[atomicAdd(&shared.num_candidates, 1)] = k;
  }
  __syncthreads();
  const int candidates = shared.num_candidates;
  if (thread < candidates) {
    const std::uint32_t mine = shared.candidates[thread];
    int greater = 0;
    int equal = 0;
    for (int i = 0; i < candidates; ++i) {
      greater += shared.candidates[i] > mine ? 1 : 0;
      equal += shared.candidates[i] == mine ? 1 : 0;
    }
    if (greater < wanted && greater + equal >= wanted) {  // equal candidates write the same
      shared.threshold = mine;
      shared.equal_taken = wanted - greater;
    }
  }
  __syncthreads();
}

/// The smallest and largest of all threads' values, in every thread.
__device__ inline void block_range(Shared& shared, std::uint32_t& low, std::uint32_t& high) {
  low = __reduce_min_sync(kAllLanes, low);
  high = __reduce_max_sync(kAllLanes, high);
  if (threadIdx.x % 32 == 0) {
    shared.low[threadIdx.x / 32] = low;
    shared.high[threadIdx.x / 32] = high;
  }
  __syncthreads();
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    low = min(low, shared.low[w]);
    high = max(high, shared.high[w]);
  }
}

/// The last of the `wanted` largest keys, all within [low, high]. First by bins of equal width in value, which spread
/// scores evenly; if one bin holds too many to rank, or the range is not finite, by 11-bit digits of the keys' range.
template <class Key>
__device__ void find_threshold(Shared& shared, int count, int wanted, std::uint32_t low, std::uint32_t high,
                               Key&& key) {
  const float lowest = value_of(low);
  const float scale = static_cast<float>(kBins) / (value_of(high) - lowest);
  if (isfinite(scale) && scale > 0) {
    const auto bin = [&](std::uint32_t k) {
      return min(kBins - 1, static_cast<int>((value_of(k) - lowest) * scale));  // monotone: so is each rounding
    };
    find_bin(shared, count, wanted, key, bin);
    const int found = shared.bin;
    wanted -= shared.above;
    const auto in_bin = [&](std::uint32_t k) { return bin(k) == found; };
    if (shared.bin_count <= kMaxCandidates) {
      rank_candidates(shared, count, wanted, key, in_bin);
      return;
    }
    low = 0xffffffffU;
    high = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
      const std::uint32_t k = key(i);
      if (!in_bin(k)) continue;
      low = min(low, k);
      high = max(high, k);
    }
    clear_bins(shared);
    block_range(shared, low, high);
  }
  std::uint32_t base = low;
  std::uint32_t last = high;  // of the keys with this prefix
  int shift = max(0, 32 - __clz(static_cast<int>(high - low)) - kDigitBits);
  while (true) {
    find_bin(shared, count, wanted, key,
             [&](std::uint32_t k) { return k >= base && k <= last ? static_cast<int>((k - base) >> shift) : -1; });
    wanted -= shared.above;
    base += static_cast<std::uint32_t>(shared.bin) << shift;
    last = base + ((1U << shift) - 1);
    if (shift == 0) break;
    if (shared.bin_count <= kMaxCandidates) {
      rank_candidates(shared, count, wanted, key, [&](std::uint32_t k) { return k >= base && k <= last; });
      return;
    }
    shift = max(0, shift - kDigitBits);
    __syncthreads();
    clear_bins(shared);
    __syncthreads();
  }
  if (threadIdx.x == 0) {  // one value, of which the first `wanted`
    shared.threshold = base;
    shared.equal_taken = wanted;
  }
  __syncthreads();
}

/// Writes the last page and the best `total - 1` of the others, ascending. Keys are kept in shared memory if InShared,
/// else made again from global memory.
template <bool InShared>
__device__ void select_best(Shared& shared, std::uint32_t* keys, const float* scores, int pages, int total,
                            std::int32_t* selected) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread & 31;
  const int warp = thread >> 5;
  const int others = pages - 1;  // the last page is always selected
  const int wanted = total - 1;
  if (thread == 0) selected[total - 1] = pages - 1;
  if (wanted <= 0) return;
  if (wanted >= others) {
    for (int i = thread; i < others; i += kThreads) selected[i] = i;
    return;
  }

  std::uint32_t low = 0xffffffffU;
  std::uint32_t high = 0;
  for (int i = thread; i < others; i += kBatch * kThreads) {
    float score[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) score[j] = scores[min(i + j * kThreads, others - 1)];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const std::uint32_t k = ordered_key(score[j]);
      if (InShared && i + j * kThreads < others) keys[i + j * kThreads] = k;
      low = min(low, k);
      high = max(high, k);
    }
  }
  block_range(shared, low, high);
  const auto key = [&](int i) { return InShared ? keys[i] : ordered_key(scores[i]); };
  find_threshold(shared, others, wanted, low, high, key);

  // In ascending order: each warp takes a contiguous share and counts it, then writes at its offset.
  const std::uint32_t threshold = shared.threshold;
  const int equal_taken = shared.equal_taken;
  const int share = ((others + kThreads - 1) / kThreads) * 32;
  const int begin = min(others, warp * share);
  const int end = min(others, begin + share);
  int greater = 0;
  int equal = 0;
  for (int base = begin; base < end; base += 32) {
    const int i = base + lane;
    const std::uint32_t k = i < end ? key(i) : 0;
    greater += __popc(__ballot_sync(kAllLanes, i < end && k > threshold));
    equal += __popc(__ballot_sync(kAllLanes, i < end && k == threshold));
  }
  if (lane == 0) {
    shared.low[warp] = static_cast<std::uint32_t>(greater);
    shared.high[warp] = static_cast<std::uint32_t>(equal);
  }
  __syncthreads();
  greater = 0;
  equal = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    greater += w < warp ? static_cast<int>(shared.low[w]) : 0;
    equal += w < warp ? static_cast<int>(shared.high[w]) : 0;
  }
  for (int base = begin; base < end; base += 32) {
    const int i = base + lane;
    const std::uint32_t k = i < end ? key(i) : 0;
    const bool is_greater = i < end && k > threshold;
    const bool is_equal = i < end && k == threshold;
    const unsigned greater_mask = __ballot_sync(kAllLanes, is_greater);
    const unsigned equal_mask = __ballot_sync(kAllLanes, is_equal);
    const unsigned below = (1U << lane) - 1;
    const int equal_before = equal + __popc(equal_mask & below);
    if (is_greater || (is_equal && equal_before < equal_taken)) {
      selected[greater + __popc(greater_mask & below) + min(equal_before, equal_taken)] = i;
    }
    greater += __popc(greater_mask);
    equal += __popc(equal_mask);
  }
}

/// One block per (list, sequence).
template <bool InShared>
__global__ void __launch_bounds__(kThreads) top_k_kernel(const TopKArgs args) {
  __shared__ Shared shared;
  extern __shared__ std::uint32_t keys[];
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t sequence = blockIdx.y;
  const std::int64_t row = sequence * args.lists_per_sequence + blockIdx.x;
  std::int32_t* selected = args.selected + row * args.k_max;

  const int context = args.table.context_lens[sequence];
  const int page_size = static_cast<int>(args.page_size);
  const int pages = (context + page_size - 1) / page_size;
  const int total = min(args.k[sequence], pages);
  // The schedule is nobody's output: the thread's page is on its way from here on.
  const DeviceSchedule& schedule = args.schedule;
  const std::int32_t* scheduled = nullptr;
  int scheduled_count = 0;
  int scheduled_page = 0;
  if (schedule.pages != nullptr) {
    const std::int64_t step = context - schedule.first_context;
    if (step < 0 || step >= schedule.num_steps) __trap();
    const std::int64_t scheduled_row = step * gridDim.y * gridDim.x + row;
    scheduled = schedule.pages + scheduled_row * schedule.k_max;
    scheduled_count = schedule.counts[scheduled_row];
    if (thread < schedule.k_max) scheduled_page = scheduled[thread];
  }
  clear_bins(shared);
  wait_for_previous_kernel();
  allow_next_kernel();
  if (thread == 0) args.counts[row] = scheduled != nullptr ? scheduled_count : total;
  select_best<InShared>(shared, keys, args.scores + row * args.table.max_pages, pages, total, selected);
  if (scheduled == nullptr) return;
  __syncthreads();
  if (thread < scheduled_count) selected[thread] = scheduled_page;
  for (int i = thread + kThreads; i < scheduled_count; i += kThreads) selected[i] = scheduled[i];
}

}  // namespace

void select_top_k(const TopKArgs& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(args.lists_per_sequence), static_cast<unsigned>(args.table.batch));
  const std::size_t bytes = static_cast<std::size_t>(args.table.max_pages) * 4;
  static const int per_block = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  if (bytes + sizeof(Shared) + 1024 <= static_cast<std::size_t>(per_block)) {
    RETROSIM_CUDA_CHECK(cudaFuncSetAttribute(top_k_kernel<true>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             per_block - static_cast<int>(sizeof(Shared)) - 1024));
    launch(top_k_kernel<true>, grid, dim3(kThreads), bytes, stream, args);
  } else {
    launch(top_k_kernel<false>, grid, dim3(kThreads), 0, stream, args);
  }
}

}  // namespace retrosim::kernels::cuda
