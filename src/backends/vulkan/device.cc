#include "backends/vulkan/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace darkroom::vulkan {
namespace {

// In the order in which they are asked of the device.
float kQueuePriority = 1.0f;

template <typename T>
T structure(VkStructureType type) {
  T s{};
  s.sType = type;
  return s;
}

// The features that are asked about, or asked for, as one chain.
struct Features {
  VkPhysicalDeviceFeatures2 base =
      structure<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
  VkPhysicalDeviceVulkan11Features v11 =
      structure<VkPhysicalDeviceVulkan11Features>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
  VkPhysicalDeviceVulkan12Features v12 =
      structure<VkPhysicalDeviceVulkan12Features>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
  VkPhysicalDeviceSubgroupSizeControlFeatures subgroups =
      structure<VkPhysicalDeviceSubgroupSizeControlFeatures>(
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES);
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot =
      structure<VkPhysicalDeviceShaderIntegerDotProductFeatures>(
          VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES);
  VkPhysicalDeviceMaintenance4Features maintenance4 = structure<VkPhysicalDeviceMaintenance4Features>(
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_FEATURES);
  CooperativeMatrixFeatures matrix;
  BFloat16Features bf16;

  // Only what the device knows may be in the chain.
  explicit Features(const DeviceInfo& info) {
    void** next = &base.pNext;
    const auto add = [&](auto& s) {
      *next = &s;
      next = &s.pNext;
    };
    add(v11);
    add(v12);
    const bool v13 = info.api_version >= VK_API_VERSION_1_3;
    if (v13 || info.has_extension("VK_EXT_subgroup_size_control")) add(subgroups);
    if (v13 || info.has_extension("VK_KHR_shader_integer_dot_product")) add(dot);
    if (v13 || info.has_extension("VK_KHR_maintenance4")) add(maintenance4);
    if (info.has_extension(kCooperativeMatrix)) add(matrix);
    if (info.has_extension(kBFloat16)) add(bf16);
  }
  Features(const Features&) = delete;
  Features& operator=(const Features&) = delete;
};

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
    const bool v13 = info.api_version >= VK_API_VERSION_1_3;
    if (v13 || info.has_extension("VK_EXT_subgroup_size_control")) add(subgroups);
    if (v13 || info.has_extension("VK_KHR_shader_integer_dot_product")) add(dot);
    if (v13 || info.has_extension("VK_KHR_maintenance4")) add(maintenance4);
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

bool has_shape(const DeviceInfo& info, Component in, Component out) {
  return std::ranges::any_of(info.matrix_shapes, [&](const MatrixShape& s) {
    return s.a == in && s.b == in && s.c == out && s.result == out;
  });
}

// Why cooperative matrices, though offered, are not to be used: they are slower than plain code there, or wrong.
std::string distrusted(const DeviceInfo& info) {
  const bool amds_own =
      info.driver_id == VK_DRIVER_ID_AMD_PROPRIETARY || info.driver_id == VK_DRIVER_ID_AMD_OPEN_SOURCE;
  if (amds_own && !info.mixed_dot_product) return "AMD's driver only imitates matrices on cards before RDNA3";
  const bool intel = info.driver_id == VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS ||
                     info.driver_id == VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA;
  if (intel && info.min_subgroup < 16) return "matrices are slow on Intel's cards before Xe2";
  return "";
}

std::string why_no_matrix(const DeviceInfo& info) {
  if (!info.has_extension(kCooperativeMatrix)) return fmt::format("the driver has no {}", kCooperativeMatrix);
  if (!info.matrix) return "the driver lists cooperative matrices but does not enable them";
  if (!info.float16 || !info.memory_model) return "no f16 arithmetic or no Vulkan memory model";
  if (!info.subgroup_control) return "no choice of the subgroup size";
  if (!has_shape(info, Component::kF16, Component::kF32)) return "no matrices of f16 with sums in f32";
  return distrusted(info);
}

std::string why_unusable(const DeviceInfo& info) {
  if (info.driver_id == VK_DRIVER_ID_MESA_DOZEN) return "Microsoft's layer over Direct3D is not supported";
  if (info.api_version < VK_API_VERSION_1_2) {
    return fmt::format("Vulkan {}.{}, at least 1.2 is needed", VK_API_VERSION_MAJOR(info.api_version),
                       VK_API_VERSION_MINOR(info.api_version));
  }
  if (!info.compute_family) return "no queue for compute";
  if (!info.storage16) return "no 16-bit storage";
  if (!info.storage8) return "no 8-bit storage";
  return "";
}

}  // namespace

std::string_view class_name(DeviceClass device_class) {
  switch (device_class) {
    case DeviceClass::kUnusable:
      return "unusable";
    case DeviceClass::kScalar:
      return "S";
    case DeviceClass::kDot:
      return "D";
    case DeviceClass::kMatrix:
      return "M";
    case DeviceClass::kMatrixBF16:
      return "M+bf16";
  }
  return "";
}

bool DeviceInfo::has_extension(std::string_view extension) const {
  return std::ranges::find(extensions, extension) != extensions.end();
}

void classify(DeviceInfo& info) {
  info.device_class = DeviceClass::kUnusable;
  info.reason = why_unusable(info);
  if (!info.reason.empty()) return;
  info.reason = why_no_matrix(info);
  if (!info.reason.empty()) {
    info.device_class = info.fast_dot_product ? DeviceClass::kDot : DeviceClass::kScalar;
    return;
  }
  const bool bf16 = info.bf16 && has_shape(info, Component::kBF16, Component::kF32);
  info.device_class = bf16 ? DeviceClass::kMatrixBF16 : DeviceClass::kMatrix;
  if (!bf16) info.reason = "no matrices of bf16";
}

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
  info.memory_model = features.v12.vulkanMemoryModel;
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

namespace {

std::string list_of(const std::vector<DeviceInfo>& devices) {
  if (devices.empty()) return "there is none";
  std::string text;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const DeviceInfo& d = devices[i];
    const bool usable = d.device_class != DeviceClass::kUnusable;
    text += fmt::format("{}gpu:{} {}{}", i ? "; " : "there are: ", i, d.name,
                        usable ? "" : fmt::format(" (cannot be used: {})", d.reason));
  }
  return text;
}

// Discrete before integrated, then by class, then by memory.
bool better(const DeviceInfo& a, const DeviceInfo& b) {
  const auto rank = [](const DeviceInfo& d) {
    const bool discrete = d.type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    return std::tuple(discrete, d.device_class, d.main_heap_bytes());
  };
  return rank(a) > rank(b);
}

const DeviceInfo* best_of(const std::vector<DeviceInfo>& devices) {
  const DeviceInfo* best = nullptr;
  for (const DeviceInfo& d : devices) {
    if (d.is_cpu() || d.device_class == DeviceClass::kUnusable) continue;
    if (!best || better(d, *best)) best = &d;
  }
  return best;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// Null: no such one.
const DeviceInfo* find_device(const std::vector<DeviceInfo>& devices, std::string_view text) {
  if (text == "gpu") return best_of(devices);
  if (text.starts_with("gpu:")) {
    const std::string_view digits = text.substr(4);
    if (digits.empty() || digits.size() > 4 || digits.find_first_not_of("0123456789") != digits.npos)
      return nullptr;
    std::size_t number = 0;
    for (const char digit : digits) number = number * 10 + static_cast<std::size_t>(digit - '0');
    return number < devices.size() ? &devices[number] : nullptr;
  }
  if (text.empty()) return nullptr;
  for (const DeviceInfo& d : devices) {
    if (lower(d.name).find(lower(text)) != std::string::npos) return &d;
  }
  return nullptr;
}

}  // namespace

const DeviceInfo& choose_device(const std::vector<DeviceInfo>& devices, std::string_view text) {
  const DeviceInfo* found = find_device(devices, text);
  if (!found && text == "gpu") {
    fail(ErrorCode::kUsage, "no graphics device for Vulkan that can be used; {}{}", list_of(devices),
         std::ranges::any_of(devices, &DeviceInfo::is_cpu)
             ? "; a driver that computes on the processor is used only by its name"
             : "");
  }
  require(found != nullptr, ErrorCode::kUsage, "no graphics device '{}'; {}", text, list_of(devices));
  require(found->device_class != DeviceClass::kUnusable, ErrorCode::kUsage, "{} cannot be used: {}",
          found->name, found->reason);
  return *found;
}

namespace {

// What is enabled: no more than the class's kernels need, so that validation finds a kernel that needs more.
void ask_for(Features& want, const DeviceInfo& info, bool robust) {
  want.base.features.robustBufferAccess = robust && info.robust_access;
  want.v11.storageBuffer16BitAccess = VK_TRUE;
  want.v12.storageBuffer8BitAccess = VK_TRUE;
  want.v12.timelineSemaphore = VK_TRUE;
  want.subgroups.subgroupSizeControl = info.subgroup_control;
  want.subgroups.computeFullSubgroups = info.subgroup_control;
  want.dot.shaderIntegerDotProduct = info.device_class >= DeviceClass::kDot && info.dot_product;
  want.maintenance4.maintenance4 = info.maintenance4;
  if (info.device_class < DeviceClass::kMatrix) return;
  want.v12.shaderFloat16 = VK_TRUE;
  want.v12.shaderInt8 = info.int8;
  want.v12.vulkanMemoryModel = VK_TRUE;
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

}  // namespace darkroom::vulkan
