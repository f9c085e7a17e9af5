#include "backends/vulkan/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace darkroom::vulkan {
namespace {

// Shaders see whole words, and descriptors whole units of alignment.
std::size_t padded(std::size_t bytes) { return std::max<std::size_t>((bytes + 255) / 256 * 256, 256); }

constexpr VkMemoryPropertyFlags kOwn = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kMapped =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

}  // namespace

AddressRange::AddressRange(std::size_t bytes) : bytes_(std::max<std::size_t>(bytes, 1)) {
  void* address = ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(address != MAP_FAILED, ErrorCode::kOutOfMemory,
          "the system refused {} bytes of addresses for device memory", bytes);
  data_ = static_cast<std::byte*>(address);
}

AddressRange::~AddressRange() { ::munmap(data_, bytes_); }

Block::Block(MemoryPool& pool, std::size_t bytes) : pool_(pool), size_(bytes), addresses_(padded(bytes)) {}

Block::~Block() {
  {
    const std::lock_guard lock(pool_.mutex_);
    pool_.blocks_.erase(reinterpret_cast<uintptr_t>(data()));
  }
  buffer_ = {};
  memory_ = {};
  if (counted_ > 0) pool_.give_back(size_, counted_, kind_);
}

void Block::make_buffer() {
  Device& device = pool_.device_;
  const DeviceInfo& info = device.info();
  const uint32_t families[] = {*info.compute_family, device.transfer_family()};
  VkBufferCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  create.size = padded(size_);
  create.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  create.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  if (device.has_transfer_queue()) {
    create.sharingMode = VK_SHARING_MODE_CONCURRENT;
    create.queueFamilyIndexCount = 2;
    create.pQueueFamilyIndices = families;
  }
  VkBuffer buffer = VK_NULL_HANDLE;
  check(device.functions().vkCreateBuffer(device.handle(), &create, nullptr, &buffer), "vkCreateBuffer");
  buffer_ = OwnedBuffer(device.functions(), device.handle(), buffer);
}

void Block::bind(uint32_t type, std::size_t bytes) {
  Device& device = pool_.device_;
  const Functions& f = device.functions();
  VkMemoryAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocate.allocationSize = bytes;
  allocate.memoryTypeIndex = type;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  check(f.vkAllocateMemory(device.handle(), &allocate, nullptr, &memory), "vkAllocateMemory");
  memory_ = OwnedMemory(f, device.handle(), memory);
  check(f.vkBindBufferMemory(device.handle(), buffer_.get(), memory, 0), "vkBindBufferMemory");
  const VkMemoryPropertyFlags flags = device.info().memory.memoryTypes[type].propertyFlags;
  if ((flags & kMapped) != kMapped) return;
  void* mapped = nullptr;
  check(f.vkMapMemory(device.handle(), memory, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory");
  mapped_ = static_cast<std::byte*>(mapped);
  cached_ = flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
}

std::size_t MemoryPool::limit() const {
  const std::size_t budget = device_.instance().main_heap_budget(device_.info());
  return options_.limit == 0 ? budget : std::min(budget, options_.limit);
}

MemoryPool::Usage MemoryPool::tensors() const {
  const std::lock_guard lock(mutex_);
  return tensors_;
}

MemoryPool::Usage MemoryPool::all() const {
  const std::lock_guard lock(mutex_);
  return all_;
}

void MemoryPool::begin_peak() {
  const std::lock_guard lock(mutex_);
  tensors_.peak = tensors_.bytes;
  all_.peak = all_.bytes;
}

// `bytes` of the heap for a block of `asked`: of tensors a plan counts what is asked for.
void MemoryPool::take(std::size_t asked, std::size_t bytes, Kind kind) {
  const DeviceInfo& info = device_.info();
  const std::size_t allowed = limit(), allowed_tensors = tensor_limit_;
  const auto check_fits = [&](std::size_t more, std::size_t held, std::size_t most) {
    require(held <= most && more <= most - held, ErrorCode::kOutOfMemory,
            "{}: {} bytes of its memory asked for, {} held, {} allowed of {} in the heap", info.name, more,
            held, most, info.main_heap_bytes());
  };
  const auto add = [](Usage& usage, std::size_t more) {
    usage.bytes += more;
    usage.peak = std::max(usage.peak, usage.bytes);
  };
  const std::lock_guard lock(mutex_);
  const bool tensors = kind == Kind::kTensors;
  if (tensors) check_fits(asked, tensors_.bytes, allowed_tensors);
  check_fits(bytes, all_.bytes, allowed);
  if (tensors) add(tensors_, asked);
  add(all_, bytes);
}

void MemoryPool::give_back(std::size_t asked, std::size_t bytes, Kind kind) {
  const std::lock_guard lock(mutex_);
  all_.bytes -= bytes;
  if (kind == Kind::kTensors) tensors_.bytes -= asked;
}

std::optional<uint32_t> MemoryPool::find_type(VkMemoryPropertyFlags flags, bool in_main_heap,
                                              uint32_t allowed) const {
  const VkPhysicalDeviceMemoryProperties& memory = device_.info().memory;
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    const VkMemoryType& type = memory.memoryTypes[i];
    if (!(allowed >> i & 1) || (type.propertyFlags & flags) != flags) continue;
    if (!in_main_heap || type.heapIndex == device_.info().main_heap) return i;
  }
  return std::nullopt;
}

bool MemoryPool::is_mapped() const {
  return !options_.force_staging && find_type(kOwn | kMapped, true, ~uint32_t{0}).has_value();
}

uint32_t MemoryPool::memory_type(Kind kind, uint32_t allowed) const {
  std::optional<uint32_t> type;
  if (kind == Kind::kTensors || kind == Kind::kDevice) {
    if (!options_.force_staging) type = find_type(kOwn | kMapped, true, allowed);
    if (!type) type = find_type(kOwn, true, allowed);
  } else {
    if (kind == Kind::kDownload)
      type = find_type(kMapped | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, false, allowed);
    if (!type) type = find_type(kMapped, false, allowed);
  }
  require(type.has_value(), ErrorCode::kFailure, "{}: the driver has no memory for buffers in its main heap",
          device_.info().name);
  return *type;
}

std::unique_ptr<Block> MemoryPool::allocate(std::size_t bytes, Kind kind) {
  const DeviceInfo& info = device_.info();
  const std::size_t most = std::min(info.max_allocation, info.max_buffer);
  require(bytes <= most && padded(bytes) <= most, ErrorCode::kOutOfMemory,
          "{}: {} bytes of device memory in one piece asked for, the driver gives at most {}", info.name,
          bytes, most);
  std::unique_ptr<Block> block(new Block(*this, bytes));
  block->make_buffer();
  VkMemoryRequirements needs{};
  device_.functions().vkGetBufferMemoryRequirements(device_.handle(), block->buffer(), &needs);
  const bool main = kind == Kind::kTensors || kind == Kind::kDevice;
  if (main) {
    take(bytes, needs.size, kind);
    block->kind_ = kind;
    block->counted_ = needs.size;
  }
  const uint32_t type = memory_type(kind, needs.memoryTypeBits);
  block->bind(type, needs.size);
  if (main && options_.force_staging) block->mapped_ = nullptr;
  const std::lock_guard lock(mutex_);
  blocks_.emplace(reinterpret_cast<uintptr_t>(block->data()), block.get());
  return block;
}

MemoryPool::Place MemoryPool::find(const void* address, std::size_t bytes) const {
  const uintptr_t first = reinterpret_cast<uintptr_t>(address);
  const std::lock_guard lock(mutex_);
  auto found = blocks_.upper_bound(first);
  if (found != blocks_.begin()) {
    const Block& block = *(--found)->second;
    const std::size_t offset = first - found->first;
    if (offset <= block.size() && bytes <= block.size() - offset) return {block.buffer(), offset, &block};
  }
  fail(ErrorCode::kFailure, "{} bytes at {} are no memory of {}; please report this", bytes, address,
       device_.info().name);
}

}  // namespace darkroom::vulkan
