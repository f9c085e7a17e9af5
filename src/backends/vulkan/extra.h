// What newer extensions declare and Debian 12's headers (1.3.239) do not: VK_KHR_cooperative_matrix and
// VK_KHR_shader_bfloat16, by the registry's names and numbers.
#pragma once

#include "backends/vulkan/loader.h"

namespace darkroom::vulkan {

inline constexpr char kCooperativeMatrix[] = "VK_KHR_cooperative_matrix";
inline constexpr char kBFloat16[] = "VK_KHR_shader_bfloat16";

inline constexpr VkStructureType kMatrixFeatures = static_cast<VkStructureType>(1000506000);
inline constexpr VkStructureType kMatrixProperties = static_cast<VkStructureType>(1000506001);
inline constexpr VkStructureType kBFloat16Features = static_cast<VkStructureType>(1000141000);

enum class Component : uint32_t {
  kF16 = 0,
  kF32 = 1,
  kS8 = 3,
  kS32 = 5,
  kU8 = 7,
  kU32 = 9,
  kBF16 = 1000141000
};
inline constexpr uint32_t kSubgroupScope = 3;

struct CooperativeMatrixFeatures {
  VkStructureType sType = kMatrixFeatures;
  void* pNext = nullptr;
  VkBool32 cooperativeMatrix = VK_FALSE;
  VkBool32 cooperativeMatrixRobustBufferAccess = VK_FALSE;
};

struct CooperativeMatrixProperties {
  VkStructureType sType = kMatrixProperties;
  void* pNext = nullptr;
  uint32_t MSize = 0, NSize = 0, KSize = 0;
  Component AType{}, BType{}, CType{}, ResultType{};
  VkBool32 saturatingAccumulation = VK_FALSE;
  uint32_t scope = 0;
};

struct BFloat16Features {
  VkStructureType sType = kBFloat16Features;
  void* pNext = nullptr;
  VkBool32 shaderBFloat16Type = VK_FALSE;
  VkBool32 shaderBFloat16DotProduct = VK_FALSE;
  VkBool32 shaderBFloat16CooperativeMatrix = VK_FALSE;
};

using GetCooperativeMatrixProperties = VkResult(VKAPI_PTR*)(VkPhysicalDevice, uint32_t*,
                                                            CooperativeMatrixProperties*);

}  // namespace darkroom::vulkan
