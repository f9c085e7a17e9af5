// Chains of structs by which devices are asked what they can do, or asked for it.
#pragma once

#include "backends/vulkan/device_info.h"

namespace darkroom::vulkan {

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
    if (info.has_since_1_3("VK_EXT_subgroup_size_control")) add(subgroups);
    if (info.has_since_1_3("VK_KHR_shader_integer_dot_product")) add(dot);
    if (info.has_since_1_3("VK_KHR_maintenance4")) add(maintenance4);
    if (info.has_extension(kCooperativeMatrix)) add(matrix);
    if (info.has_extension(kBFloat16)) add(bf16);
  }
  Features(const Features&) = delete;
  Features& operator=(const Features&) = delete;
};

}  // namespace darkroom::vulkan
