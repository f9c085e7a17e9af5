// Compute pipelines by shader, constants and subgroup size: made when first used, then kept.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backends/vulkan/device.h"
#include "backends/vulkan/shader_list.h"
#include "base/sha256.h"

namespace darkroom::vulkan {

inline constexpr uint32_t kPushBytes = 128, kMostBindings = 16;

struct PipelineKey {
  Shader shader{};
  uint32_t bindings = 0;
  std::vector<uint32_t> constants;  // specialization constants 0, 1, …
  uint32_t subgroup = 0;            // the size demanded, in full subgroups; 0: any
  auto operator<=>(const PipelineKey&) const = default;
};

// Thread-safe. The device must outlive it.
class Pipelines {
 public:
  // `cache_folder`: where the driver's compiled code is kept from run to run; empty: nowhere.
  Pipelines(Device& device, std::filesystem::path cache_folder);
  ~Pipelines();
  Pipelines(const Pipelines&) = delete;
  Pipelines& operator=(const Pipelines&) = delete;

  struct Pipeline {
    VkPipeline pipeline = VK_NULL_HANDLE;
    VkPipelineLayout layout = VK_NULL_HANDLE;
    VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
  };
  // Errors: as check().
  Pipeline get(const PipelineKey& key);

  std::size_t count() const;
  // Of all shaders and of who compiles them: the device's driver in its version. Digits.
  std::string digest() const;
  // Writes what the driver compiled into the folder, if there is something new. Never throws: a cache that
  // cannot be written costs time, not the result.
  void save() noexcept;

 private:
  struct Layout {
    OwnedSetLayout set;
    OwnedPipelineLayout pipeline;
  };
  const Layout& layout(uint32_t bindings);
  VkShaderModule module(Shader shader);
  OwnedPipeline make(const PipelineKey& key, VkPipelineLayout layout);
  std::filesystem::path cache_path() const;
  void make_cache();

  Device& device_;
  std::filesystem::path folder_;
  mutable std::mutex mutex_;
  OwnedPipelineCache cache_;
  std::map<uint32_t, Layout> layouts_;
  std::map<Shader, OwnedShaderModule> modules_;
  std::map<PipelineKey, OwnedPipeline> pipelines_;
  bool changed_ = false;
  Digest saved_{};  // of what the driver compiled and is in the folder
};

}  // namespace darkroom::vulkan
