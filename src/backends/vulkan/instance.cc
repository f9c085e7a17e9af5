#include "backends/vulkan/instance.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <string_view>

#include "backends/vulkan/check.h"
#include "backends/vulkan/features.h"
#include "base/error.h"

namespace darkroom::vulkan {
namespace {

struct Properties {
  VkPhysicalDeviceProperties2 base =
      structure<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
  VkPhysicalDeviceVulkan11Properties v11 =
      structure<VkPhysicalDeviceVulkan11Properties>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES);
  VkPhysicalDeviceVulkan12Properties v12 =
      structure<VkPhysicalDeviceVulkan12Properties>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES);
  VkPhysicalDeviceSubgroupSizeControlProperties subgroups =
      structure<VkPhysicalDeviceSubgroupSizeControlProperties>(
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES);
  VkPhysicalDeviceShaderIntegerDotProductProperties dot =
      structure<VkPhysicalDeviceShaderIntegerDotProductProperties>(
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES);
  VkPhysicalDeviceMaintenance4Properties maintenance4 = structure<VkPhysicalDeviceMaintenance4Properties>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES);

  explicit Properties(const DeviceInfo& info) {
    void** next = &base.pNext;
    const auto add = [&](auto& s) {
      *next = &s;
      next = &s.pNext;
    };
    add(v11);
    add(v12);
    if (info.has_since_1_3("VK_EXT_subgroup_size_control")) add(subgroups);
    if (info.has_since_1_3("VK_KHR_shader_integer_dot_product")) add(dot);
    if (info.has_since_1_3("VK_KHR_maintenance4")) add(maintenance4);
  }
  Properties(const Properties&) = delete;
  Properties& operator=(const Properties&) = delete;
};

std::vector<std::string> extensions_of(const Functions& f, VkPhysicalDevice handle) {
  uint32_t count = 0;
  check(f.vkEnumerateDeviceExtensionProperties(handle, nullptr, &count, nullptr),
        "vkEnumerateDeviceExtensionProperties");
  std::vector<VkExtensionProperties> found(count);
  // The list may have grown meanwhile; then it is cut, which is no error.
  const VkResult result = f.vkEnumerateDeviceExtensionProperties(handle, nullptr, &count, found.data());
  if (result != VK_INCOMPLETE) check(result, "vkEnumerateDeviceExtensionProperties");
  std::vector<std::string> names;
  for (uint32_t i = 0; i < count; ++i) names.emplace_back(found[i].extensionName);
  return names;
}

// Compute, best with graphics too, as that is where drivers put their best; transfer alone.
void describe_queues(const Functions& f, DeviceInfo& info) {
  uint32_t count = 0;
  f.vkGetPhysicalDeviceQueueFamilyProperties(info.handle, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  f.vkGetPhysicalDeviceQueueFamilyProperties(info.handle, &count, families.data());
  for (uint32_t i = 0; i < count; ++i) {
    const VkQueueFlags flags = families[i].queueFlags;
    if (families[i].queueCount == 0) continue;
    if ((flags & VK_QUEUE_COMPUTE_BIT) && !info.compute_family) info.compute_family = i;
    const bool only_copies = !(flags & (VK_QUEUE_COMPUTE_BIT | VK_QUEUE_GRAPHICS_BIT));
    const bool discrete = info.type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    // Copies of any bytes at any place, or the family is no use for parts of tensors.
    if ((flags & VK_QUEUE_TRANSFER_BIT) && only_copies && discrete && !info.transfer_family)
      info.transfer_family = i;
  }
}

uint32_t largest_own_heap(const VkPhysicalDeviceMemoryProperties& memory) {
  uint32_t best = 0;
  VkDeviceSize size = 0;
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i) {
    const VkMemoryHeap& heap = memory.memoryHeaps[i];
    if (!(heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) || heap.size <= size) continue;
    best = i;
    size = heap.size;
  }
  return best;
}

}  // namespace

struct Instance::Messages {
  std::mutex mutex;
  std::vector<std::string> texts;
  PFN_vkDestroyDebugUtilsMessengerEXT destroy = nullptr;

  static VKAPI_ATTR VkBool32 VKAPI_CALL take(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                             VkDebugUtilsMessageTypeFlagsEXT,
                                             const VkDebugUtilsMessengerCallbackDataEXT* data, void* user) {
    Messages& self = *static_cast<Messages*>(user);
    const std::lock_guard lock(self.mutex);
    self.texts.emplace_back(data->pMessage);
    return VK_FALSE;
  }
};

namespace {

constexpr char kLayer[] = "VK_LAYER_KHRONOS_validation";

bool has_layer(const Functions& f) {
  uint32_t count = 0;
  check(f.vkEnumerateInstanceLayerProperties(&count, nullptr), "vkEnumerateInstanceLayerProperties");
  std::vector<VkLayerProperties> layers(count);
  const VkResult result = f.vkEnumerateInstanceLayerProperties(&count, layers.data());
  if (result != VK_INCOMPLETE) check(result, "vkEnumerateInstanceLayerProperties");
  return std::ranges::any_of(
      layers, [](const VkLayerProperties& layer) { return std::string_view(layer.layerName) == kLayer; });
}

uint32_t instance_version(const Functions& f) {
  uint32_t version = 0;
  check(f.vkEnumerateInstanceVersion(&version), "vkEnumerateInstanceVersion");
  require(version >= VK_API_VERSION_1_2, ErrorCode::kFailure,
          "Vulkan's loader has version {}.{}, at least 1.2 is needed", VK_API_VERSION_MAJOR(version),
          VK_API_VERSION_MINOR(version));
  return std::min<uint32_t>(version, VK_API_VERSION_1_3);
}

}  // namespace

Instance::Instance(const InstanceOptions& options) : messages_(std::make_unique<Messages>()) {
  if (!options.entry) library_ = Library::open();
  functions_.load_global(options.entry ? options.entry : library_.entry());
  require(!options.validation || has_layer(functions_), ErrorCode::kFailure,
          "{} is not installed; Debian: apt install vulkan-validationlayers", kLayer);

  VkApplicationInfo application = structure<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
  application.pApplicationName = "darkroom";
  application.apiVersion = instance_version(functions_);
  auto create = structure<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
  create.pApplicationInfo = &application;
  const char* layers[] = {kLayer};
  const char* extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
  const VkValidationFeatureEnableEXT enables[] = {
      VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
  auto features = structure<VkValidationFeaturesEXT>(VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT);
  features.enabledValidationFeatureCount = 1;
  features.pEnabledValidationFeatures = enables;
  if (options.validation) {
    create.enabledLayerCount = 1;
    create.ppEnabledLayerNames = layers;
    create.enabledExtensionCount = 2;
    create.ppEnabledExtensionNames = extensions;
    create.pNext = &features;
  }
  const VkResult result = functions_.vkCreateInstance(&create, nullptr, &instance_);
  require(result != VK_ERROR_INCOMPATIBLE_DRIVER, ErrorCode::kFailure,
          "no Vulkan driver is installed; Debian: apt install mesa-vulkan-drivers, or the maker's driver");
  check(result, "vkCreateInstance");
  try {
    functions_.load_instance(instance_);
    if (options.validation) make_messenger();
  } catch (...) {
    if (functions_.vkDestroyInstance) functions_.vkDestroyInstance(instance_, nullptr);
    throw;
  }
}

Instance::~Instance() {
  if (messenger_ != VK_NULL_HANDLE) messages_->destroy(instance_, messenger_, nullptr);
  functions_.vkDestroyInstance(instance_, nullptr);
}

void Instance::make_messenger() {
  const auto make = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
      functions_.vkGetInstanceProcAddr(instance_, "vkCreateDebugUtilsMessengerEXT"));
  messages_->destroy = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
      functions_.vkGetInstanceProcAddr(instance_, "vkDestroyDebugUtilsMessengerEXT"));
  require(make && messages_->destroy, ErrorCode::kFailure, "the validation layer has no messenger");
  auto create =
      structure<VkDebugUtilsMessengerCreateInfoEXT>(VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT);
  create.messageSeverity =
      VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  create.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT |
                       VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                       VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
  create.pfnUserCallback = Messages::take;
  create.pUserData = messages_.get();
  check(make(instance_, &create, nullptr, &messenger_), "vkCreateDebugUtilsMessengerEXT");
}

std::vector<std::string> Instance::messages() const {
  const std::lock_guard lock(messages_->mutex);
  return messages_->texts;
}

std::vector<DeviceInfo> Instance::devices() const {
  uint32_t count = 0;
  check(functions_.vkEnumeratePhysicalDevices(instance_, &count, nullptr), "vkEnumeratePhysicalDevices");
  std::vector<VkPhysicalDevice> handles(count);
  const VkResult result = functions_.vkEnumeratePhysicalDevices(instance_, &count, handles.data());
  if (result != VK_INCOMPLETE) check(result, "vkEnumeratePhysicalDevices");
  handles.resize(count);
  std::vector<DeviceInfo> devices;
  for (const VkPhysicalDevice handle : handles) {
    DeviceInfo info = describe(handle);
    const auto same = std::ranges::find_if(devices, [&](const DeviceInfo& other) {
      return other.uuid == info.uuid && info.uuid != decltype(info.uuid){};  // none before Vulkan 1.2
    });
    if (same == devices.end()) {
      devices.push_back(std::move(info));
    } else if (info.device_class > same->device_class) {
      *same = std::move(info);
    }
  }
  return devices;
}

DeviceInfo Instance::describe(VkPhysicalDevice handle) const {
  DeviceInfo info;
  info.handle = handle;
  auto base = structure<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
  functions_.vkGetPhysicalDeviceProperties2(handle, &base);
  info.name = base.properties.deviceName;
  info.type = base.properties.deviceType;
  info.api_version = base.properties.apiVersion;
  info.limits = base.properties.limits;
  std::ranges::copy(base.properties.pipelineCacheUUID, info.cache_uuid.begin());
  auto memory =
      structure<VkPhysicalDeviceMemoryProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2);
  functions_.vkGetPhysicalDeviceMemoryProperties2(handle, &memory);
  info.memory = memory.memoryProperties;
  info.main_heap = largest_own_heap(info.memory);
  info.extensions = extensions_of(functions_, handle);
  info.has_budget = info.has_extension(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  describe_queues(functions_, info);
  if (info.api_version >= VK_API_VERSION_1_2) describe_features(info);
  classify(info);
  return info;
}

void Instance::describe_features(DeviceInfo& info) const {
  Properties properties(info);
  functions_.vkGetPhysicalDeviceProperties2(info.handle, &properties.base);
  std::ranges::copy(properties.v11.deviceUUID, info.uuid.begin());
  info.max_allocation = properties.v11.maxMemoryAllocationSize;
  info.max_buffer =
      properties.maintenance4.maxBufferSize ? properties.maintenance4.maxBufferSize : info.max_allocation;
  info.subgroup = info.min_subgroup = info.max_subgroup = properties.v11.subgroupSize;
  info.driver_id = properties.v12.driverID;
  info.driver = fmt::format("{} {}", properties.v12.driverName, properties.v12.driverInfo);
  info.fast_dot_product = properties.dot.integerDotProduct4x8BitPackedSignedAccelerated;
  info.mixed_dot_product = properties.dot.integerDotProduct4x8BitPackedMixedSignednessAccelerated;

  Features features(info);
  functions_.vkGetPhysicalDeviceFeatures2(info.handle, &features.base);
  info.robust_access = features.base.features.robustBufferAccess;
  info.storage16 = features.v11.storageBuffer16BitAccess;
  info.storage8 = features.v12.storageBuffer8BitAccess;
  info.int8 = features.v12.shaderInt8;
  info.float16 = features.v12.shaderFloat16;
  // Where it is on, atomics of shaders that do without it are of the device's scope.
  info.memory_model = features.v12.vulkanMemoryModel && features.v12.vulkanMemoryModelDeviceScope;
  info.maintenance4 = features.maintenance4.maintenance4;
  info.dot_product = features.dot.shaderIntegerDotProduct;
  info.fast_dot_product = info.fast_dot_product && info.dot_product;
  info.matrix = features.matrix.cooperativeMatrix;
  info.bf16 = features.bf16.shaderBFloat16Type && features.bf16.shaderBFloat16CooperativeMatrix;
  const bool in_compute = properties.subgroups.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT;
  info.subgroup_control =
      in_compute && features.subgroups.subgroupSizeControl && features.subgroups.computeFullSubgroups;
  if (info.subgroup_control) {
    info.min_subgroup = properties.subgroups.minSubgroupSize;
    info.max_subgroup = properties.subgroups.maxSubgroupSize;
  }
  if (info.matrix) describe_matrices(info);
}

void Instance::describe_matrices(DeviceInfo& info) const {
  const auto get = reinterpret_cast<GetCooperativeMatrixProperties>(
      functions_.vkGetInstanceProcAddr(instance_, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
  uint32_t count = 0;
  if (!get || get(info.handle, &count, nullptr) != VK_SUCCESS) return;
  std::vector<CooperativeMatrixProperties> found(count);
  if (get(info.handle, &count, found.data()) < VK_SUCCESS) return;
  for (uint32_t i = 0; i < count; ++i) {
    const CooperativeMatrixProperties& p = found[i];
    if (p.scope != kSubgroupScope || p.saturatingAccumulation) continue;
    info.matrix_shapes.push_back({p.MSize, p.NSize, p.KSize, p.AType, p.BType, p.CType, p.ResultType});
  }
}

VkDeviceSize Instance::main_heap_budget(const DeviceInfo& info) const {
  if (!info.has_budget) return info.main_heap_bytes();
  auto budget = structure<VkPhysicalDeviceMemoryBudgetPropertiesEXT>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
  auto memory =
      structure<VkPhysicalDeviceMemoryProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2);
  memory.pNext = &budget;
  functions_.vkGetPhysicalDeviceMemoryProperties2(info.handle, &memory);
  return budget.heapBudget[info.main_heap];
}

}  // namespace darkroom::vulkan
