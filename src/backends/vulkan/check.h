// Results of Vulkan's functions as errors, and owners of its objects.
#pragma once

#include <utility>

#include "backends/vulkan/loader.h"

namespace darkroom::vulkan {

// Throws unless `result` is a success: kOutOfMemory where memory is what lacks, else kFailure; the message
// names the call and what to do.
void check(VkResult result, const char* call);

// "VK_ERROR_DEVICE_LOST"
const char* result_name(VkResult result);

// One object of a device. Movable, not copyable; the device must outlive it.
template <typename Handle, auto Destroy>
class Owned {
 public:
  Owned() = default;
  Owned(const Functions& functions, VkDevice device, Handle handle)
      : functions_(&functions), device_(device), handle_(handle) {}
  ~Owned() {
    if (handle_ != VK_NULL_HANDLE) (functions_->*Destroy)(device_, handle_, nullptr);
  }
  Owned(Owned&& other) noexcept { swap(other); }
  Owned& operator=(Owned&& other) noexcept {
    Owned moved(std::move(other));
    swap(moved);
    return *this;
  }
  Handle get() const { return handle_; }

 private:
  void swap(Owned& other) {
    std::swap(functions_, other.functions_);
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
  }
  const Functions* functions_ = nullptr;
  VkDevice device_ = VK_NULL_HANDLE;
  Handle handle_ = VK_NULL_HANDLE;
};

using OwnedBuffer = Owned<VkBuffer, &Functions::vkDestroyBuffer>;
using OwnedMemory = Owned<VkDeviceMemory, &Functions::vkFreeMemory>;
using OwnedSemaphore = Owned<VkSemaphore, &Functions::vkDestroySemaphore>;
using OwnedCommandPool = Owned<VkCommandPool, &Functions::vkDestroyCommandPool>;
using OwnedDescriptorPool = Owned<VkDescriptorPool, &Functions::vkDestroyDescriptorPool>;
using OwnedSetLayout = Owned<VkDescriptorSetLayout, &Functions::vkDestroyDescriptorSetLayout>;
using OwnedPipelineLayout = Owned<VkPipelineLayout, &Functions::vkDestroyPipelineLayout>;
using OwnedPipeline = Owned<VkPipeline, &Functions::vkDestroyPipeline>;
using OwnedPipelineCache = Owned<VkPipelineCache, &Functions::vkDestroyPipelineCache>;
using OwnedShaderModule = Owned<VkShaderModule, &Functions::vkDestroyShaderModule>;

}  // namespace darkroom::vulkan
