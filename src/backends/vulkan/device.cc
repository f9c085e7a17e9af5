#include "backends/vulkan/device.h"

#include <array>
#include <vector>

#include "backends/vulkan/features.h"

namespace darkroom::vulkan {
namespace {

constexpr float kQueuePriority = 1.0f;

// What is enabled: no more than the class's kernels need, so that validation finds a kernel that needs more.
void ask_for(Features& want, const DeviceInfo& info, bool robust) {
  want.base.features.robustBufferAccess = robust && info.robust_access;
  want.v11.storageBuffer16BitAccess = VK_TRUE;
  want.v12.storageBuffer8BitAccess = VK_TRUE;
  want.v12.timelineSemaphore = VK_TRUE;
  want.subgroups.subgroupSizeControl = info.subgroup_control;
  want.subgroups.computeFullSubgroups = info.subgroup_control;
  want.dot.shaderIntegerDotProduct = info.dot_product;
  want.maintenance4.maintenance4 = info.maintenance4;
  if (info.device_class < DeviceClass::kMatrix) return;
  want.v12.shaderFloat16 = VK_TRUE;
  want.v12.shaderInt8 = info.int8;
  want.v12.vulkanMemoryModel = VK_TRUE;
  want.v12.vulkanMemoryModelDeviceScope = VK_TRUE;
  want.matrix.cooperativeMatrix = VK_TRUE;
  const bool bf16 = info.device_class == DeviceClass::kMatrixBF16;
  want.bf16.shaderBFloat16Type = bf16;
  want.bf16.shaderBFloat16CooperativeMatrix = bf16;
}

// Those whose features are asked for above and that are not part of the device's version.
std::vector<const char*> wanted_extensions(const DeviceInfo& info) {
  std::vector<const char*> names;
  const auto want = [&](const char* name) {
    if (info.has_extension(name)) names.push_back(name);
  };
  if (info.api_version < VK_API_VERSION_1_3) {
    want("VK_EXT_subgroup_size_control");
    want("VK_KHR_shader_integer_dot_product");
    want("VK_KHR_maintenance4");
  }
  want(kCooperativeMatrix);
  want(kBFloat16);
  want(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  want("VK_KHR_portability_subset");  // must be enabled where it is offered
  return names;
}

}  // namespace

Device::Device(const Instance& instance, const DeviceInfo& info)
    : instance_(instance), info_(info), functions_(instance.functions()) {
  create();
  try {
    functions_.load_device(device_);
    functions_.vkGetDeviceQueue(device_, *info_.compute_family, 0, &compute_queue_);
    transfer_queue_ = compute_queue_;
    if (info_.transfer_family)
      functions_.vkGetDeviceQueue(device_, *info_.transfer_family, 0, &transfer_queue_);
    make_timelines();
  } catch (...) {
    timelines_ = {};
    if (functions_.vkDestroyDevice) functions_.vkDestroyDevice(device_, nullptr);
    throw;
  }
}

Device::~Device() {
  finish();
  timelines_ = {};
  functions_.vkDestroyDevice(device_, nullptr);
}

void Device::create() {
  std::array<VkDeviceQueueCreateInfo, 2> queues{};
  uint32_t count = 0;
  for (const std::optional<uint32_t>& family : {info_.compute_family, info_.transfer_family}) {
    if (!family) continue;
    queues[count].sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queues[count].queueFamilyIndex = *family;
    queues[count].queueCount = 1;
    queues[count++].pQueuePriorities = &kQueuePriority;
  }
  Features features(info_);
  ask_for(features, info_, instance_.validation());
  const std::vector<const char*> extensions = wanted_extensions(info_);
  auto create = structure<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
  create.pNext = &features.base;
  create.queueCreateInfoCount = count;
  create.pQueueCreateInfos = queues.data();
  create.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  create.ppEnabledExtensionNames = extensions.data();
  check(functions_.vkCreateDevice(info_.handle, &create, nullptr, &device_), "vkCreateDevice");
}

void Device::make_timelines() {
  auto type = structure<VkSemaphoreTypeCreateInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  auto create = structure<VkSemaphoreCreateInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO);
  create.pNext = &type;
  for (OwnedSemaphore& timeline : timelines_) {
    VkSemaphore semaphore = VK_NULL_HANDLE;
    check(functions_.vkCreateSemaphore(device_, &create, nullptr, &semaphore), "vkCreateSemaphore");
    timeline = OwnedSemaphore(functions_, device_, semaphore);
  }
}

void Device::submit(VkCommandBuffer commands, Line line, uint64_t value) {
  // A wait for a value that is reached already costs nothing, and makes what was written before it visible.
  std::array<VkSemaphore, kLines> waits{};
  std::array<uint64_t, kLines> seen{};
  std::array<VkPipelineStageFlags, kLines> stages{};
  uint32_t count = 0;
  for (const Line other : {kCompute, kFill, kCopy}) {
    if (other == line) continue;
    waits[count] = timelines_[other].get();
    seen[count] = reached(other);
    stages[count++] = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  }
  const VkSemaphore signal = timelines_[line].get();
  auto values = structure<VkTimelineSemaphoreSubmitInfo>(VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
  values.waitSemaphoreValueCount = count;
  values.pWaitSemaphoreValues = seen.data();
  values.signalSemaphoreValueCount = 1;
  values.pSignalSemaphoreValues = &value;
  auto submit = structure<VkSubmitInfo>(VK_STRUCTURE_TYPE_SUBMIT_INFO);
  submit.pNext = &values;
  submit.waitSemaphoreCount = count;
  submit.pWaitSemaphores = waits.data();
  submit.pWaitDstStageMask = stages.data();
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  submit.signalSemaphoreCount = 1;
  submit.pSignalSemaphores = &signal;
  const std::lock_guard lock(queue_mutex_);
  const VkQueue queue = line == kFill ? transfer_queue_ : compute_queue_;
  check(functions_.vkQueueSubmit(queue, 1, &submit, VK_NULL_HANDLE), "vkQueueSubmit");
}

void Device::wait(Line line, uint64_t value) const {
  const VkSemaphore semaphore = timelines_[line].get();
  auto info = structure<VkSemaphoreWaitInfo>(VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO);
  info.semaphoreCount = 1;
  info.pSemaphores = &semaphore;
  info.pValues = &value;
  check(functions_.vkWaitSemaphores(device_, &info, UINT64_MAX), "vkWaitSemaphores");
}

uint64_t Device::reached(Line line) const {
  uint64_t value = 0;
  check(functions_.vkGetSemaphoreCounterValue(device_, timelines_[line].get(), &value),
        "vkGetSemaphoreCounterValue");
  return value;
}

void Device::finish() const noexcept {
  const std::lock_guard lock(queue_mutex_);
  functions_.vkDeviceWaitIdle(device_);  // a lost device is idle, too
}

Commands::Commands(const Device& device, uint32_t family) {
  const Functions& f = device.functions();
  VkCommandPoolCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  create.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT;
  create.queueFamilyIndex = family;
  VkCommandPool pool = VK_NULL_HANDLE;
  check(f.vkCreateCommandPool(device.handle(), &create, nullptr, &pool), "vkCreateCommandPool");
  pool_ = OwnedCommandPool(f, device.handle(), pool);
  VkCommandBufferAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  allocate.commandPool = pool;
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = 1;
  check(f.vkAllocateCommandBuffers(device.handle(), &allocate, &buffer_), "vkAllocateCommandBuffers");
}

void Commands::begin(const Device& device) const {
  const Functions& f = device.functions();
  check(f.vkResetCommandPool(device.handle(), pool_.get(), 0), "vkResetCommandPool");
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  check(f.vkBeginCommandBuffer(buffer_, &begin), "vkBeginCommandBuffer");
}

}  // namespace darkroom::vulkan
