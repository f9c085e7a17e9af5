#include "backends/vulkan/vulkan.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "backends/vulkan/backend.h"
#include "backends/vulkan/kernels.h"
#include "base/half.h"
#include "tensor/blocks.h"

namespace darkroom {
namespace vulkan {
namespace {

// What a backend gives out. Its end waits for the ops that use it.
class VulkanMemory final : public Memory {
 public:
  VulkanMemory(std::shared_ptr<Core> core, std::unique_ptr<Block> block)
      : Memory(darkroom::Device::kGpu, block->data(), block->size()),
        core_(std::move(core)),
        block_(std::move(block)) {}
  ~VulkanMemory() override { core_->recorder.drain(); }

 private:
  std::shared_ptr<Core> core_;  // outlives the block
  std::unique_ptr<Block> block_;
};

// Values of the host as a tensor stores them, row after row.
std::vector<std::byte> stored(std::span<const float> host, const Tensor& out) {
  std::vector<std::byte> bytes(host.size() * dtype_bytes(out.dtype));
  if (out.dtype == DType::kF32) {
    std::ranges::copy(std::as_bytes(host), bytes.begin());
  } else if (out.dtype == DType::kBF16) {
    const auto convert = [](float value) { return to_bfloat16(value); };
    std::ranges::transform(host, reinterpret_cast<BFloat16*>(bytes.data()), convert);
  } else {
    fail(ErrorCode::kFailure, "upload: {} is neither f32 nor bf16; please report this", out);
  }
  return bytes;
}

void load(std::span<const std::byte> bytes, DType dtype, std::span<float> host) {
  if (is_block(dtype))
    return dequantize_blocks(dtype, bytes.data(), static_cast<int64_t>(host.size()), host.data());
  dispatch_matrix_storage(dtype, [&]<typename T>() {
    const T* values = reinterpret_cast<const T*>(bytes.data());
    std::transform(values, values + host.size(), host.begin(), [](T value) { return to_float(value); });
  });
}

Rows rows_of(const Tensor& x) {
  return {static_cast<std::size_t>(x.rows()), row_bytes(x.dtype, x.cols()), row_bytes(x.dtype, x.row_stride)};
}

class VulkanBackend final : public Backend {
 public:
  explicit VulkanBackend(std::shared_ptr<Core> core) : core_(std::move(core)), recorder_(core_->recorder) {}

  std::string name() const override {
    const DeviceInfo& info = core_->device.info();
    return fmt::format("vulkan {}, {}", info.name, info.driver);
  }
  darkroom::Device device() const override { return darkroom::Device::kGpu; }
  Identity identity() const override {
    const DeviceInfo& info = core_->device.info();
    return {info.name, info.driver, std::string(class_name(info.device_class)), core_->pipelines.digest()};
  }

  std::unique_ptr<Memory> allocate(std::size_t bytes) override {
    return std::make_unique<VulkanMemory>(core_, core_->pool.allocate(bytes, MemoryKind::kTensors));
  }
  void fill(std::byte* place, std::size_t bytes, const Write& write) override {
    core_->transfers.fill(core_->pool.find(place, bytes), bytes, write);
  }
  void look_at(const std::byte* place, std::size_t bytes, const Look& look) override {
    recorder_.wait(recorder_.mark());
    core_->transfers.look_at(core_->pool.find(place, bytes), {1, bytes, bytes}, look);
  }
  std::optional<DeviceMemory> device_memory() const override {
    const MemoryPool& pool = core_->pool;
    const std::size_t allowed = pool.limit(), held = pool.all().bytes;
    return DeviceMemory{.free_bytes = allowed - std::min(allowed, held),
                        .held_bytes = pool.tensors().bytes,
                        .peak_bytes = pool.tensors().peak,
                        .staged = !pool.is_mapped()};
  }
  void begin_peak() override { core_->pool.begin_peak(); }
  void limit_memory(std::size_t bytes) override { core_->pool.limit_tensors(bytes); }
  Ticket mark() override { return recorder_.mark(); }
  void wait(Ticket ticket) override { recorder_.wait(ticket); }

  void upload(std::span<const float> host, const Tensor& out) override {
    if (host.empty()) return;
    const std::vector<std::byte> bytes = stored(host, out);
    recorder_.wait(recorder_.mark());
    core_->transfers.put(core_->pool.find(out.data, binding_bytes(out)), rows_of(out), bytes);
  }
  void download(const Tensor& x, std::span<float> host) override {
    if (host.empty()) return;
    recorder_.wait(recorder_.mark());
    core_->transfers.look_at(core_->pool.find(x.data, binding_bytes(x)), rows_of(x),
                             [&](std::span<const std::byte> bytes) { load(bytes, x.dtype, host); });
  }

  void add(const AddArgs& args) override { vulkan::add(recorder_, args); }
  void activate(const ActivateArgs& args) override { vulkan::activate(recorder_, args); }
  void gated_gelu(const GatedGeluArgs& args) override { vulkan::gated_gelu(recorder_, args); }
  void convert(const ConvertArgs& args) override { vulkan::convert(recorder_, args); }

  void embed(const EmbedArgs& args) override { vulkan::embed(recorder_, args); }
  void linear(const LinearArgs& args) override { vulkan::linear(recorder_, args); }
  void quantize_rows(const QuantizeRowsArgs& args) override { vulkan::quantize_rows(recorder_, args); }
  void column_magnitudes(const ColumnMagnitudesArgs& args) override {
    vulkan::column_magnitudes(recorder_, args);
  }
  void layer_norm(const LayerNormArgs& args) override { vulkan::layer_norm(recorder_, args); }
  void norm_modulate(const NormModulateArgs& args) override { vulkan::norm_modulate(recorder_, args); }
  void rms_norm(const RmsNormArgs& args) override { vulkan::rms_norm(recorder_, args); }
  void qk_norm_rope(const QkNormRopeArgs& args) override { vulkan::qk_norm_rope(recorder_, args); }
  void attention(const AttentionArgs& args) override { vulkan::attention(recorder_, args); }
  void row_distances(const RowDistancesArgs& args) override { vulkan::row_distances(recorder_, args); }
  void row_moments(const RowMomentsArgs& args) override { vulkan::row_moments(recorder_, args); }
  void group_statistics(const GroupStatisticsArgs& args) override {
    vulkan::group_statistics(recorder_, args);
  }
  void group_norm(const GroupNormArgs& args) override { vulkan::group_norm(recorder_, args); }
  void conv2d(const Conv2dArgs& args) override { vulkan::conv2d(recorder_, args); }

 private:
  // From a tensor's first byte to its last.
  static std::size_t binding_bytes(const Tensor& x) {
    return row_bytes(x.dtype, (x.rows() - 1) * x.row_stride) + row_bytes(x.dtype, x.cols());
  }

  std::shared_ptr<Core> core_;
  Recorder& recorder_;
};

std::string_view kind_of(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return "cpu";
    default:
      return "other";
  }
}

}  // namespace

std::unique_ptr<Backend> make_backend(std::shared_ptr<Core> core) {
  return std::make_unique<VulkanBackend>(std::move(core));
}

std::shared_ptr<Core> open_core(const VulkanOptions& options) {
  CoreOptions core;
  core.device = options.device;
  core.highest_class = vulkan::class_of(options.highest_class);
  core.instance.validation = options.validation;
  core.memory = {options.memory_limit, options.force_staging};
  core.cache_folder = options.cache_folder;
  return std::make_shared<Core>(core);
}

VulkanDevice describe(const Instance& instance, const DeviceInfo& info) {
  return {info.name,
          info.driver,
          std::string(kind_of(info.type)),
          std::string(class_name(info.device_class)),
          info.reason,
          info.main_heap_bytes(),
          instance.main_heap_budget(info)};
}

}  // namespace vulkan

std::unique_ptr<Backend> make_vulkan_backend(const VulkanOptions& options) {
  return vulkan::make_backend(vulkan::open_core(options));
}

VulkanDevices vulkan_devices() try {
  const vulkan::Instance instance({});
  VulkanDevices found;
  for (const vulkan::DeviceInfo& info : instance.devices()) {
    found.devices.push_back(vulkan::describe(instance, info));
  }
  if (found.devices.empty()) found.reason = "no Vulkan driver offers a device";
  return found;
} catch (const Error& e) {
  return {{}, e.what()};
}

}  // namespace darkroom
