#include "backends/vulkan/pipelines.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "base/file_map.h"

namespace darkroom::vulkan {
namespace {

constexpr std::size_t kMostCacheBytes = std::size_t{256} << 20;
constexpr std::size_t kMostCacheFiles = 8;  // of other devices, drivers and versions of darkroom
constexpr char kCachePrefix[] = "vulkan-", kCacheExtension[] = ".pipelines";
constexpr std::string_view kCacheMagic = "darkroom pipeline cache 1\n";

// Of all shaders: compiled code of others is of no use.
Digest shader_digest() {
  Sha256 sum;
  for (const ShaderRow& row : kShaders) sum.add(*row.spirv);
  return sum.finish();
}

std::string_view as_text(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string_view spirv_of(Shader shader) { return *kShaders[static_cast<std::size_t>(shader)].spirv; }

// The driver's data in a file of ours, or nothing when the file is not whole.
std::string_view payload_of(std::string_view file) {
  const std::size_t before = kCacheMagic.size() + sizeof(Digest);
  if (file.size() < before || !file.starts_with(kCacheMagic)) return {};
  const std::string_view payload = file.substr(before);
  const Digest sum = sha256(std::as_bytes(std::span(payload)));
  return file.substr(kCacheMagic.size(), sizeof(Digest)) == as_text(sum) ? payload : std::string_view();
}

// Whether the driver's header in its data is of this device: drivers should look themselves, and not all do.
bool is_for(std::string_view payload, const DeviceInfo& info) {
  VkPipelineCacheHeaderVersionOne header{};
  if (payload.size() < sizeof header) return false;
  std::memcpy(&header, payload.data(), sizeof header);
  return header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
         std::memcmp(header.pipelineCacheUUID, info.cache_uuid.data(), VK_UUID_SIZE) == 0;
}

// Using a file makes it the newest.
std::string read_cache(const std::filesystem::path& path) {
  std::error_code failed;
  if (!std::filesystem::exists(path, failed)) return {};
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), failed);
  try {
    return read_text_file(path, kMostCacheBytes);
  } catch (const Error&) {
    return {};
  }
}

// Deletes those that were used the longest ago.
void trim(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code failed, gone;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(kCachePrefix) || !name.ends_with(kCacheExtension)) continue;
    const fs::file_time_type used = it->last_write_time(gone);
    if (!gone) files.emplace_back(used, it->path());
  }
  std::ranges::sort(files, std::greater());
  for (std::size_t i = kMostCacheFiles; i < files.size(); ++i) fs::remove(files[i].second, gone);
}

}  // namespace

Pipelines::Pipelines(Device& device, std::filesystem::path cache_folder)
    : device_(device), folder_(std::move(cache_folder)) {
  make_cache();
}

Pipelines::~Pipelines() { save(); }

std::string Pipelines::digest() const {
  Sha256 sum;
  sum.add(as_text(shader_digest()));
  sum.add(std::as_bytes(std::span(device_.info().cache_uuid)));
  return hex(sum.finish()).substr(0, 32);
}

std::filesystem::path Pipelines::cache_path() const {
  return folder_ / (kCachePrefix + digest() + kCacheExtension);
}

void Pipelines::make_cache() {
  const std::string file = folder_.empty() ? std::string() : read_cache(cache_path());
  std::string_view payload = payload_of(file);
  if (!is_for(payload, device_.info())) payload = {};
  saved_ = sha256(std::as_bytes(std::span(payload)));
  VkPipelineCacheCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  create.initialDataSize = payload.size();
  create.pInitialData = payload.data();
  VkPipelineCache cache = VK_NULL_HANDLE;
  check(device_.functions().vkCreatePipelineCache(device_.handle(), &create, nullptr, &cache),
        "vkCreatePipelineCache");
  cache_ = OwnedPipelineCache(device_.functions(), device_.handle(), cache);
}

void Pipelines::save() noexcept try {
  const std::lock_guard lock(mutex_);
  if (folder_.empty() || !changed_) return;
  const Functions& f = device_.functions();
  std::size_t bytes = 0;
  if (f.vkGetPipelineCacheData(device_.handle(), cache_.get(), &bytes, nullptr) != VK_SUCCESS) return;
  std::string payload(bytes, '\0');
  if (f.vkGetPipelineCacheData(device_.handle(), cache_.get(), &bytes, payload.data()) != VK_SUCCESS) return;
  payload.resize(bytes);
  const Digest sum = sha256(std::as_bytes(std::span(payload)));
  if (sum == saved_) return;
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(kCacheMagic)),
                                               std::as_bytes(std::span(sum)),
                                               std::as_bytes(std::span(payload))};
  std::error_code failed;
  if (std::filesystem::create_directories(folder_, failed))
    std::filesystem::permissions(folder_, std::filesystem::perms::owner_all, failed);
  write_pieces_atomically(cache_path(), pieces, true);
  trim(folder_);
  changed_ = false;
  saved_ = sum;
} catch (...) {  // a full disk, no memory: the next run compiles again
}

const Pipelines::Layout& Pipelines::layout(uint32_t bindings) {
  const auto found = layouts_.find(bindings);
  if (found != layouts_.end()) return found->second;
  const Functions& f = device_.functions();
  std::vector<VkDescriptorSetLayoutBinding> list(bindings);
  for (uint32_t i = 0; i < bindings; ++i) {
    list[i].binding = i;
    list[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    list[i].descriptorCount = 1;
    list[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  }
  VkDescriptorSetLayoutCreateInfo set_create{};
  set_create.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
  set_create.bindingCount = bindings;
  set_create.pBindings = list.data();
  VkDescriptorSetLayout set = VK_NULL_HANDLE;
  check(f.vkCreateDescriptorSetLayout(device_.handle(), &set_create, nullptr, &set),
        "vkCreateDescriptorSetLayout");
  Layout made;
  made.set = OwnedSetLayout(f, device_.handle(), set);
  const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes};
  VkPipelineLayoutCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  create.setLayoutCount = 1;
  create.pSetLayouts = &set;
  create.pushConstantRangeCount = 1;
  create.pPushConstantRanges = &push;
  VkPipelineLayout pipeline = VK_NULL_HANDLE;
  check(f.vkCreatePipelineLayout(device_.handle(), &create, nullptr, &pipeline), "vkCreatePipelineLayout");
  made.pipeline = OwnedPipelineLayout(f, device_.handle(), pipeline);
  return layouts_.emplace(bindings, std::move(made)).first->second;
}

// Kept: of most shaders there are several pipelines.
VkShaderModule Pipelines::module(Shader shader) {
  OwnedShaderModule& kept = modules_[shader];
  if (kept.get() != VK_NULL_HANDLE) return kept.get();
  const std::string_view spirv = spirv_of(shader);
  std::vector<uint32_t> words(spirv.size() / 4);
  std::memcpy(words.data(), spirv.data(), words.size() * 4);
  VkShaderModuleCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  create.codeSize = words.size() * 4;
  create.pCode = words.data();
  VkShaderModule made = VK_NULL_HANDLE;
  check(device_.functions().vkCreateShaderModule(device_.handle(), &create, nullptr, &made),
        "vkCreateShaderModule");
  kept = OwnedShaderModule(device_.functions(), device_.handle(), made);
  return made;
}

OwnedPipeline Pipelines::make(const PipelineKey& key, VkPipelineLayout layout) {
  std::vector<VkSpecializationMapEntry> entries;
  for (uint32_t i = 0; i < key.constants.size(); ++i) entries.push_back({i, 4 * i, 4});
  const VkSpecializationInfo specialization{static_cast<uint32_t>(entries.size()), entries.data(),
                                            key.constants.size() * 4, key.constants.data()};
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup{};
  subgroup.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
  subgroup.requiredSubgroupSize = key.subgroup;
  VkComputePipelineCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  create.layout = layout;
  create.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  create.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  create.stage.module = module(key.shader);
  create.stage.pName = "main";
  create.stage.pSpecializationInfo = &specialization;
  if (key.subgroup != 0) {
    create.stage.pNext = &subgroup;
    create.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
  }
  VkPipeline made = VK_NULL_HANDLE;
  check(device_.functions().vkCreateComputePipelines(device_.handle(), cache_.get(), 1, &create, nullptr,
                                                     &made),
        "vkCreateComputePipelines");
  return {device_.functions(), device_.handle(), made};
}

Pipelines::Pipeline Pipelines::get(const PipelineKey& key) {
  const std::lock_guard lock(mutex_);
  const Layout& shape = layout(key.bindings);
  auto found = pipelines_.find(key);
  if (found == pipelines_.end()) {
    found = pipelines_.emplace(key, make(key, shape.pipeline.get())).first;
    changed_ = true;
  }
  return {found->second.get(), shape.pipeline.get(), shape.set.get()};
}

std::size_t Pipelines::count() const {
  const std::lock_guard lock(mutex_);
  return pipelines_.size();
}

}  // namespace darkroom::vulkan
