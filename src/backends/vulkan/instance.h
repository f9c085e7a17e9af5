// Vulkan, loaded, and the devices that its drivers offer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/vulkan/device_info.h"

namespace darkroom::vulkan {

struct InstanceOptions {
  PFN_vkGetInstanceProcAddr entry = nullptr;  // in place of the system's library, for tests
  bool validation = false;                    // Khronos' layer; what it says is in messages()
};

// Vulkan, loaded and asked for devices. Not copyable, not movable.
class Instance {
 public:
  // Errors: kFailure with the reason why there is no Vulkan here.
  explicit Instance(const InstanceOptions& options);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const Functions& functions() const { return functions_; }
  // In the drivers' order; a card that two drivers serve is there once, with the higher class.
  std::vector<DeviceInfo> devices() const;
  bool validation() const { return messenger_ != VK_NULL_HANDLE; }
  // Warnings and errors of the validation layer so far.
  std::vector<std::string> messages() const;
  // What this process may take of the device's main heap now, as the driver says, or its size.
  VkDeviceSize main_heap_budget(const DeviceInfo& info) const;

 private:
  DeviceInfo describe(VkPhysicalDevice handle) const;
  void describe_features(DeviceInfo& info) const;
  void describe_matrices(DeviceInfo& info) const;
  void make_messenger();

  struct Messages;
  Library library_;
  Functions functions_;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  std::unique_ptr<Messages> messages_;
};

}  // namespace darkroom::vulkan
