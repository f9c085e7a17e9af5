#include "backends/vulkan/transfers.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace darkroom::vulkan {
namespace {

constexpr std::size_t kLeastStaging = std::size_t{1} << 20;

// Pieces of rows that lie side by side on the host.
struct Region {
  std::size_t host, device, bytes;
};
std::vector<Region> regions_of(const Rows& rows) {
  if (rows.dense()) return {{0, 0, rows.count * rows.bytes}};
  std::vector<Region> regions;
  for (std::size_t r = 0; r < rows.count; ++r)
    regions.push_back({r * rows.bytes, r * rows.stride, rows.bytes});
  return regions;
}

}  // namespace

Transfers::Transfers(Device& device, MemoryPool& pool) : device_(device), pool_(pool) {
  fill_.line = Device::kFill;
  fill_.kind = MemoryKind::kUpload;
  ops_.line = Device::kCopy;
  ops_.kind = MemoryKind::kDownload;
  fill_.commands = Commands(device, device.transfer_family());
  ops_.commands = Commands(device, *device.info().compute_family);
}

// Under the lane's lock; no copy is in flight.
void Transfers::reserve(Lane& lane, std::size_t bytes) {
  if (lane.staging && lane.staging->size() >= bytes) return;
  lane.staging.reset();
  lane.staging = pool_.allocate(std::max(bytes, kLeastStaging), lane.kind);
}

// Copies, and waits until it is done.
void Transfers::copy(Lane& lane, VkBuffer from, VkBuffer to, std::span<const VkBufferCopy> regions) {
  const Functions& f = device_.functions();
  lane.commands.begin(device_);
  f.vkCmdCopyBuffer(lane.commands.get(), from, to, static_cast<uint32_t>(regions.size()), regions.data());
  VkMemoryBarrier memory{};
  memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  memory.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
  memory.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_READ_BIT;
  f.vkCmdPipelineBarrier(lane.commands.get(), VK_PIPELINE_STAGE_TRANSFER_BIT,
                         VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &memory, 0,
                         nullptr, 0, nullptr);
  check(f.vkEndCommandBuffer(lane.commands.get()), "vkEndCommandBuffer");
  device_.submit(lane.commands.get(), lane.line, lane.value + 1);
  device_.wait(lane.line, ++lane.value);
}

void Transfers::fill(const MemoryPool::Place& place, std::size_t bytes, const Write& write) {
  if (bytes == 0) return;
  if (place.block->mapped()) return write({place.block->mapped() + place.offset, bytes});
  const std::lock_guard lock(fill_.mutex);
  reserve(fill_, bytes);
  write({fill_.staging->mapped(), bytes});
  const VkBufferCopy region{0, place.offset, bytes};
  copy(fill_, fill_.staging->buffer(), place.buffer, {&region, 1});
}

void Transfers::put(const MemoryPool::Place& place, const Rows& rows, std::span<const std::byte> host) {
  if (host.empty()) return;
  if (std::byte* mapped = place.block->mapped()) {
    for (std::size_t r = 0; r < rows.count; ++r) {
      std::memcpy(mapped + place.offset + r * rows.stride, host.data() + r * rows.bytes, rows.bytes);
    }
    return;
  }
  const std::lock_guard lock(ops_.mutex);
  reserve(ops_, host.size());
  std::memcpy(ops_.staging->mapped(), host.data(), host.size());
  std::vector<VkBufferCopy> regions;
  for (const Region& r : regions_of(rows)) regions.push_back({r.host, place.offset + r.device, r.bytes});
  copy(ops_, ops_.staging->buffer(), place.buffer, regions);
}

void Transfers::look_at(const MemoryPool::Place& place, const Rows& rows, const Look& look) {
  const std::size_t bytes = rows.count * rows.bytes;
  if (bytes == 0) return look({});
  if (const std::byte* mapped = place.block->readable()) {
    if (rows.dense()) return look({mapped + place.offset, bytes});
    std::vector<std::byte> host(bytes);
    for (std::size_t r = 0; r < rows.count; ++r) {
      std::memcpy(host.data() + r * rows.bytes, mapped + place.offset + r * rows.stride, rows.bytes);
    }
    return look(host);
  }
  const std::lock_guard lock(ops_.mutex);
  reserve(ops_, bytes);
  std::vector<VkBufferCopy> regions;
  for (const Region& r : regions_of(rows)) regions.push_back({place.offset + r.device, r.host, r.bytes});
  copy(ops_, place.buffer, ops_.staging->buffer(), regions);
  look({ops_.staging->mapped(), bytes});
}

}  // namespace darkroom::vulkan
