#include "fake_vulkan.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

namespace darkroom::fake {
namespace {

Driver* g_driver = nullptr;

struct Object {
  const char* kind = "";
};
struct Memory : Object {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  uint32_t heap = 0;
};
struct Buffer : Object {
  std::size_t bytes = 0;
  Memory* memory = nullptr;
};
struct Semaphore : Object {
  uint64_t value = 0;
};
struct Pipeline : Object {
  std::vector<uint32_t> constants;
};
struct Set {
  std::map<uint32_t, VkDescriptorBufferInfo> bindings;
};
struct SetPool : Object {
  std::deque<Set> sets;
  int pending = 0;
};
struct Commands {
  std::vector<std::function<void()>> list;
  std::set<SetPool*> pools;
  bool recording = false;
  int pending = 0;
  const Pipeline* pipeline = nullptr;
  const Set* set = nullptr;
  std::array<std::byte, 128> push{};
};
struct CommandPool : Object {
  std::deque<Commands> buffers;
};
struct Submit {
  Commands* commands = nullptr;
  std::vector<std::pair<Semaphore*, uint64_t>> signals;
};

template <typename To, typename From>
To* as(From handle) {
  return reinterpret_cast<To*>(handle);
}

}  // namespace

struct Driver::State {
  mutable std::recursive_mutex mutex;
  std::condition_variable_any changed;
  int calls = 0, fail_at = 0;
  VkResult fail_with = VK_SUCCESS;
  std::string failed_name;
  bool lost = false, held = false;
  std::set<Object*> objects;
  std::vector<std::string> faults;
  std::deque<Submit> pending;
  std::size_t most_pending = 0, submits = 0, transfer_submits = 0, barriers = 0;
  std::vector<VkDeviceSize> used;
  std::vector<uint32_t> memory_types;
  std::string cache_data_given;
  std::map<const void*, SetPool*> pool_of;
  int instances = 0, devices = 0;
};

namespace {

Driver::State& state() { return g_driver->state(); }
using Lock = std::unique_lock<std::recursive_mutex>;

void fault(const std::string& text) { state().faults.push_back(text); }

// What was submitted never runs.
void lose() {
  Driver::State& s = state();
  s.lost = true;
  for (const Submit& submit : s.pending) {
    --submit.commands->pending;
    for (SetPool* pool : submit.commands->pools) --pool->pending;
  }
  s.pending.clear();
  s.changed.notify_all();
}

// Whether this call fails: then it has no effect.
VkResult attempt(const char* name) {
  Driver::State& s = state();
  if (++s.calls != s.fail_at) return VK_SUCCESS;
  s.failed_name = name;
  if (s.fail_with == VK_ERROR_DEVICE_LOST) lose();
  return s.fail_with;
}

#define ATTEMPT()                 \
  const Lock lock(state().mutex); \
  if (const VkResult failed = attempt(__func__); failed != VK_SUCCESS) return failed

template <typename T, typename Handle>
T* make(Handle* out, const char* kind) {
  T* object = new T();
  object->kind = kind;
  state().objects.insert(object);
  *out = reinterpret_cast<Handle>(object);
  return object;
}

template <typename T, typename Handle>
void destroy(Handle handle) {
  if (handle == VK_NULL_HANDLE) return;
  const Lock lock(state().mutex);
  T* object = as<T>(handle);
  if (state().objects.erase(object) == 0) return fault("something is destroyed that is not there");
  delete object;
}

const Gpu& gpu_of(VkPhysicalDevice handle) { return g_driver->gpus[reinterpret_cast<uintptr_t>(handle) - 1]; }
// One device is open at a time.
std::size_t g_open = 0;
const Gpu& open_gpu() { return g_driver->gpus[g_open]; }

VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateInstanceVersion(uint32_t* version) {
  ATTEMPT();
  *version = VK_API_VERSION_1_3;
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateInstanceExtensionProperties(const char*, uint32_t* count,
                                                                      VkExtensionProperties*) {
  ATTEMPT();
  *count = 0;
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateInstanceLayerProperties(uint32_t* count, VkLayerProperties*) {
  ATTEMPT();
  *count = 0;
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkCreateInstance(const VkInstanceCreateInfo*, const VkAllocationCallbacks*,
                                                VkInstance* instance) {
  ATTEMPT();
  ++state().instances;
  *instance = reinterpret_cast<VkInstance>(uintptr_t{1});
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyInstance(VkInstance, const VkAllocationCallbacks*) {
  const Lock lock(state().mutex);
  if (state().devices > 0) fault("vkDestroyInstance with an open device");
  --state().instances;
}
VKAPI_ATTR VkResult VKAPI_CALL vkEnumeratePhysicalDevices(VkInstance, uint32_t* count,
                                                          VkPhysicalDevice* handles) {
  ATTEMPT();
  if (!handles) {
    *count = static_cast<uint32_t>(g_driver->gpus.size());
    return VK_SUCCESS;
  }
  for (uint32_t i = 0; i < *count; ++i) handles[i] = reinterpret_cast<VkPhysicalDevice>(uintptr_t{i} + 1);
  return VK_SUCCESS;
}

std::vector<std::string> extensions_of(const Gpu& gpu) {
  std::vector<std::string> names = gpu.extensions;
  if (gpu.budget) names.push_back(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  if (gpu.matrix) names.push_back(vulkan::kCooperativeMatrix);
  if (gpu.bf16) names.push_back(vulkan::kBFloat16);
  return names;
}
VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateDeviceExtensionProperties(VkPhysicalDevice handle, const char*,
                                                                    uint32_t* count,
                                                                    VkExtensionProperties* out) {
  ATTEMPT();
  const std::vector<std::string> names = extensions_of(gpu_of(handle));
  if (!out) {
    *count = static_cast<uint32_t>(names.size());
    return VK_SUCCESS;
  }
  for (uint32_t i = 0; i < *count; ++i) std::strcpy(out[i].extensionName, names[i].c_str());
  return VK_SUCCESS;
}

template <typename T>
void with(void* chain, VkStructureType type, const std::function<void(T&)>& set) {
  for (auto* s = static_cast<VkBaseOutStructure*>(chain); s; s = s->pNext) {
    if (s->sType == type) set(*reinterpret_cast<T*>(s));
  }
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceProperties2(VkPhysicalDevice handle,
                                                          VkPhysicalDeviceProperties2* out) {
  const Gpu& gpu = gpu_of(handle);
  std::strcpy(out->properties.deviceName, gpu.name.c_str());
  out->properties.apiVersion = gpu.api_version;
  out->properties.deviceType = gpu.type;
  out->properties.pipelineCacheUUID[0] = gpu.uuid;
  VkPhysicalDeviceLimits& limits = out->properties.limits;
  limits.minStorageBufferOffsetAlignment = gpu.alignment;
  limits.maxStorageBufferRange = static_cast<uint32_t>(gpu.max_range);
  limits.maxComputeWorkGroupInvocations = 1024;
  limits.maxComputeSharedMemorySize = 48 << 10;
  std::fill_n(limits.maxComputeWorkGroupCount, 3, 65535);
  with<VkPhysicalDeviceVulkan11Properties>(
      out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, [&](auto& p) {
        p.deviceUUID[0] = gpu.uuid;
        p.maxMemoryAllocationSize = gpu.max_allocation;
        p.subgroupSize = gpu.subgroup;
      });
  with<VkPhysicalDeviceVulkan12Properties>(
      out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES, [&](auto& p) {
        p.driverID = gpu.driver_id;
        std::strcpy(p.driverName, "fake");
        std::strcpy(p.driverInfo, "1.0");
      });
  with<VkPhysicalDeviceSubgroupSizeControlProperties>(
      out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES, [&](auto& p) {
        p.minSubgroupSize = gpu.min_subgroup;
        p.maxSubgroupSize = gpu.subgroup;
        p.requiredSubgroupSizeStages = VK_SHADER_STAGE_COMPUTE_BIT;
      });
  with<VkPhysicalDeviceShaderIntegerDotProductProperties>(
      out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES, [&](auto& p) {
        p.integerDotProduct4x8BitPackedSignedAccelerated = gpu.fast_dot;
        p.integerDotProduct4x8BitPackedMixedSignednessAccelerated = gpu.mixed_dot;
      });
  with<VkPhysicalDeviceMaintenance4Properties>(out->pNext,
                                               VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES,
                                               [&](auto& p) { p.maxBufferSize = gpu.max_buffer; });
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceFeatures2(VkPhysicalDevice handle,
                                                        VkPhysicalDeviceFeatures2* out) {
  const Gpu& gpu = gpu_of(handle);
  with<VkPhysicalDeviceVulkan11Features>(out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                         [&](auto& f) { f.storageBuffer16BitAccess = gpu.storage16; });
  with<VkPhysicalDeviceVulkan12Features>(
      out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, [&](auto& f) {
        f.storageBuffer8BitAccess = gpu.storage8;
        f.shaderFloat16 = gpu.float16;
        f.vulkanMemoryModel = f.vulkanMemoryModelDeviceScope = gpu.memory_model;
      });
  with<VkPhysicalDeviceSubgroupSizeControlFeatures>(
      out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES,
      [&](auto& f) { f.subgroupSizeControl = f.computeFullSubgroups = gpu.subgroup_control; });
  with<VkPhysicalDeviceShaderIntegerDotProductFeatures>(
      out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES,
      [&](auto& f) { f.shaderIntegerDotProduct = gpu.dot; });
  with<vulkan::CooperativeMatrixFeatures>(out->pNext, vulkan::kMatrixFeatures,
                                          [&](auto& f) { f.cooperativeMatrix = !gpu.matrices.empty(); });
  with<vulkan::BFloat16Features>(out->pNext, vulkan::kBFloat16Features, [&](auto& f) {
    f.shaderBFloat16Type = f.shaderBFloat16CooperativeMatrix = gpu.bf16;
  });
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceMemoryProperties2(VkPhysicalDevice handle,
                                                                VkPhysicalDeviceMemoryProperties2* out) {
  const Gpu& gpu = gpu_of(handle);
  VkPhysicalDeviceMemoryProperties& memory = out->memoryProperties;
  memory.memoryHeapCount = static_cast<uint32_t>(gpu.heaps.size());
  memory.memoryTypeCount = static_cast<uint32_t>(gpu.types.size());
  std::ranges::copy(gpu.heaps, memory.memoryHeaps);
  std::ranges::copy(gpu.types, memory.memoryTypes);
  with<VkPhysicalDeviceMemoryBudgetPropertiesEXT>(
      out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT, [&](auto& b) {
        std::fill_n(b.heapBudget, gpu.heaps.size(), gpu.budget);
        b.heapUsage[0] = 0;
      });
}

// Graphics and compute, and a family for copies alone.
VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceQueueFamilyProperties(VkPhysicalDevice handle, uint32_t* count,
                                                                    VkQueueFamilyProperties* out) {
  const Gpu& gpu = gpu_of(handle);
  const VkQueueFlags all =
      VK_QUEUE_GRAPHICS_BIT | (gpu.compute ? VK_QUEUE_COMPUTE_BIT : 0) | VK_QUEUE_TRANSFER_BIT;
  if (!out) {
    *count = gpu.transfer_queue ? 2 : 1;
    return;
  }
  for (uint32_t i = 0; i < *count; ++i) {
    out[i] = {};
    out[i].queueCount = 1;
    out[i].queueFlags = i == 0 ? all : static_cast<VkQueueFlags>(VK_QUEUE_TRANSFER_BIT);
    out[i].minImageTransferGranularity = {1, 1, 1};
  }
}

VkResult get_matrices(VkPhysicalDevice handle, uint32_t* count, vulkan::CooperativeMatrixProperties* out) {
  const Gpu& gpu = gpu_of(handle);
  if (out) std::copy_n(gpu.matrices.begin(), *count, out);
  *count = static_cast<uint32_t>(gpu.matrices.size());
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDevice(VkPhysicalDevice handle, const VkDeviceCreateInfo*,
                                              const VkAllocationCallbacks*, VkDevice* device) {
  ATTEMPT();
  g_open = reinterpret_cast<uintptr_t>(handle) - 1;
  ++state().devices;
  state().used.assign(open_gpu().heaps.size(), 0);
  *device = reinterpret_cast<VkDevice>(uintptr_t{1});
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyDevice(VkDevice, const VkAllocationCallbacks*) {
  const Lock lock(state().mutex);
  for (const Object* object : state().objects)
    fault(std::string("vkDestroyDevice with a live ") + object->kind);
  --state().devices;
}
VKAPI_ATTR void VKAPI_CALL vkGetDeviceQueue(VkDevice, uint32_t family, uint32_t, VkQueue* queue) {
  *queue = reinterpret_cast<VkQueue>(uintptr_t{family} + 1);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateBuffer(VkDevice, const VkBufferCreateInfo* info,
                                              const VkAllocationCallbacks*, VkBuffer* out) {
  ATTEMPT();
  if (open_gpu().transfer_queue && info->sharingMode != VK_SHARING_MODE_CONCURRENT)
    fault("a buffer for one of two queues");
  make<Buffer>(out, "buffer")->bytes = info->size;
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyBuffer(VkDevice, VkBuffer buffer, const VkAllocationCallbacks*) {
  if (!state().pending.empty()) fault("a buffer is destroyed while something runs");
  destroy<Buffer>(buffer);
}
VKAPI_ATTR void VKAPI_CALL vkGetBufferMemoryRequirements(VkDevice, VkBuffer buffer,
                                                         VkMemoryRequirements* out) {
  *out = {as<Buffer>(buffer)->bytes, 256, (1u << open_gpu().types.size()) - 1};
}
VKAPI_ATTR VkResult VKAPI_CALL vkAllocateMemory(VkDevice, const VkMemoryAllocateInfo* info,
                                                const VkAllocationCallbacks*, VkDeviceMemory* out) {
  ATTEMPT();
  const Gpu& gpu = open_gpu();
  if (info->allocationSize > gpu.max_allocation) fault("an allocation above the driver's maximum");
  const uint32_t heap = gpu.types[info->memoryTypeIndex].heapIndex;
  if (state().used[heap] + info->allocationSize > gpu.heaps[heap].size) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  state().used[heap] += info->allocationSize;
  state().memory_types.push_back(info->memoryTypeIndex);
  Memory* memory = make<Memory>(out, "memory");
  memory->bytes = info->allocationSize;
  memory->heap = heap;
  void* data = ::mmap(nullptr, memory->bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  memory->data = static_cast<std::byte*>(data);
  std::memset(memory->data, 0xCD, std::min<std::size_t>(memory->bytes, 1 << 16));
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkFreeMemory(VkDevice, VkDeviceMemory handle, const VkAllocationCallbacks*) {
  const Lock lock(state().mutex);
  Memory* memory = as<Memory>(handle);
  for (const Object* object : state().objects) {
    if (std::string(object->kind) == "buffer" && static_cast<const Buffer*>(object)->memory == memory)
      fault("memory is freed before its buffer");
  }
  state().used[memory->heap] -= memory->bytes;
  ::munmap(memory->data, memory->bytes);
  destroy<Memory>(handle);
}
VKAPI_ATTR VkResult VKAPI_CALL vkBindBufferMemory(VkDevice, VkBuffer buffer, VkDeviceMemory memory,
                                                  VkDeviceSize) {
  ATTEMPT();
  as<Buffer>(buffer)->memory = as<Memory>(memory);
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkMapMemory(VkDevice, VkDeviceMemory memory, VkDeviceSize, VkDeviceSize,
                                           VkMemoryMapFlags, void** out) {
  ATTEMPT();
  *out = as<Memory>(memory)->data;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateSemaphore(VkDevice, const VkSemaphoreCreateInfo*,
                                                 const VkAllocationCallbacks*, VkSemaphore* out) {
  ATTEMPT();
  make<Semaphore>(out, "semaphore");
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroySemaphore(VkDevice, VkSemaphore h, const VkAllocationCallbacks*) {
  destroy<Semaphore>(h);
}
VKAPI_ATTR VkResult VKAPI_CALL vkGetSemaphoreCounterValue(VkDevice, VkSemaphore h, uint64_t* out) {
  ATTEMPT();
  if (state().lost) return VK_ERROR_DEVICE_LOST;
  *out = as<Semaphore>(h)->value;
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkWaitSemaphores(VkDevice, const VkSemaphoreWaitInfo* info, uint64_t) {
  Lock lock(state().mutex);
  if (const VkResult failed = attempt(__func__); failed != VK_SUCCESS) return failed;
  const Semaphore* semaphore = as<Semaphore>(info->pSemaphores[0]);
  const uint64_t value = info->pValues[0];
  if (semaphore->value < value && state().pending.empty() && !state().lost) {
    fault("a wait for what was never submitted");
    return VK_TIMEOUT;
  }
  state().changed.wait(lock, [&] { return state().lost || semaphore->value >= value; });
  return state().lost ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateCommandPool(VkDevice, const VkCommandPoolCreateInfo*,
                                                   const VkAllocationCallbacks*, VkCommandPool* out) {
  ATTEMPT();
  make<CommandPool>(out, "command pool");
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyCommandPool(VkDevice, VkCommandPool h, const VkAllocationCallbacks*) {
  if (h == VK_NULL_HANDLE) return;
  for (const Commands& c : as<CommandPool>(h)->buffers) {
    if (c.pending > 0) fault("a command pool is destroyed while its commands run");
  }
  destroy<CommandPool>(h);
}
VKAPI_ATTR VkResult VKAPI_CALL vkResetCommandPool(VkDevice, VkCommandPool h, VkCommandPoolResetFlags) {
  ATTEMPT();
  for (Commands& c : as<CommandPool>(h)->buffers) {
    if (c.pending > 0) fault("commands are reset while they run");
    c.list.clear();
    c.pools.clear();
    c.recording = false;
  }
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkAllocateCommandBuffers(VkDevice, const VkCommandBufferAllocateInfo* info,
                                                        VkCommandBuffer* out) {
  ATTEMPT();
  *out = reinterpret_cast<VkCommandBuffer>(&as<CommandPool>(info->commandPool)->buffers.emplace_back());
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkBeginCommandBuffer(VkCommandBuffer h, const VkCommandBufferBeginInfo*) {
  ATTEMPT();
  Commands& c = *as<Commands>(h);
  if (c.recording || !c.list.empty()) fault("commands are begun before they were reset");
  c.recording = true;
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkEndCommandBuffer(VkCommandBuffer h) {
  ATTEMPT();
  if (!as<Commands>(h)->recording) fault("commands are ended that were not begun");
  as<Commands>(h)->recording = false;
  return VK_SUCCESS;
}

void record(VkCommandBuffer h, std::function<void()> command) {
  Commands& c = *as<Commands>(h);
  if (!c.recording) fault("a command outside of a recording");
  c.list.push_back(std::move(command));
}
std::byte* at(VkBuffer buffer, VkDeviceSize offset, VkDeviceSize bytes) {
  const Buffer* b = as<Buffer>(buffer);
  if (offset + bytes > b->bytes) fault("a range beyond its buffer");
  return b->memory->data + offset;
}

VKAPI_ATTR void VKAPI_CALL vkCmdPipelineBarrier(VkCommandBuffer h, VkPipelineStageFlags, VkPipelineStageFlags,
                                                VkDependencyFlags, uint32_t, const VkMemoryBarrier*, uint32_t,
                                                const VkBufferMemoryBarrier*, uint32_t,
                                                const VkImageMemoryBarrier*) {
  const Lock lock(state().mutex);
  ++state().barriers;
  record(h, [] {});
}
VKAPI_ATTR void VKAPI_CALL vkCmdCopyBuffer(VkCommandBuffer h, VkBuffer from, VkBuffer to, uint32_t count,
                                           const VkBufferCopy* regions) {
  const Lock lock(state().mutex);
  const std::vector<VkBufferCopy> all(regions, regions + count);
  record(h, [=] {
    for (const VkBufferCopy& r : all)
      std::memcpy(at(to, r.dstOffset, r.size), at(from, r.srcOffset, r.size), r.size);
  });
}
VKAPI_ATTR void VKAPI_CALL vkCmdUpdateBuffer(VkCommandBuffer h, VkBuffer to, VkDeviceSize offset,
                                             VkDeviceSize bytes, const void* data) {
  const Lock lock(state().mutex);
  const auto* first = static_cast<const std::byte*>(data);
  const std::vector<std::byte> copy(first, first + bytes);
  record(h, [=] { std::memcpy(at(to, offset, bytes), copy.data(), bytes); });
}
VKAPI_ATTR void VKAPI_CALL vkCmdBindPipeline(VkCommandBuffer h, VkPipelineBindPoint, VkPipeline pipeline) {
  as<Commands>(h)->pipeline = as<Pipeline>(pipeline);
}
VKAPI_ATTR void VKAPI_CALL vkCmdBindDescriptorSets(VkCommandBuffer h, VkPipelineBindPoint, VkPipelineLayout,
                                                   uint32_t, uint32_t, const VkDescriptorSet* sets, uint32_t,
                                                   const uint32_t*) {
  const Lock lock(state().mutex);
  as<Commands>(h)->set = as<Set>(sets[0]);
  as<Commands>(h)->pools.insert(state().pool_of[sets[0]]);
}
VKAPI_ATTR void VKAPI_CALL vkCmdPushConstants(VkCommandBuffer h, VkPipelineLayout, VkShaderStageFlags,
                                              uint32_t offset, uint32_t size, const void* data) {
  std::memcpy(as<Commands>(h)->push.data() + offset, data, size);
}
VKAPI_ATTR void VKAPI_CALL vkCmdDispatch(VkCommandBuffer h, uint32_t x, uint32_t y, uint32_t z) {
  const Lock lock(state().mutex);
  const Commands& c = *as<Commands>(h);
  Dispatched d;
  d.push = c.push;
  d.groups = {x, y, z};
  d.constants = c.pipeline->constants;
  for (const auto& [binding, info] : c.set->bindings) {
    if (info.offset % open_gpu().alignment != 0) fault("a range is bound at an odd offset");
    if (info.range > open_gpu().max_range) fault("a range is bound that is too long");
    d.bindings.emplace_back(at(info.buffer, info.offset, info.range), info.range);
  }
  record(h, [d] {
    if (g_driver->on_dispatch) g_driver->on_dispatch(d);
  });
}

void run(Submit& submit) {
  for (const auto& command : submit.commands->list) command();
  --submit.commands->pending;
  for (SetPool* pool : submit.commands->pools) --pool->pending;
  for (const auto& [semaphore, value] : submit.signals) {
    if (semaphore->value >= value) fault("a timeline goes backwards");
    semaphore->value = value;
  }
}
VKAPI_ATTR VkResult VKAPI_CALL vkQueueSubmit(VkQueue queue, uint32_t, const VkSubmitInfo* info, VkFence) {
  ATTEMPT();
  Driver::State& s = state();
  if (s.lost) return VK_ERROR_DEVICE_LOST;
  Submit submit;
  submit.commands = as<Commands>(info->pCommandBuffers[0]);
  if (submit.commands->recording) fault("commands are submitted before they were ended");
  ++submit.commands->pending;
  for (SetPool* pool : submit.commands->pools) ++pool->pending;
  const auto* values = static_cast<const VkTimelineSemaphoreSubmitInfo*>(info->pNext);
  for (uint32_t i = 0; i < info->signalSemaphoreCount; ++i)
    submit.signals.emplace_back(as<Semaphore>(info->pSignalSemaphores[i]), values->pSignalSemaphoreValues[i]);
  ++s.submits;
  const bool transfer = reinterpret_cast<uintptr_t>(queue) == 2;
  s.transfer_submits += transfer;
  if (s.held && !transfer) {
    s.pending.push_back(std::move(submit));
    s.most_pending = std::max(s.most_pending, s.pending.size());
  } else {
    run(submit);
  }
  s.changed.notify_all();
  return VK_SUCCESS;
}
// Runs what waits: a device that is let go of finishes.
VKAPI_ATTR VkResult VKAPI_CALL vkDeviceWaitIdle(VkDevice) {
  ATTEMPT();
  for (Submit& submit : state().pending) run(submit);
  state().pending.clear();
  state().changed.notify_all();
  return state().lost ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDescriptorSetLayout(VkDevice, const VkDescriptorSetLayoutCreateInfo*,
                                                           const VkAllocationCallbacks*,
                                                           VkDescriptorSetLayout* out) {
  ATTEMPT();
  make<Object>(out, "set layout");
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyDescriptorSetLayout(VkDevice, VkDescriptorSetLayout h,
                                                        const VkAllocationCallbacks*) {
  destroy<Object>(h);
}
VKAPI_ATTR VkResult VKAPI_CALL vkCreatePipelineLayout(VkDevice, const VkPipelineLayoutCreateInfo*,
                                                      const VkAllocationCallbacks*, VkPipelineLayout* out) {
  ATTEMPT();
  make<Object>(out, "pipeline layout");
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyPipelineLayout(VkDevice, VkPipelineLayout h,
                                                   const VkAllocationCallbacks*) {
  destroy<Object>(h);
}
VKAPI_ATTR VkResult VKAPI_CALL vkCreateShaderModule(VkDevice, const VkShaderModuleCreateInfo*,
                                                    const VkAllocationCallbacks*, VkShaderModule* out) {
  ATTEMPT();
  make<Object>(out, "shader module");
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyShaderModule(VkDevice, VkShaderModule h, const VkAllocationCallbacks*) {
  destroy<Object>(h);
}
VKAPI_ATTR VkResult VKAPI_CALL vkCreateComputePipelines(VkDevice, VkPipelineCache, uint32_t,
                                                        const VkComputePipelineCreateInfo* info,
                                                        const VkAllocationCallbacks*, VkPipeline* out) {
  ATTEMPT();
  const VkSpecializationInfo& constants = *info->stage.pSpecializationInfo;
  Pipeline* pipeline = make<Pipeline>(out, "pipeline");
  pipeline->constants.resize(constants.mapEntryCount);
  if (constants.dataSize > 0) std::memcpy(pipeline->constants.data(), constants.pData, constants.dataSize);
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyPipeline(VkDevice, VkPipeline h, const VkAllocationCallbacks*) {
  if (!state().pending.empty()) fault("a pipeline is destroyed while something runs");
  destroy<Pipeline>(h);
}
VKAPI_ATTR VkResult VKAPI_CALL vkCreatePipelineCache(VkDevice, const VkPipelineCacheCreateInfo* info,
                                                     const VkAllocationCallbacks*, VkPipelineCache* out) {
  ATTEMPT();
  state().cache_data_given.assign(static_cast<const char*>(info->pInitialData), info->initialDataSize);
  make<Object>(out, "pipeline cache");
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyPipelineCache(VkDevice, VkPipelineCache h, const VkAllocationCallbacks*) {
  destroy<Object>(h);
}
VKAPI_ATTR VkResult VKAPI_CALL vkGetPipelineCacheData(VkDevice, VkPipelineCache, std::size_t* bytes,
                                                      void* out) {
  ATTEMPT();
  VkPipelineCacheHeaderVersionOne header{};
  header.headerSize = sizeof header;
  header.headerVersion = VK_PIPELINE_CACHE_HEADER_VERSION_ONE;
  header.pipelineCacheUUID[0] = open_gpu().uuid;
  const std::string& data = g_driver->cache_data;
  *bytes = sizeof header + data.size();
  if (!out) return VK_SUCCESS;
  std::memcpy(out, &header, sizeof header);
  std::memcpy(static_cast<char*>(out) + sizeof header, data.data(), data.size());
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDescriptorPool(VkDevice, const VkDescriptorPoolCreateInfo*,
                                                      const VkAllocationCallbacks*, VkDescriptorPool* out) {
  ATTEMPT();
  make<SetPool>(out, "descriptor pool");
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkDestroyDescriptorPool(VkDevice, VkDescriptorPool h,
                                                   const VkAllocationCallbacks*) {
  if (h == VK_NULL_HANDLE) return;
  if (as<SetPool>(h)->pending > 0) fault("a descriptor pool is destroyed while its sets are in use");
  destroy<SetPool>(h);
}
VKAPI_ATTR VkResult VKAPI_CALL vkResetDescriptorPool(VkDevice, VkDescriptorPool h,
                                                     VkDescriptorPoolResetFlags) {
  ATTEMPT();
  if (as<SetPool>(h)->pending > 0) fault("a descriptor pool is reset while its sets are in use");
  as<SetPool>(h)->sets.clear();
  return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL vkAllocateDescriptorSets(VkDevice, const VkDescriptorSetAllocateInfo* info,
                                                        VkDescriptorSet* out) {
  ATTEMPT();
  SetPool* pool = as<SetPool>(info->descriptorPool);
  *out = reinterpret_cast<VkDescriptorSet>(&pool->sets.emplace_back());
  state().pool_of[*out] = pool;
  return VK_SUCCESS;
}
VKAPI_ATTR void VKAPI_CALL vkUpdateDescriptorSets(VkDevice, uint32_t count,
                                                  const VkWriteDescriptorSet* writes, uint32_t,
                                                  const VkCopyDescriptorSet*) {
  for (const VkWriteDescriptorSet& w : std::span(writes, count)) {
    for (uint32_t i = 0; i < w.descriptorCount; ++i)
      as<Set>(w.dstSet)->bindings[w.dstBinding + i] = w.pBufferInfo[i];
  }
}

PFN_vkVoidFunction function(const char* name);
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetDeviceProcAddr(VkDevice, const char* name) {
  return function(name);
}
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_instance_proc_addr(VkInstance, const char* name) {
  return function(name);
}

PFN_vkVoidFunction function(const char* name) {
  const std::string_view wanted(name);
#define DARKROOM_SERVE(f) \
  if (wanted == #f) return reinterpret_cast<PFN_vkVoidFunction>(f);
  DARKROOM_VULKAN_GLOBAL(DARKROOM_SERVE)
  DARKROOM_VULKAN_INSTANCE(DARKROOM_SERVE)
  DARKROOM_VULKAN_DEVICE(DARKROOM_SERVE)
#undef DARKROOM_SERVE
  if (wanted == "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR")
    return reinterpret_cast<PFN_vkVoidFunction>(get_matrices);
  return nullptr;
}

}  // namespace

void Gpu::give_matrices(std::initializer_list<vulkan::Component> kinds) {
  matrix = true;
  for (const vulkan::Component kind : kinds) {
    vulkan::CooperativeMatrixProperties p;
    p.MSize = p.NSize = p.KSize = 16;
    p.AType = p.BType = kind;
    p.CType = p.ResultType =
        kind == vulkan::Component::kS8 ? vulkan::Component::kS32 : vulkan::Component::kF32;
    p.scope = vulkan::kSubgroupScope;
    matrices.push_back(p);
    bf16 = bf16 || kind == vulkan::Component::kBF16;
  }
}

Driver::Driver() : before_(g_driver), state_(std::make_unique<State>()) { g_driver = this; }
Driver::~Driver() { g_driver = before_; }
PFN_vkGetInstanceProcAddr Driver::entry() { return get_instance_proc_addr; }

void Driver::fail_call(int n, VkResult result) {
  const Lock lock(state_->mutex);
  state_->fail_at = n;
  state_->fail_with = result;
}
int Driver::calls() const {
  const Lock lock(state_->mutex);
  return state_->calls;
}
bool Driver::failed() const { return !failed_name().empty(); }
std::string Driver::failed_name() const {
  const Lock lock(state_->mutex);
  return state_->failed_name;
}
void Driver::lose_device() {
  const Lock lock(state_->mutex);
  lose();
}
void Driver::hold(bool held) {
  const Lock lock(state_->mutex);
  state_->held = held;
  while (!held && !state_->pending.empty()) run_one();
}
void Driver::run_one() {
  wait_for_pending(1);
  const Lock lock(state_->mutex);
  run(state_->pending.front());
  state_->pending.pop_front();
  state_->changed.notify_all();
}
void Driver::wait_for_pending(std::size_t count) {
  Lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->pending.size() >= count; });
}
std::size_t Driver::most_pending() const {
  const Lock lock(state_->mutex);
  return state_->most_pending;
}
std::size_t Driver::submits() const {
  const Lock lock(state_->mutex);
  return state_->submits;
}
std::size_t Driver::transfer_submits() const {
  const Lock lock(state_->mutex);
  return state_->transfer_submits;
}
std::size_t Driver::barriers() const {
  const Lock lock(state_->mutex);
  return state_->barriers;
}
std::size_t Driver::live() const {
  const Lock lock(state_->mutex);
  return state_->objects.size() + static_cast<std::size_t>(state_->instances + state_->devices);
}
std::vector<std::string> Driver::faults() const {
  const Lock lock(state_->mutex);
  return state_->faults;
}
std::vector<uint32_t> Driver::memory_types() const {
  const Lock lock(state_->mutex);
  return state_->memory_types;
}
std::string Driver::cache_data_given() const {
  const Lock lock(state_->mutex);
  return state_->cache_data_given;
}

}  // namespace darkroom::fake
