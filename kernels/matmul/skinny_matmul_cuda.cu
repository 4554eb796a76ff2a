#include <stdexcept>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/matmul/skinny_matmul_cuda.h"
#include "model/error.h"

namespace retrosim::kernels::cuda {
namespace {

constexpr int kWarps = 8;  // that multiply; one more copies
constexpr int kThreads = (kWarps + 1) * 32;
constexpr int kStageColumns = kFewRowStageColumns;  // 64 per warp: two chunks of 32 columns, two mma each
constexpr int kStageBytes = 16384;                  // 16 rows x 512 columns, bf16
// Stages in shared memory: 128 KiB, so that no two products share an SM. Where two did, early blocks of the next one
// doubled up on the SMs that were free first, and the others idled.
constexpr int kRing = 8;
constexpr int kMaxStages = kFewRowMaxStages;  // per unit: its part of X stays in registers
constexpr int kColumnStride = 20;             // floats between columns of a partial tile: no bank conflicts

template <int kColumnTiles>
struct Shared {
  alignas(128) unsigned char ring[kRing][kStageBytes];
  // [2 buffers, warp, row of X, row of W]
  float sums[2][kWarps][8 * kColumnTiles][kColumnStride];
  alignas(8) std::uint64_t full[kRing];
  std::uint64_t empty[kRing];
};

struct Parameters {
  int n, k, units, tiles;
  std::int64_t x_row_stride, prefetch_bytes;
  int rows, stages;
  const __nv_bfloat16* x;
  const unsigned char* packed;
  const __nv_bfloat16* bias;
  __nv_bfloat16* y;
  float* partials;
  const unsigned char* next_packed;
  int next_units, next_stages, next_blocks;
  std::int64_t next_prefetch_bytes;
};

int blocks_of(const SkinnyPlan& plan, int sm_count) {
  return static_cast<int>(few_row_cut(plan.n, plan.k).blocks(sm_count));
}

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void mma(float (&acc)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

// First unit of a block; that of the block after it ends its share.
__device__ __forceinline__ int share(int block, int units, int blocks) {
  return static_cast<int>(static_cast<std::int64_t>(block) * units / blocks);
}

#if __CUDA_ARCH__ >= 900
__device__ __forceinline__ void wait_barrier(std::uint64_t* barrier, std::uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra DONE;\n"
      "bra AGAIN;\nDONE:\n}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

__device__ __forceinline__ void prefetch(const unsigned char* data, std::int64_t bytes) {
  for (std::int64_t at = 0; at < bytes; at += kStageBytes) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(data + at), "r"(kStageBytes) : "memory");
  }
}

// Streams the block's weights through the ring; run by one thread.
template <typename SharedT>
__device__ void copy_weights(SharedT& shared, const Parameters& p, int first, int stages_in_all) {
  std::uint64_t policy;  // weights are used once: do not push activations and summaries out of L2
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  const unsigned char* source = p.packed + static_cast<std::int64_t>(first) * p.stages * kStageBytes;
  for (int i = 0; i < stages_in_all; ++i) {
    const int slot = i % kRing;
    if (i >= kRing) wait_barrier(&shared.empty[slot], static_cast<std::uint32_t>((i / kRing - 1) & 1));
    const std::uint32_t full = shared_address(&shared.full[slot]);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(full), "r"(kStageBytes) : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::
            "r"(shared_address(shared.ring[slot])),
        "l"(source + static_cast<std::int64_t>(i) * kStageBytes), "r"(kStageBytes), "r"(full), "l"(policy)
        : "memory");
    if (i == kRing - 1) {
      const std::int64_t left = static_cast<std::int64_t>(stages_in_all - kRing) * kStageBytes;
      prefetch(source + kRing * kStageBytes, min(left, p.prefetch_bytes));
    }
  }
  for (int block = static_cast<int>(blockIdx.x); block < p.next_blocks; block += static_cast<int>(gridDim.x)) {
    const int begin = share(block, p.next_units, p.next_blocks);
    const std::int64_t in_all =
        static_cast<std::int64_t>(share(block + 1, p.next_units, p.next_blocks) - begin) * p.next_stages * kStageBytes;
    prefetch(p.next_packed + static_cast<std::int64_t>(begin) * p.next_stages * kStageBytes + kRing * kStageBytes,
             min(in_all - kRing * kStageBytes, p.next_prefetch_bytes));
  }
}
#endif

// X's part of one unit in registers, as B fragments: lane (4 g + c) holds, per chunk of 32 columns, columns 8 c .. 8 c
// + 7 of rows g, g + 8, ...; the packing of the weights permutes the columns within a chunk to match.
template <int kColumnTiles>
__device__ __forceinline__ void load_x(uint4 (&x)[kColumnTiles][2 * kMaxStages], const Parameters& p, int split,
                                       int warp, int lane) {
  const int c = lane & 3;
#pragma unroll
  for (int chunk = 0; chunk < 2 * kMaxStages; ++chunk) {
    const int stage = chunk / 2;
    const int column = (split * p.stages + stage) * kStageColumns + warp * 64 + (chunk & 1) * 32 + c * 8;
#pragma unroll
    for (int tile = 0; tile < kColumnTiles; ++tile) {
      const int row = lane / 4 + 8 * tile;
      x[tile][chunk] = make_uint4(0, 0, 0, 0);
      if (stage < p.stages && column < p.k && row < p.rows) {
        x[tile][chunk] = __ldcg(reinterpret_cast<const uint4*>(p.x + row * p.x_row_stride + column));
      }
    }
  }
}

template <int kColumnTiles>
__global__ void __launch_bounds__(kThreads, kColumnTiles == 1 ? 2 : 1) skinny_matmul_kernel(const Parameters p) {
  // No integer arithmetic on its address: the compiler must know that this is shared memory.
  extern __shared__ __align__(128) unsigned char raw[];
  auto& shared = *reinterpret_cast<Shared<kColumnTiles>*>(raw);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first = share(static_cast<int>(blockIdx.x), p.units, static_cast<int>(gridDim.x));
  const int end = share(static_cast<int>(blockIdx.x) + 1, p.units, static_cast<int>(gridDim.x));

#if __CUDA_ARCH__ >= 900
  if (threadIdx.x == kWarps * 32) {
    for (int i = 0; i < kRing; ++i) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&shared.full[i])) : "memory");
      asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&shared.empty[i])), "r"(kWarps)
                   : "memory");
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  allow_next_kernel();
  if (warp == kWarps) {
    if (lane == 0) copy_weights(shared, p, first, (end - first) * p.stages);
    return;
  }
#else
  allow_next_kernel();
  if (warp == kWarps) return;
  const unsigned char* stream =
      p.packed + static_cast<std::int64_t>(first) * p.stages * kStageBytes + warp * 2048 + lane * 16;
#endif

  wait_for_previous_kernel();
  uint4 x[kColumnTiles][2 * kMaxStages];
  int split = -1;
  int slot = 0;
  [[maybe_unused]] std::uint32_t parity = 0;
  for (int unit = first; unit < end; ++unit) {
    const int unit_split = unit / p.tiles;
    if (unit_split != split) {
      split = unit_split;
      load_x<kColumnTiles>(x, p, split, warp, lane);
    }
    float acc[kColumnTiles][4] = {};
#pragma unroll
    for (int stage = 0; stage < kMaxStages; ++stage) {
      if (stage >= p.stages) break;
      uint4 a[4];
#if __CUDA_ARCH__ >= 900
      wait_barrier(&shared.full[slot], parity);
      __syncwarp();  // lanes may leave the wait one by one
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = *reinterpret_cast<const uint4*>(&shared.ring[slot][warp * 2048 + i * 512 + lane * 16]);
      }
#else
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = __ldcs(reinterpret_cast<const uint4*>(stream + i * 512));
      stream += kStageBytes;
#endif
#pragma unroll
      for (int tile = 0; tile < kColumnTiles; ++tile) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const uint4& b = x[tile][2 * stage + half];
          mma(acc[tile], a[2 * half], b.x, b.y);
          mma(acc[tile], a[2 * half + 1], b.z, b.w);
        }
      }
#if __CUDA_ARCH__ >= 900
      __syncwarp();
      if (lane == 0) {
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&shared.empty[slot])) : "memory");
      }
      if (++slot == kRing) {
        slot = 0;
        parity ^= 1;
      }
#endif
    }

    // Adds the warps' shares of the columns. Two buffers: one barrier per unit is enough.
    auto& sums = shared.sums[(unit - first) & 1];
#pragma unroll
    for (int tile = 0; tile < kColumnTiles; ++tile) {
      const int row = 8 * tile + 2 * (lane & 3);
      sums[warp][row][lane / 4] = acc[tile][0];
      sums[warp][row + 1][lane / 4] = acc[tile][1];
      sums[warp][row][lane / 4 + 8] = acc[tile][2];
      sums[warp][row + 1][lane / 4 + 8] = acc[tile][3];
    }
    __syncwarp();  // a warp that arrives in parts would count more than once
    asm volatile("bar.sync 1, %0;" ::"n"(kWarps * 32) : "memory");
    const int row = static_cast<int>(threadIdx.x) / 16;
    const int column = (unit - split * p.tiles) * 16 + static_cast<int>(threadIdx.x) % 16;
    if (row < p.rows && column < p.n) {
      float sum = split == 0 && p.bias != nullptr ? __bfloat162float(p.bias[column]) : 0.0F;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) sum += sums[w][row][threadIdx.x % 16];
      if (p.partials != nullptr) {
        p.partials[static_cast<std::int64_t>(split * p.rows + row) * p.n + column] = sum;
      } else {
        p.y[static_cast<std::int64_t>(row) * p.n + column] = __float2bfloat16_rn(sum);
      }
    }
  }
}

__global__ void pack(SkinnyPlan plan, const __nv_bfloat16* weights, uint4* packed) {
  const std::int64_t index = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (index >= plan.packed_bytes() / 16) return;
  const auto lane = static_cast<int>(index % 32);
  const auto quarter = static_cast<int>(index / 32 % 4);  // chunk, and mma within it
  const auto warp = static_cast<int>(index / 128 % kWarps);
  const std::int64_t stage_of_all = index / 1024;
  const std::int64_t unit = stage_of_all / plan.stages;
  const std::int64_t stage = unit / plan.tiles * plan.stages + stage_of_all % plan.stages;
  const std::int64_t row = unit % plan.tiles * 16 + lane / 4;
  const std::int64_t column = stage * kStageColumns + warp * 64 + quarter / 2 * 32 + (lane & 3) * 8 + quarter % 2 * 4;
  alignas(16) __nv_bfloat16 out[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    // a0 a1: row g; a2 a3: row g + 8; then the same with the next two columns.
    const std::int64_t r = row + (i / 2 % 2) * 8;
    const std::int64_t c = column + i / 4 * 2 + i % 2;
    out[i] = r < plan.n && c < plan.k ? weights[r * plan.k + c] : __float2bfloat16_rn(0.0F);
  }
  packed[index] = *reinterpret_cast<const uint4*>(out);
}

template <int kColumnTiles>
void launch(const Parameters& p, int blocks, cudaStream_t stream) {
  const auto bytes = static_cast<int>(sizeof(Shared<kColumnTiles>));
  RETROSIM_CUDA_CHECK(
      cudaFuncSetAttribute(skinny_matmul_kernel<kColumnTiles>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  cuda::launch(skinny_matmul_kernel<kColumnTiles>, blocks, kThreads, static_cast<std::size_t>(bytes), stream, p);
}

}  // namespace

SkinnyPlan plan_skinny_matmul(std::int64_t n, std::int64_t k) {
  if (n < 1 || n > 1 << 24) throw InputError("", "matmul.n", std::to_string(n), "1 to 2^24");
  if (k < 8 || k % 8 != 0 || k > 1 << 20)
    throw InputError("", "matmul.k", std::to_string(k), "a multiple of 8, to 2^20");
  const FewRowCut cut = few_row_cut(n, k);
  return {.n = n,
          .k = k,
          .splits = static_cast<int>(cut.splits),
          .stages = static_cast<int>(cut.stages),
          .tiles = cut.tiles};
}

void pack_skinny_weights(const SkinnyPlan& plan, const __nv_bfloat16* weights, void* packed, cudaStream_t stream) {
  const std::int64_t items = plan.packed_bytes() / 16;
  pack<<<static_cast<unsigned>((items + 255) / 256), 256, 0, stream>>>(plan, weights, static_cast<uint4*>(packed));
  RETROSIM_CUDA_CHECK(cudaGetLastError());
}

void skinny_matmul(const SkinnyPlan& plan, const SkinnyMatmulArgs& a, int sm_count, cudaStream_t stream) {
  if (a.rows < 1 || a.rows > kSkinnyMaxRows) throw std::logic_error("skinny matmul: rows outside [1, 16]");
  if (plan.splits > 1 && a.partials == nullptr) throw std::logic_error("skinny matmul: splits need partials");
  if (a.x_row_stride % 8 != 0) throw std::logic_error("skinny matmul: rows of X not 16-byte aligned");
  const Parameters p{.n = static_cast<int>(plan.n),
                     .k = static_cast<int>(plan.k),
                     .units = static_cast<int>(plan.units()),
                     .tiles = static_cast<int>(plan.tiles),
                     .x_row_stride = a.x_row_stride,
                     .prefetch_bytes = a.prefetch_bytes_per_block,
                     .rows = a.rows,
                     .stages = plan.stages,
                     .x = a.x,
                     .packed = static_cast<const unsigned char*>(a.packed),
                     .bias = a.bias,
                     .y = a.y,
                     .partials = a.partials,
                     .next_packed = static_cast<const unsigned char*>(a.next_packed),
                     .next_units = static_cast<int>(a.next_plan.units()),
                     .next_stages = a.next_plan.stages,
                     .next_blocks = a.next_packed != nullptr ? blocks_of(a.next_plan, sm_count) : 0,
                     .next_prefetch_bytes = a.next_prefetch_bytes_per_block};
  const int blocks = blocks_of(plan, sm_count);
  a.rows <= 8 ? launch<1>(p, blocks, stream) : launch<2>(p, blocks, stream);
}

}  // namespace retrosim::kernels::cuda
