// libvulkan.so.1, found at run time, and the functions of it that are used.
#pragma once

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include <memory>
#include <string>

namespace darkroom::vulkan {

#define DARKROOM_VULKAN_GLOBAL(F)           \
  F(vkCreateInstance)                       \
  F(vkEnumerateInstanceExtensionProperties) \
  F(vkEnumerateInstanceLayerProperties)     \
  F(vkEnumerateInstanceVersion)

#define DARKROOM_VULKAN_INSTANCE(F)       \
  F(vkCreateDevice)                       \
  F(vkDestroyInstance)                    \
  F(vkEnumerateDeviceExtensionProperties) \
  F(vkEnumeratePhysicalDevices)           \
  F(vkGetDeviceProcAddr)                  \
  F(vkGetPhysicalDeviceFeatures2)         \
  F(vkGetPhysicalDeviceMemoryProperties2) \
  F(vkGetPhysicalDeviceProperties2)       \
  F(vkGetPhysicalDeviceQueueFamilyProperties)

#define DARKROOM_VULKAN_DEVICE(F)  \
  F(vkAllocateCommandBuffers)      \
  F(vkAllocateDescriptorSets)      \
  F(vkAllocateMemory)              \
  F(vkBeginCommandBuffer)          \
  F(vkBindBufferMemory)            \
  F(vkCmdBindDescriptorSets)       \
  F(vkCmdBindPipeline)             \
  F(vkCmdCopyBuffer)               \
  F(vkCmdDispatch)                 \
  F(vkCmdPipelineBarrier)          \
  F(vkCmdPushConstants)            \
  F(vkCmdUpdateBuffer)             \
  F(vkCreateBuffer)                \
  F(vkCreateCommandPool)           \
  F(vkCreateComputePipelines)      \
  F(vkCreateDescriptorPool)        \
  F(vkCreateDescriptorSetLayout)   \
  F(vkCreatePipelineCache)         \
  F(vkCreatePipelineLayout)        \
  F(vkCreateSemaphore)             \
  F(vkCreateShaderModule)          \
  F(vkDestroyBuffer)               \
  F(vkDestroyCommandPool)          \
  F(vkDestroyDescriptorPool)       \
  F(vkDestroyDescriptorSetLayout)  \
  F(vkDestroyDevice)               \
  F(vkDestroyPipeline)             \
  F(vkDestroyPipelineCache)        \
  F(vkDestroyPipelineLayout)       \
  F(vkDestroySemaphore)            \
  F(vkDestroyShaderModule)         \
  F(vkDeviceWaitIdle)              \
  F(vkEndCommandBuffer)            \
  F(vkFreeMemory)                  \
  F(vkGetBufferMemoryRequirements) \
  F(vkGetDeviceQueue)              \
  F(vkGetPipelineCacheData)        \
  F(vkGetSemaphoreCounterValue)    \
  F(vkMapMemory)                   \
  F(vkQueueSubmit)                 \
  F(vkResetCommandPool)            \
  F(vkResetDescriptorPool)         \
  F(vkUpdateDescriptorSets)        \
  F(vkWaitSemaphores)

// Filled in three steps, as Vulkan gives them out. Every pointer is there after its step.
struct Functions {
  PFN_vkGetInstanceProcAddr vkGetInstanceProcAddr = nullptr;
#define DARKROOM_DECLARE(name) PFN_##name name = nullptr;
  DARKROOM_VULKAN_GLOBAL(DARKROOM_DECLARE)
  DARKROOM_VULKAN_INSTANCE(DARKROOM_DECLARE)
  DARKROOM_VULKAN_DEVICE(DARKROOM_DECLARE)
#undef DARKROOM_DECLARE

  // Errors: kFailure, naming the function that the driver lacks.
  void load_global(PFN_vkGetInstanceProcAddr get);
  void load_instance(VkInstance instance);
  void load_device(VkDevice device);
};

// The library while it is loaded.
class Library {
 public:
  Library() = default;
  // Errors: kFailure with the system's reason when it is not there.
  static Library open();
  PFN_vkGetInstanceProcAddr entry() const { return entry_; }

 private:
  std::shared_ptr<void> handle_;
  PFN_vkGetInstanceProcAddr entry_ = nullptr;
};

}  // namespace darkroom::vulkan
