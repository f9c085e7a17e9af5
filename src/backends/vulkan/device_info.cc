#include "backends/vulkan/device_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"

namespace darkroom::vulkan {
namespace {

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

DeviceClass class_of(std::string_view name) {
  if (name.empty()) return DeviceClass::kMatrixBF16;
  for (const DeviceClass one :
       {DeviceClass::kScalar, DeviceClass::kDot, DeviceClass::kMatrix, DeviceClass::kMatrixBF16}) {
    if (class_name(one) == name) return one;
  }
  fail(ErrorCode::kUsage, "a device's class is S, D, M or M+bf16, not '{}'", name);
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

}  // namespace darkroom::vulkan
