#include "ops/backend.h"

// What backends do whose tensors lie in the host's memory.
namespace darkroom {

std::unique_ptr<Memory> Backend::allocate(std::size_t bytes) { return std::make_unique<Buffer>(bytes); }

void Backend::fill(std::byte* place, std::size_t bytes, const Write& write) { write({place, bytes}); }

void Backend::look_at(const std::byte* place, std::size_t bytes, const Look& look) { look({place, bytes}); }

}  // namespace darkroom
