#include "backends/vulkan/recorder.h"

#include <algorithm>
#include <cstring>

namespace darkroom::vulkan {
namespace {

constexpr uint32_t kSetsPerPool = 64;
constexpr std::size_t kAlarmStride = 256, kMostAlarms = 64;
constexpr uint32_t kNoAlarm = ~uint32_t{0};
constexpr std::size_t kMostUpdate = 65536;

constexpr VkPipelineStageFlags kStages =
    VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
constexpr VkAccessFlags kWrites = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
constexpr VkAccessFlags kReads = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT;

}  // namespace

Recorder::Recorder(Device& device, MemoryPool& pool, Pipelines& pipelines, const RecorderOptions& options)
    : device_(device),
      pool_(pool),
      pipelines_(pipelines),
      options_(options),
      nothing_(pool.allocate(256, MemoryKind::kDevice)) {
  for (Slot& slot : slots_) slot.commands = Commands(device, *device.info().compute_family);
}

Recorder::~Recorder() { device_.finish(); }

// Where bindings may begin: at whole vectors of four words even on devices that ask for less.
std::size_t Recorder::alignment() const {
  return std::max<std::size_t>(device_.info().limits.minStorageBufferOffsetAlignment, 16);
}

uint32_t Recorder::before(const void* address) const {
  // Blocks begin at pages, which are multiples of every alignment that Vulkan allows.
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(address) % alignment());
}

std::size_t Recorder::max_binding() const {
  const std::size_t range = device_.info().limits.maxStorageBufferRange;
  return std::min(range, options_.most_binding) / 256 * 256 - alignment();
}

VkDescriptorBufferInfo Recorder::range_of(const Binding& binding) const {
  if (!binding.address || binding.bytes == 0) return {nothing_->buffer(), 0, 256};
  const MemoryPool::Place place = pool_.find(binding.address, binding.bytes);
  const VkDeviceSize early = before(binding.address);
  const VkDeviceSize range = (early + binding.bytes + 3) / 4 * 4;  // shaders may read whole words
  require(range <= device_.info().limits.maxStorageBufferRange, ErrorCode::kFailure,
          "{}: a shader is to see {} bytes at once, the driver allows {}; please report this", device().name,
          range, device_.info().limits.maxStorageBufferRange);
  return {place.buffer, place.offset - early, range};
}

std::vector<VkDescriptorBufferInfo> Recorder::ranges_of(std::span<const Binding> bindings) const {
  std::vector<VkDescriptorBufferInfo> ranges;
  for (const Binding& binding : bindings) ranges.push_back(range_of(binding));
  return ranges;
}

void Recorder::throw_if_failed() const {
  if (failed_) throw *failed_;
}

// Starts a command buffer in the slot that is the longest in flight, once that has run. The lock is given up
// for the wait: others may wait for less.
void Recorder::begin(Lock& lock) {
  throw_if_failed();
  if (recording_) return;
  Slot& slot = current();
  if (slot.ticket != 0) {
    const Ticket ticket = slot.ticket;
    lock.unlock();
    device_.wait(Device::kCompute, ticket);
    lock.lock();
    const std::vector<Raised> raised = take_alarms(ticket);
    lock.unlock();
    raise(raised);
    lock.lock();
    throw_if_failed();
  }
  start(slot);
}

void Recorder::start(Slot& slot) {
  const Functions& f = device_.functions();
  for (const OwnedDescriptorPool& sets : slot.sets)
    check(f.vkResetDescriptorPool(device_.handle(), sets.get(), 0), "vkResetDescriptorPool");
  slot.pools_used = slot.sets_used = 0;
  slot.ticket = 0;
  slot.alarms.clear();
  slot.commands.begin(device_);
  hazards_.clear();
  recording_ = true;
  dispatches_ = 0;
  work_ = 0;
}

void Recorder::barrier(bool to_host) {
  if (!to_host) ++counts_.barriers;
  VkMemoryBarrier memory{};
  memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  memory.srcAccessMask = kWrites;
  memory.dstAccessMask =
      kReads | kWrites | (to_host ? VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT : 0);
  const VkPipelineStageFlags to = kStages | (to_host ? VK_PIPELINE_STAGE_HOST_BIT : 0);
  device_.functions().vkCmdPipelineBarrier(current().commands.get(), kStages, to, 0, 1, &memory, 0, nullptr,
                                           0, nullptr);
}

// What fails here loses what was recorded, so it fails for good.
void Recorder::submit() {
  Slot& slot = current();
  recording_ = false;
  try {
    barrier(true);
    check(device_.functions().vkEndCommandBuffer(slot.commands.get()), "vkEndCommandBuffer");
    device_.submit(slot.commands.get(), Device::kCompute, last_ + 1);
  } catch (const Error& e) {
    failed_ = e;
    throw;
  }
  slot.ticket = ++last_;
  ++counts_.submits;
}

VkDescriptorSet Recorder::new_set(Slot& slot, VkDescriptorSetLayout layout) {
  const Functions& f = device_.functions();
  if (slot.pools_used == 0 || slot.sets_used == kSetsPerPool) {
    if (slot.pools_used == slot.sets.size()) {
      const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, kSetsPerPool * kMostBindings};
      VkDescriptorPoolCreateInfo create{};
      create.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
      create.maxSets = kSetsPerPool;
      create.poolSizeCount = 1;
      create.pPoolSizes = &size;
      VkDescriptorPool pool = VK_NULL_HANDLE;
      check(f.vkCreateDescriptorPool(device_.handle(), &create, nullptr, &pool), "vkCreateDescriptorPool");
      slot.sets.emplace_back(f, device_.handle(), pool);
    }
    ++slot.pools_used;
    slot.sets_used = 0;
  }
  VkDescriptorSetAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
  allocate.descriptorPool = slot.sets[slot.pools_used - 1].get();
  allocate.descriptorSetCount = 1;
  allocate.pSetLayouts = &layout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  check(f.vkAllocateDescriptorSets(device_.handle(), &allocate, &set), "vkAllocateDescriptorSets");
  ++slot.sets_used;
  return set;
}

// Room for one more alarm in the current slot.
Binding Recorder::add_alarm(const Dispatch& dispatch) {
  Slot& slot = current();
  if (!slot.alarm_words) slot.alarm_words = pool_.allocate(kMostAlarms * kAlarmStride, MemoryKind::kDownload);
  const std::size_t offset = slot.alarms.size() * kAlarmStride;
  std::memcpy(slot.alarm_words->mapped() + offset, &kNoAlarm, sizeof kNoAlarm);
  slot.alarms.push_back(dispatch.alarm);
  return {slot.alarm_words->data() + offset, sizeof kNoAlarm, Access::kReadWrite};
}

void Recorder::record(const Dispatch& dispatch, const Pipelines::Pipeline& pipeline,
                      std::vector<VkDescriptorBufferInfo>& ranges) {
  const Functions& f = device_.functions();
  Slot& slot = current();
  const VkDescriptorSet set = new_set(slot, pipeline.set_layout);
  std::vector<Binding> bindings = dispatch.bindings;
  if (dispatch.alarm) {
    bindings.push_back(add_alarm(dispatch));
    ranges.push_back(range_of(bindings.back()));
  }
  VkWriteDescriptorSet write{};
  write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
  write.dstSet = set;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  write.descriptorCount = static_cast<uint32_t>(ranges.size());  // bindings 0, 1, … in turn
  write.pBufferInfo = ranges.data();
  if (!ranges.empty()) f.vkUpdateDescriptorSets(device_.handle(), 1, &write, 0, nullptr);
  if (hazards_.add(bindings)) barrier(false);
  f.vkCmdBindPipeline(slot.commands.get(), VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline);
  f.vkCmdBindDescriptorSets(slot.commands.get(), VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1, &set,
                            0, nullptr);
  if (!dispatch.push.empty()) {
    f.vkCmdPushConstants(slot.commands.get(), pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                         static_cast<uint32_t>(dispatch.push.size()), dispatch.push.data());
  }
  ++counts_.dispatches;
  f.vkCmdDispatch(slot.commands.get(), dispatch.groups[0], dispatch.groups[1], dispatch.groups[2]);
}

void Recorder::dispatch(const Dispatch& dispatch) {
  const auto& [x, y, z] = dispatch.groups;
  if (x == 0 || y == 0 || z == 0) return;
  const uint32_t bindings = static_cast<uint32_t>(dispatch.bindings.size()) + (dispatch.alarm ? 1 : 0);
  const auto& most = device().limits.maxComputeWorkGroupCount;
  require(x <= most[0] && y <= most[1] && z <= most[2] && bindings <= kMostBindings &&
              dispatch.push.size() <= kPushBytes && dispatch.push.size() % 4 == 0,
          ErrorCode::kFailure,
          "a dispatch of {}×{}×{} groups, {} bindings and {} bytes of constants is more than {} takes; "
          "please report "
          "this",
          x, y, z, bindings, dispatch.push.size(), device().name);
  // Both outside the lock: a pipeline takes long to compile.
  const Pipelines::Pipeline pipeline =
      pipelines_.get({dispatch.shader, bindings, dispatch.constants, dispatch.subgroup});
  std::vector<VkDescriptorBufferInfo> ranges = ranges_of(dispatch.bindings);
  Lock lock(mutex_);
  begin(lock);
  record(dispatch, pipeline, ranges);
  work_ += dispatch.work;
  if (++dispatches_ >= options_.most_dispatches || work_ >= options_.most_work ||
      current().alarms.size() == kMostAlarms) {
    submit();
  }
}

void Recorder::write(const void* address, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const MemoryPool::Place place = pool_.find(address, bytes.size());
  require(bytes.size() <= kMostUpdate && bytes.size() % 4 == 0 && place.offset % 4 == 0, ErrorCode::kFailure,
          "a write of {} bytes at offset {} into device memory, at most {} and whole words are possible; "
          "please report "
          "this",
          bytes.size(), place.offset, kMostUpdate);
  Lock lock(mutex_);
  begin(lock);
  const Binding written{address, bytes.size(), Access::kWrite};
  if (hazards_.add({&written, 1})) barrier(false);
  device_.functions().vkCmdUpdateBuffer(current().commands.get(), place.buffer, place.offset, bytes.size(),
                                        bytes.data());
  ++dispatches_;
}

const void* Recorder::scratch(std::size_t bytes) {
  if (!scratch_ || scratch_->size() < bytes) {
    wait(mark());
    scratch_.reset();
    scratch_ = pool_.allocate(bytes, MemoryKind::kDevice);
  }
  return scratch_->data();
}

Recorder::Ticket Recorder::mark() {
  const Lock lock(mutex_);
  return recording_ && dispatches_ > 0 ? last_ + 1 : last_;
}

RecorderCounts Recorder::counts() const {
  const Lock lock(mutex_);
  return counts_;
}

// Under the lock.
void Recorder::submit_up_to(Ticket ticket) {
  if (ticket <= last_) return;
  throw_if_failed();
  require(recording_ && ticket == last_ + 1, ErrorCode::kFailure,
          "ticket {} was never given out, the last is {}; please report this", ticket, last_);
  submit();
}

void Recorder::wait(Ticket ticket) {
  if (ticket == 0) return;
  {
    const Lock lock(mutex_);
    submit_up_to(ticket);
  }
  device_.wait(Device::kCompute, ticket);
  std::vector<Raised> raised;
  {
    const Lock lock(mutex_);
    raised = take_alarms(ticket);
  }
  raise(raised);
}

void Recorder::drain() noexcept try {
  Ticket ticket = 0;
  {
    const Lock lock(mutex_);
    if (recording_ && dispatches_ > 0) submit();
    ticket = last_;
  }
  device_.wait(Device::kCompute, ticket);
} catch (...) {
  device_.finish();
}

// The alarms that went off in what has run up to a ticket, in the order of the dispatches. Under the lock.
std::vector<Recorder::Raised> Recorder::take_alarms(Ticket until) {
  std::vector<Raised> raised;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[(last_ + i) % slots_.size()];  // the oldest first
    if (slot.ticket == 0 || slot.ticket > until) continue;
    for (std::size_t a = 0; a < slot.alarms.size(); ++a) {
      uint32_t word = 0;
      std::memcpy(&word, slot.alarm_words->mapped() + a * kAlarmStride, sizeof word);
      if (word != kNoAlarm) raised.push_back({std::move(slot.alarms[a]), word});
    }
    slot.alarms.clear();
  }
  return raised;
}

void Recorder::raise(const std::vector<Raised>& raised) {
  for (const Raised& r : raised) r.alarm(r.word);
}

}  // namespace darkroom::vulkan
