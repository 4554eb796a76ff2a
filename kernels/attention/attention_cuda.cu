#include <cmath>
#include <string>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/paged_attention_kernels.h"
#include "kernels/attention_merge/attention_merge_cuda.h"
#include "model/attention_splits.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {

namespace {

constexpr int kLeadingWarps = kMaxSharers;
constexpr int kMaxRowTiles = 4;   // per block
constexpr int kMergingWarps = 8;  // of a block that merges rows of several splits: four for each of a pair
// In flight per leading warp, eight of which share an SM. More is slower: requests queue, and a block whose tiles come
// last ends last.
constexpr int kBytesInFlight = 8192;
// With followers, which may lag behind.
constexpr int kMinStages = 3;
constexpr int kTilesInFlight = 24;

/// cuTensorMapEncodeTiled without linking the driver's library.
using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

EncodeTiled encode_tiled() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  RETROSIM_CUDA_CHECK(
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found));
  if (found != cudaDriverEntryPointSuccess) throw std::runtime_error("the driver has no cuTensorMapEncodeTiled");
  return reinterpret_cast<EncodeTiled>(function);
}

/// The cache as [eight-token blocks][segments][8 tokens][row]: boxes of whole blocks, as KvTile lays them out.
CUtensorMap describe_cache(const DeviceKvCache& cache) {
  const auto element = static_cast<std::uint64_t>(bits_of(cache.dtype) / 8);
  const std::uint64_t token_bytes = static_cast<std::uint64_t>(cache.shape.head_dim) * element;
  const std::uint64_t row_bytes = std::min<std::uint64_t>(128, token_bytes);
  const std::uint64_t segments = token_bytes / row_bytes;
  const cuuint64_t sizes[4] = {row_bytes / element, 8, segments,
                               static_cast<std::uint64_t>(cache.shape.kv_size()) / 8 / cache.shape.head_dim};
  const cuuint64_t strides[3] = {token_bytes, row_bytes, 8 * token_bytes};
  const int blocks = cache.shape.page_size == kTileTokens ? 4 : cache.shape.page_size > kTileTokens ? 2 : 1;
  const cuuint32_t box[4] = {static_cast<cuuint32_t>(row_bytes / element), 8, static_cast<cuuint32_t>(segments),
                             static_cast<cuuint32_t>(blocks)};
  const cuuint32_t unit[4] = {1, 1, 1, 1};
  CUtensorMap map{};
  const CUresult result =
      encode_tiled()(&map, element == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8, 4,
                     cache.data, sizes, strides, box, unit, CU_TENSOR_MAP_INTERLEAVE_NONE,
                     row_bytes == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B,
                     CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw std::runtime_error("cuTensorMapEncodeTiled failed with code " + std::to_string(static_cast<int>(result)));
  }
  return map;
}

AttentionKernel kernel_for(const DeviceKvCache& cache, KvLoader loader) {
  const auto of_type = [&]<class Kv>() {
    switch (cache.shape.head_dim) {
      case 64: return attention_kernel<Kv, 64>(loader);
      case 128: return attention_kernel<Kv, 128>(loader);
      default: return attention_kernel<Kv, 256>(loader);
    }
  };
  return cache.dtype == DType::bf16 ? of_type.operator()<__nv_bfloat16>() : of_type.operator()<__nv_fp8_e4m3>();
}

}  // namespace

AttentionKernelParams attention_params(const DeviceKvCache& cache, const PagedAttentionArgs& args) {
  const auto number = [](std::int64_t value) { return static_cast<int>(value); };
  AttentionKernelParams p{};
  p.q = args.q;
  p.kv = static_cast<const char*>(cache.data);
  p.page_table = args.table.physical;
  p.context_lens = args.table.context_lens;
  p.num_rows = args.num_rows;
  p.selected = args.selected;
  p.counts = args.counts;
  p.expected_counts = args.expected_counts;
  p.last_loaded = args.last_loaded;
  p.partial_values = args.partials.values;
  p.partial_lse = args.partials.lse;
  p.max_pages = number(args.table.max_pages);
  p.k_max = number(args.k_max);
  p.window = number(args.window);
  p.num_q_heads = number(args.num_q_heads);
  p.num_kv_heads = number(cache.shape.num_kv_heads);
  p.num_lists = number(args.selected != nullptr ? args.num_lists : cache.shape.num_kv_heads);
  p.group = p.num_q_heads / p.num_lists;
  p.inverse_group = (65536 + p.group - 1) / p.group;
  p.page_size = number(cache.shape.page_size);
  while ((1 << p.page_shift) < p.page_size) ++p.page_shift;
  p.num_splits = number(args.num_splits);
  p.row_blocks = 1;
  p.sliding_window = args.selected != nullptr ? 0 : number(args.sliding_window);
  p.masked = args.masked;
  p.early_queries = args.early_queries;
  p.scale_log2 = cache.k_scale * 1.44269504088896341F / std::sqrt(static_cast<float>(cache.shape.head_dim));
  p.v_scale = cache.v_scale;
  return p;
}

PagedAttention::PagedAttention(const DeviceKvCache& cache, AttentionTuning tuning) : cache_(cache), tuning_(tuning) {
  const KvShape& shape = cache.shape;
  if (shape.head_dim != 64 && shape.head_dim != 128 && shape.head_dim != 256) {
    throw InputError("", "head_dim", std::to_string(shape.head_dim), "64, 128 or 256");
  }
  if (shape.page_size < 8 || shape.page_size > 128 || (shape.page_size & (shape.page_size - 1)) != 0) {
    throw InputError("", "page_size", std::to_string(shape.page_size), "a power of two in [8, 128]");
  }
  if (cache.dtype != DType::bf16 && cache.dtype != DType::fp8_e4m3 && cache.dtype != DType::f32) {
    throw InputError("", "kv_cache_dtype", std::string(name_of(cache.dtype)), "bfloat16, fp8 or float32");
  }
  if (device_attribute(cudaDevAttrComputeCapabilityMajor) < 9) tuning_.loader = KvLoader::async_copy;
  if (cache.dtype != DType::f32 && tuning_.loader == KvLoader::bulk_tensor) tensor_map_ = describe_cache(cache);
}

int PagedAttention::share_out_warps(AttentionKernelParams& p, int row_tiles, int batch,
                                    const AttentionKernel& kernel) const {
  const int most = max_attention_warps(static_cast<int>(cache_.shape.head_dim));
  p.row_blocks = (row_tiles + kMaxRowTiles - 1) / kMaxRowTiles;
  p.row_tiles = (row_tiles + p.row_blocks - 1) / p.row_blocks;
  const int further = p.row_tiles - 1;
  if (further > 0 && (p.selected == nullptr || p.masked)) {  // every row tile needs every tile of keys
    p.leading = p.following = std::min(kLeadingWarps, most / p.row_tiles);
    return 1;
  }
  // A third of the warps, rounded up to be the same for each, follow: pages that older rows have not seen lie together.
  const auto share_out = [&](int warps, int most_leading) {
    p.following = further > 0 ? (warps / 3 + further - 1) / further : 1;
    p.leading = std::min(most_leading, warps - further * p.following);
  };
  // One block per SM; where there are more, two smaller ones, so that they all start at once.
  static const int sms = device_attribute(cudaDevAttrMultiProcessorCount);
  const bool crowded = p.num_splits * p.num_lists * p.row_blocks * batch > sms;
  if (crowded) {
    cudaFuncAttributes attributes{};
    RETROSIM_CUDA_CHECK(cudaFuncGetAttributes(&attributes, kernel.function));
    const int registers = (attributes.numRegs + 7) / 8 * 8 * 32;  // of a warp
    share_out(std::min(most, 65536 / 2 / registers), kLeadingWarps / 2);
  }
  if (!crowded || p.leading < kLeadingWarps / 2 - 1) share_out(most, kLeadingWarps);
  if (tuning_.warps > 0) p.leading = std::min(tuning_.warps, most - further * p.following);
  return tuning_.blocks_per_sm > 0 ? tuning_.blocks_per_sm : p.leading <= kLeadingWarps / 2 ? 2 : 1;
}

void PagedAttention::launch(const PagedAttentionArgs& args, cudaStream_t stream) const {
  AttentionKernelParams p = attention_params(cache_, args);
  launch(p, static_cast<int>(args.table.batch), stream);
}

bool PagedAttention::merges_in_one_kernel(const PagedAttentionArgs& args) const {
  const std::int64_t lists = args.selected != nullptr ? args.num_lists : cache_.shape.num_kv_heads;
  static const int sms = device_attribute(cudaDevAttrMultiProcessorCount);
  return attention_can_merge(cache_.dtype, args.window * (args.num_q_heads / lists), lists * args.table.batch,
                             args.num_splits, sms);
}

void PagedAttention::launch_with_merge(const PagedAttentionArgs& args, const AttentionMergeArgs& merge,
                                       const AttentionPartials& exchange, cudaStream_t stream) const {
  AttentionKernelParams p = attention_params(cache_, args);
  p.partial_values = exchange.values;
  p.partial_lse = exchange.lse;
  p.rows_out = {.out = static_cast<__nv_bfloat16*>(merge.out),
                .lse = merge.lse,
                .cache_values = static_cast<__nv_bfloat16*>(merge.cache_values),
                .cache_lse = merge.cache_lse,
                .last_loaded = merge.last_loaded,
                .slots = static_cast<int>(merge.slots)};
  if (merges_in_one_kernel(args) && launch(p, static_cast<int>(args.table.batch), stream)) return;
  launch(args, stream);
  merge_attention(merge, stream);
}

bool PagedAttention::launch(AttentionKernelParams& p, int batch, cudaStream_t stream) const {
  if (cache_.dtype == DType::f32) {
    launch_attention_f32(p, static_cast<int>(cache_.shape.head_dim), batch, stream);
    return true;
  }
  const int rows = p.window * p.group;
  if (rows > 256) throw InputError("", "window * query group", std::to_string(rows), "at most 256");
  const AttentionKernel kernel = kernel_for(cache_, tuning_.loader);
  const int head_dim = static_cast<int>(cache_.shape.head_dim);
  const int blocks_per_sm = share_out_warps(p, (rows + 15) / 16, batch, kernel);
  const int warps = p.leading + (p.row_tiles - 1) * p.following;
  if (p.rows_out.out != nullptr && p.num_splits > 1 && warps < kMergingWarps) return false;

  const int fixed_bytes = 1024 + p.row_tiles * kernel.query_tile_bytes;
  const int slot_bytes = kernel.tile_bytes + 16 + 8 + 8;  // a tile, its entry and two barriers
  static const int per_sm = device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  static const int per_block = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const int available = std::min(per_block, per_sm / blocks_per_sm - 1024);
  p.stages = std::min((available - fixed_bytes) / (p.leading * slot_bytes), 32);
  const int wanted = p.row_tiles > 1 ? std::max(kMinStages, kTilesInFlight / p.leading / blocks_per_sm)
                                     : std::max(1, kBytesInFlight / kernel.tile_bytes);
  p.stages = std::min(p.stages, tuning_.stages > 0 ? tuning_.stages : wanted);
  const int slots = p.leading * p.stages;
  const int bytes = fixed_bytes + slots * (slot_bytes - kernel.tile_bytes) +
                    std::max(slots * kernel.tile_bytes, merge_bytes(warps, head_dim));
  if (p.stages < 1 || bytes > per_block) {
    throw InputError("", "window * query group", std::to_string(rows), "rows whose tiles fit in shared memory");
  }
  RETROSIM_CUDA_CHECK(cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  const dim3 grid(p.num_splits, p.num_lists * p.row_blocks, batch);
  cuda::launch(kernel.function, grid, dim3(warps * 32), bytes, stream, tensor_map_, p);
  return true;
}

}  // namespace retrosim::kernels::cuda
