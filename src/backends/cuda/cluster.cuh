/* cluster.cuh - what the blocks of a cluster do for each other on sm_90a. Ranks count its blocks along x. */
#pragma once
#include "backends/cuda/hopper.cuh"

#if ON_HOPPER

__device__ __forceinline__ uint32_t
address_in(const void *own, int rank)
{
    uint32_t there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(own)), "r"(rank));
    return there;
}

/* All threads of all blocks are here; says nothing of what they wrote. */
__device__ __forceinline__ void
cluster_meet(void)
{
    asm volatile("barrier.cluster.arrive.relaxed.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

/* As barrier_wait(), for what other blocks sent. */
__device__ __forceinline__ void
barrier_await_cluster(uint64_t *barrier, int parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra finished;\n"
                 "bra again;\n"
                 "finished:\n"
                 "}" ::"r"(shared_address(barrier)),
                 "r"(parity)
                 : "memory");
}

/* 16 bytes to the same place in another block, counted by the same barrier there. */
__device__ __forceinline__ void
send_to(float4 *to, uint64_t *barrier, int rank, float4 x)
{
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
            address_in(to, rank)),
        "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w), "r"(address_in(barrier, rank))
        : "memory");
}

#endif /* ON_HOPPER */
