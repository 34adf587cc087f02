// What CUDA and HIP must be told of code that host and device share, and other compilers need not hear.
//
// In their translation units this code is the device's alone: the host runs what other compilers made of it.
#pragma once

#if defined(__CUDACC__) || defined(__HIPCC__)
#define KERNEL_INLINE __device__ __forceinline__
#define KERNEL_ARRAY static __device__ constexpr
#else
#define KERNEL_INLINE inline
#define KERNEL_ARRAY inline constexpr
#endif

// Of the mathematics that is written over vectors. The instruction sets define their own.
#ifndef VECTOR_INLINE
#define VECTOR_INLINE KERNEL_INLINE
#endif
