// What a sampler holds, counted where this program takes memory. A file of its own: it replaces operator new.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "sampling/sampler.h"

namespace {

constexpr std::size_t kElements = 1 << 20, kVectorBytes = kElements * sizeof(float);

// The bytes in allocations of at least half a vector; one thread.
std::size_t held_bytes = 0, peak_bytes = 0;

void* counted(std::size_t size) {
  void* memory = std::malloc(size);
  if (!memory) throw std::bad_alloc();
  if (size >= kVectorBytes / 2) {
    held_bytes += malloc_usable_size(memory);
    peak_bytes = std::max(peak_bytes, held_bytes);
  }
  return memory;
}

void release(void* memory) {
  if (memory && malloc_usable_size(memory) >= kVectorBytes / 2) held_bytes -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }

namespace darkroom {
namespace {

TEST(SamplerMemory, IsTheNumberOfVectorsThatPlansCount) {
  const std::vector<float> sigmas = {1.0f, 0.9f, 0.8f, 0.7f, 0.6f, 0.4f, 0.2f, 0.0f};
  std::vector<float> latents(kElements);
  for (const SamplerKind kind : {SamplerKind::kEuler, SamplerKind::kHeun, SamplerKind::kDpm2m,
                                 SamplerKind::kIpndm, SamplerKind::kAncestral}) {
    std::ranges::fill(latents, 0.5f);
    const std::size_t before = held_bytes;
    peak_bytes = before;
    sample(sigmas, latents,
           [](std::span<const float> x, int, float, std::span<float> velocity) {
             std::ranges::copy(x, velocity.begin());
           },
           {.kind = kind, .randn = [](std::span<float> out) { std::ranges::fill(out, 0.25f); }});
    const double vectors = static_cast<double>(peak_bytes - before) / static_cast<double>(kVectorBytes);
    EXPECT_NEAR(vectors, sampler_vectors(kind), 0.01) << sampler_name(kind);
    EXPECT_EQ(held_bytes, before);
  }
}

}  // namespace
}  // namespace darkroom
