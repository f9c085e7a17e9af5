// The host's side of the Vulkan backend on a driver that is a test itself.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "backends/vulkan/backend.h"
#include "backends/vulkan/core.h"
#include "base/error.h"
#include "fake_vulkan.h"
#include "tensor/buffer.h"

namespace darkroom {
namespace {

using fake::Driver;
using fake::Gpu;
using fake::kGiB;
using fake::kMiB;
using vulkan::DeviceClass;
using vulkan::DeviceInfo;
using enum vulkan::MemoryKind;

vulkan::CoreOptions options_of(const std::string& device = "gpu") {
  vulkan::CoreOptions options;
  options.device = device;
  options.instance.entry = Driver::entry();
  return options;
}

// out = x + y_scale·y, as shaders/pointwise.comp has it for f32.
void add_kernel(const fake::Dispatched& d) {
  uint32_t push[16];
  std::memcpy(push, d.push.data(), sizeof push);
  float y_scale = 0;
  std::memcpy(&y_scale, &push[14], sizeof y_scale);
  const auto floats = [&](std::size_t binding, uint32_t first) {
    return reinterpret_cast<float*>(d.bindings[binding].data()) + first;
  };
  const uint32_t cols = push[3], rows = push[5] / push[4];
  for (uint32_t r = 0; r < rows; ++r) {
    const float *x = floats(0, push[10] + r * push[6]), *y = floats(1, push[11] + r * push[7]);
    float* out = floats(3, push[13] + r * push[9]);
    for (uint32_t i = 0; i < cols; ++i) out[i] = x[i] + y_scale * y[i];
  }
}

// As shaders/embed.comp for f32.
void embed_kernel(const fake::Dispatched& d) {
  uint32_t push[32];
  std::memcpy(push, d.push.data(), sizeof push);
  const float* table = reinterpret_cast<const float*>(d.bindings[0].data());
  float* out = reinterpret_cast<float*>(d.bindings[1].data());
  for (uint32_t r = 0; r < d.groups[0] / push[1]; ++r) {
    const std::size_t from = push[3] + push[7 + r] * push[2];
    ASSERT_LE(4 * (from + push[0]), d.bindings[0].size());
    std::memcpy(out + push[5] + r * push[4], table + from, 4 * push[0]);
  }
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// Also checks that nothing is left and nothing was done that a driver need not survive.
class FakeVulkan : public testing::Test {
 protected:
  void SetUp() override { driver_.on_dispatch = add_kernel; }
  void TearDown() override {
    EXPECT_EQ(driver_.live(), 0u);
    for (const std::string& fault : driver_.faults()) ADD_FAILURE() << fault;
  }
  std::vector<DeviceInfo> devices() { return vulkan::Instance({.entry = Driver::entry()}).devices(); }
  DeviceInfo described(const Gpu& gpu) {
    driver_.gpus = {gpu};
    return devices().at(0);
  }

  Driver driver_;
};

// Allocates, fills, computes in several submits, reads back and lets go.
std::vector<float> add_forty_times(const vulkan::CoreOptions& options) {
  const auto core = std::make_shared<vulkan::Core>(options);
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(1 << 16);
  Arena arena(*memory);
  const Tensor x = arena.allocate(DType::kF32, {3, 100}), one = arena.allocate(DType::kF32, {3, 100});
  backend->fill(static_cast<std::byte*>(one.data), one.bytes(), [](std::span<std::byte> bytes) {
    std::fill_n(reinterpret_cast<float*>(bytes.data()), bytes.size() / 4, 1.0f);
  });
  std::vector<float> values(300, 2.0f);
  backend->upload(values, x);
  for (int i = 0; i < 40; ++i) backend->add({.x = x, .y = one, .z = {}, .out = x, .y_scale = 0.5f});
  backend->wait(backend->mark());
  backend->download(x, values);
  return values;
}

TEST_F(FakeVulkan, RunsASequence) {
  const std::vector<float> want(300, 22.0f);
  vulkan::CoreOptions options = options_of();
  EXPECT_EQ(add_forty_times(options), want);
  EXPECT_EQ(driver_.transfer_submits(),
            1u);  // fill(); the copies of upload and download are on the other queue
  EXPECT_EQ(driver_.submits(), 5u);
  options.recorder.most_dispatches = 1;
  EXPECT_EQ(add_forty_times(options), want);
  driver_.gpus[0].transfer_queue = false;
  EXPECT_EQ(add_forty_times(options), want);
}

// Every call of a driver that can fail, in turn: one error that says what, nothing left behind, no hang.
TEST_F(FakeVulkan, EveryCallMayFail) {
  const std::filesystem::path folder = testing::TempDir() + "darkroom_fake_vulkan";
  vulkan::CoreOptions options = options_of();
  options.recorder.most_dispatches = 10;
  options.cache_folder = folder;
  add_forty_times(options);
  const int calls = driver_.calls();
  ASSERT_GT(calls, 100);
  for (const VkResult result :
       {VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_DEVICE_LOST}) {
    std::vector<std::string> unheard;
    for (int n = 1; n <= calls; ++n) {
      Driver driver;
      driver.on_dispatch = add_kernel;
      driver.fail_call(n, result);
      std::string what;
      ErrorCode code{};
      try {
        EXPECT_EQ(add_forty_times(options), std::vector<float>(300, 22.0f));
      } catch (const Error& e) {
        what = e.what();
        code = e.code();
      }
      SCOPED_TRACE(fmt::format("call {}, {}: {}", n, driver.failed_name(), what));
      EXPECT_TRUE(driver.failed());
      EXPECT_EQ(driver.live(), 0u);
      for (const std::string& fault : driver.faults()) ADD_FAILURE() << fault;
      if (what.empty()) {
        unheard.push_back(driver.failed_name());
        continue;
      }
      EXPECT_EQ(what.find('\n'), std::string::npos);
      EXPECT_NE(what.find(driver.failed_name()), std::string::npos);
      EXPECT_EQ(code, result == VK_ERROR_DEVICE_LOST ? ErrorCode::kDevice : ErrorCode::kOutOfMemory);
    }
    // Memory that ends, the cache, which is done without, and the end of all parts.
    EXPECT_EQ(unheard, (std::vector<std::string>{"vkWaitSemaphores", "vkDeviceWaitIdle", "vkDeviceWaitIdle",
                                                 "vkGetPipelineCacheData", "vkGetPipelineCacheData",
                                                 "vkDeviceWaitIdle"}));
  }
  std::filesystem::remove_all(folder);
}

// Reads the list of a device's class, and why not more.
std::string class_of(const DeviceInfo& info) {
  return std::string(vulkan::class_name(info.device_class)) + (info.reason.empty() ? "" : ": " + info.reason);
}

TEST_F(FakeVulkan, ClassesAndWhyNotMore) {
  using enum vulkan::Component;
  Gpu gpu;
  EXPECT_EQ(class_of(described(gpu)), "S: the driver has no VK_KHR_cooperative_matrix");
  gpu.fast_dot = true;
  EXPECT_EQ(class_of(described(gpu)), "D: the driver has no VK_KHR_cooperative_matrix");
  gpu.dot = false;
  EXPECT_EQ(described(gpu).device_class, DeviceClass::kScalar);
  gpu.dot = true;
  gpu.give_matrices({kF16});
  EXPECT_EQ(class_of(described(gpu)), "M: no matrices of bf16");
  gpu.give_matrices({kBF16});
  EXPECT_EQ(class_of(described(gpu)), "M+bf16");
  EXPECT_EQ(described(gpu).matrix_shapes.size(), 2u);

  Gpu no_f16_sums = gpu;
  no_f16_sums.matrices.clear();
  EXPECT_EQ(class_of(described(no_f16_sums)),
            "D: the driver lists cooperative matrices but does not enable them");
  no_f16_sums.give_matrices({kBF16});
  EXPECT_EQ(class_of(described(no_f16_sums)), "D: no matrices of f16 with sums in f32");
  no_f16_sums.give_matrices({kF16});
  for (vulkan::CooperativeMatrixProperties& p : no_f16_sums.matrices) p.scope = 2;  // of workgroups
  EXPECT_EQ(class_of(described(no_f16_sums)), "D: no matrices of f16 with sums in f32");

  Gpu amd = gpu;
  amd.driver_id = VK_DRIVER_ID_AMD_PROPRIETARY;
  EXPECT_EQ(class_of(described(amd)), "D: AMD's driver only imitates matrices on cards before RDNA3");
  amd.mixed_dot = true;
  EXPECT_EQ(class_of(described(amd)), "M+bf16");
  Gpu intel = gpu;
  intel.driver_id = VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA;
  intel.min_subgroup = 8;
  EXPECT_EQ(class_of(described(intel)), "D: matrices are slow on Intel's cards before Xe2");
  intel.min_subgroup = 16;
  EXPECT_EQ(class_of(described(intel)), "M+bf16");
  Gpu rigid = gpu;
  rigid.subgroup_control = false;
  EXPECT_EQ(class_of(described(rigid)), "D: no choice of the subgroup size");

  Gpu old = gpu;
  old.api_version = VK_API_VERSION_1_1;
  EXPECT_EQ(class_of(described(old)), "unusable: Vulkan 1.1, at least 1.2 is needed");
  Gpu dozen = gpu;
  dozen.driver_id = VK_DRIVER_ID_MESA_DOZEN;
  EXPECT_EQ(class_of(described(dozen)), "unusable: Microsoft's layer over Direct3D is not supported");
  Gpu no_halves = gpu, no_bytes = gpu, no_compute = gpu;
  no_halves.storage16 = no_bytes.storage8 = no_compute.compute = false;
  EXPECT_EQ(class_of(described(no_halves)), "unusable: no 16-bit storage");
  EXPECT_EQ(class_of(described(no_bytes)), "unusable: no 8-bit storage");
  EXPECT_EQ(class_of(described(no_compute)), "unusable: no queue for compute");
}

TEST_F(FakeVulkan, AnExtensionOfVulkan12IsAskedOnlyWhereItIs) {
  Gpu gpu;
  gpu.api_version = VK_API_VERSION_1_2;
  DeviceInfo info = described(gpu);
  EXPECT_EQ(info.device_class, DeviceClass::kScalar);
  EXPECT_FALSE(info.subgroup_control);
  EXPECT_EQ(info.max_buffer, gpu.max_allocation);
  gpu.extensions = {"VK_EXT_subgroup_size_control", "VK_KHR_shader_integer_dot_product"};
  gpu.fast_dot = true;
  info = described(gpu);
  EXPECT_EQ(info.device_class, DeviceClass::kDot);
  EXPECT_TRUE(info.subgroup_control);
  vulkan::Core core(options_of());
}

TEST_F(FakeVulkan, ACardOfTwoDriversIsThereOnce) {
  Gpu plain, better;
  better.name = "Fake GPU, other driver";
  better.fast_dot = true;
  driver_.gpus = {plain, better, plain};
  std::vector<DeviceInfo> found = devices();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, better.name);
  driver_.gpus[0].driver_id = VK_DRIVER_ID_MESA_DOZEN;
  driver_.gpus[2].uuid = 2;
  found = devices();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, better.name);
  // Without an identity (before Vulkan 1.2) they are different cards.
  driver_.gpus = {plain, plain};
  for (Gpu& gpu : driver_.gpus) gpu.api_version = VK_API_VERSION_1_1;
  EXPECT_EQ(devices().size(), 2u);
}

TEST_F(FakeVulkan, ChoosesADevice) {
  Gpu cpu, integrated, small, large, broken;
  cpu.name = "llvmpipe (LLVM 15)";
  cpu.type = VK_PHYSICAL_DEVICE_TYPE_CPU;
  integrated.name = "Radeon 780M";
  integrated.type = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
  integrated.heaps[1].size = 32 * kGiB;
  small.name = "Arc A380";
  large.name = "GeForce RTX 3060";
  large.heaps[1].size = 12 * kGiB;
  broken.name = "Old card";
  broken.storage16 = false;
  driver_.gpus = {broken, cpu, integrated, small, large};
  uint8_t uuid = 0;
  for (Gpu& gpu : driver_.gpus) gpu.uuid = ++uuid;
  const auto found = devices();
  const auto chosen = [&](const char* text) { return vulkan::choose_device(found, text).name; };
  EXPECT_EQ(chosen("gpu"), large.name);
  EXPECT_EQ(chosen("gpu:1"), cpu.name);
  EXPECT_EQ(chosen("gpu:3"), small.name);
  EXPECT_EQ(chosen("LLVMpipe"), cpu.name);
  EXPECT_EQ(chosen("780m"), integrated.name);
  EXPECT_EQ(message_of([&] { chosen("gpu:0"); }), "Old card cannot be used: no 16-bit storage");
  const std::string list =
      "there are: gpu:0 Old card (cannot be used: no 16-bit storage); gpu:1 llvmpipe (LLVM 15); gpu:2 Radeon "
      "780M; gpu:3 Arc A380; gpu:4 GeForce RTX 3060";
  for (const char* text : {"gpu:5", "gpu:", "gpu:-1", "gpu:1x", "gpu:99999999999", "Vega", ""}) {
    EXPECT_EQ(message_of([&] { chosen(text); }), fmt::format("no graphics device '{}'; {}", text, list));
  }
  const std::vector<DeviceInfo> only_cpu = {found[1]};
  EXPECT_EQ(
      message_of([&] { vulkan::choose_device(only_cpu, "gpu"); }),
      "no graphics device for Vulkan that can be used; there are: gpu:0 llvmpipe (LLVM 15); a driver that "
      "computes on the processor is used only by its name");
  EXPECT_EQ(message_of([&] { vulkan::choose_device({}, "gpu"); }),
            "no graphics device for Vulkan that can be used; there is none");
}

TEST_F(FakeVulkan, DeviceMemoryNeverLiesElsewhere) {
  for (const VkDeviceSize size : {4 * kGiB, 8 * kGiB, 12 * kGiB}) {
    driver_.gpus[0].heaps[1].size = size;
    const auto core = std::make_shared<vulkan::Core>(options_of());
    const std::size_t before = core->pool.all().bytes, seen = driver_.memory_types().size();
    std::vector<std::unique_ptr<vulkan::Block>> blocks;
    const std::string message = message_of([&] {
      for (;;) blocks.push_back(core->pool.allocate(kGiB, kTensors));
    });
    EXPECT_EQ(blocks.size(), size / kGiB - 1);  // the recorder holds a little
    EXPECT_EQ(message,
              fmt::format("Fake GPU: {} bytes of its memory asked for, {} held, {} allowed of {} in the heap",
                          kGiB, before + (size / kGiB - 1) * kGiB, size, size));
    for (std::size_t i = seen; i < driver_.memory_types().size(); ++i)
      EXPECT_EQ(driver_.memory_types()[i], 2u);
    EXPECT_EQ(blocks[0]->mapped(), nullptr);
    blocks.clear();
    EXPECT_EQ(core->pool.all().bytes, before);
    EXPECT_EQ(core->pool.tensors().peak, (size / kGiB - 1) * kGiB);
  }
}

TEST_F(FakeVulkan, LimitsOfMemoryAreObeyedBeforeTheDriverIsAsked) {
  driver_.gpus[0].budget = 3 * kGiB;
  driver_.gpus[0].max_allocation = 2 * kGiB;
  vulkan::CoreOptions options = options_of();
  {
    vulkan::Core core(options);
    EXPECT_EQ(core.pool.limit(), 3 * kGiB);
    const auto one = core.pool.allocate(2 * kGiB, kTensors);
    const std::size_t asked = driver_.memory_types().size();
    EXPECT_NE(
        message_of([&] { core.pool.allocate(kGiB, kTensors); }).find("3221225472 allowed of 8589934592"),
        std::string::npos);
    EXPECT_EQ(message_of([&] { core.pool.allocate(2 * kGiB + 1, kTensors); }),
              "Fake GPU: 2147483649 bytes of device memory in one piece asked for, the driver gives at most "
              "2147483648");
    EXPECT_THROW(core.pool.allocate(~std::size_t{0}, kTensors), Error);
    EXPECT_EQ(driver_.memory_types().size(), asked);
    driver_.gpus[0].budget = 4 * kGiB;  // another program has ended
    core.pool.allocate(kGiB, kTensors);
  }
  options.memory.limit = kGiB;
  vulkan::Core core(options);
  EXPECT_EQ(core.pool.limit(), kGiB);
  EXPECT_THROW(core.pool.allocate(kGiB, kTensors), Error);
}

TEST_F(FakeVulkan, TheBackendSaysWhatItHoldsAndRefusesMore) {
  const auto core = std::make_shared<vulkan::Core>(options_of());
  const auto backend = vulkan::make_backend(core);
  const std::size_t own = core->pool.all().bytes;
  auto one = backend->allocate(kGiB);
  backend->allocate(kGiB);
  Backend::DeviceMemory memory = *backend->device_memory();
  EXPECT_EQ(memory.free_bytes, 7 * kGiB - own);
  EXPECT_EQ(memory.held_bytes, kGiB);
  EXPECT_EQ(memory.peak_bytes, 2 * kGiB);
  EXPECT_TRUE(memory.staged);
  backend->begin_peak();
  EXPECT_EQ(backend->device_memory()->peak_bytes, kGiB);
  backend->limit_memory(2 * kGiB);
  const auto two = backend->allocate(kGiB);
  EXPECT_EQ(
      message_of([&] { backend->allocate(1); }),
      "Fake GPU: 1 bytes of its memory asked for, 2147483648 held, 2147483648 allowed of 8589934592 in the "
      "heap");
  core->recorder.scratch(kMiB);  // is no tensor
  one.reset();
  EXPECT_EQ(backend->device_memory()->held_bytes, kGiB);
}

TEST_F(FakeVulkan, MemoryIsMappedWhereAllOfItCanBe) {
  Gpu rebar;
  rebar.types.push_back({Gpu::kOwn | Gpu::kHost, 1});
  driver_.gpus = {rebar};
  vulkan::CoreOptions options = options_of();
  {
    const auto core = std::make_shared<vulkan::Core>(options);
    EXPECT_NE(core->pool.allocate(100, kTensors)->mapped(), nullptr);
    EXPECT_FALSE(vulkan::make_backend(core)->device_memory()->staged);
    EXPECT_EQ(driver_.memory_types().back(), 4u);
  }
  EXPECT_EQ(add_forty_times(options), std::vector<float>(300, 22.0f));
  EXPECT_EQ(driver_.transfer_submits(), 0u);
  EXPECT_EQ(driver_.submits(), 3u);  // two of ops, one for the download: the memory is not cached
  driver_.gpus[0].types[4].propertyFlags |= VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  EXPECT_EQ(add_forty_times(options), std::vector<float>(300, 22.0f));
  EXPECT_EQ(driver_.submits(), 3u + 2u);
  options.memory.force_staging = true;
  EXPECT_EQ(add_forty_times(options), std::vector<float>(300, 22.0f));
  EXPECT_EQ(driver_.transfer_submits(), 1u);
}

TEST_F(FakeVulkan, AddressesAreFoundAndStrangersAreNot) {
  vulkan::Core core(options_of());
  const auto a = core.pool.allocate(1000, kTensors), b = core.pool.allocate(5000, kTensors);
  const auto place = core.pool.find(b->data() + 17, 4983);
  EXPECT_EQ(place.buffer, b->buffer());
  EXPECT_EQ(place.offset, 17u);
  EXPECT_EQ(core.pool.find(a->data() + 1000, 0).block, a.get());
  EXPECT_THROW(core.pool.find(a->data(), 1001), Error);
  EXPECT_THROW(core.pool.find(b->data() - 1, 1), Error);
  EXPECT_THROW(core.pool.find(&core, 1), Error);
  EXPECT_EQ(core.recorder.before(b->data() + 100), 36u);
  EXPECT_EQ(core.recorder.before(nullptr), 0u);
}

vulkan::Dispatch touch(const vulkan::Block& block, std::size_t from, std::size_t bytes,
                       vulkan::Access access) {
  vulkan::Dispatch dispatch;
  dispatch.shader = vulkan::Shader::kPointwise;
  dispatch.bindings = {{block.data() + from, bytes, access}};
  return dispatch;
}

// Hazards become barriers, one more ends each submit.
TEST_F(FakeVulkan, BarriersOnlyWhereTheyAreNeeded) {
  driver_.on_dispatch = nullptr;
  vulkan::Core core(options_of());
  const auto block = core.pool.allocate(4096, kTensors);
  using enum vulkan::Access;
  core.recorder.dispatch(touch(*block, 0, 128, kWrite));
  core.recorder.dispatch(touch(*block, 128, 128, kWrite));
  core.recorder.dispatch(touch(*block, 512, 128, kRead));
  EXPECT_EQ(driver_.barriers(), 0u);
  core.recorder.dispatch(touch(*block, 64, 128, kRead));
  EXPECT_EQ(driver_.barriers(), 1u);
  const float zeros[2] = {};
  core.recorder.write(block->data() + 160, std::as_bytes(std::span(zeros)));
  EXPECT_EQ(driver_.barriers(), 2u);
  core.recorder.wait(core.recorder.mark());
  EXPECT_EQ(driver_.barriers(), 3u);
  core.recorder.dispatch(touch(*block, 160, 8, kRead));  // the end of the submit has seen to it
  EXPECT_EQ(driver_.barriers(), 3u);
  // What it says of itself: without the write, which is no dispatch, and the barrier at the submit's end.
  const vulkan::RecorderCounts counts = core.recorder.counts();
  EXPECT_EQ(counts.dispatches, 5u);
  EXPECT_EQ(counts.barriers, 2u);
  EXPECT_EQ(counts.submits, 1u);
}

TEST_F(FakeVulkan, TicketsSubmitWhatTheyStandFor) {
  vulkan::Core core(options_of());
  driver_.on_dispatch = nullptr;
  const auto block = core.pool.allocate(4096, kTensors);
  EXPECT_EQ(core.recorder.mark(), 0u);
  core.recorder.wait(0);
  core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite));
  const auto first = core.recorder.mark();
  EXPECT_EQ(core.recorder.mark(), first);
  EXPECT_EQ(driver_.submits(), 0u);
  std::thread([&] { core.recorder.wait(first); }).join();
  EXPECT_EQ(driver_.submits(), 1u);
  core.recorder.wait(first);
  EXPECT_EQ(driver_.submits(), 1u);
  EXPECT_EQ(core.recorder.mark(), first);
  core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite));
  EXPECT_EQ(core.recorder.mark(), first + 1);
  EXPECT_EQ(message_of([&] { core.recorder.wait(first + 2); }),
            "ticket 3 was never given out, the last is 1; please report this");
  core.recorder.wait(first + 1);
}

TEST_F(FakeVulkan, SubmitsAfterSomeDispatchesOrMuchWork) {
  driver_.on_dispatch = nullptr;
  vulkan::CoreOptions options = options_of();
  options.recorder = {.most_dispatches = 4, .most_work = 100};
  vulkan::Core core(options);
  const auto block = core.pool.allocate(4096, kTensors);
  vulkan::Dispatch dispatch = touch(*block, 0, 128, vulkan::Access::kWrite);
  for (int i = 0; i < 7; ++i) core.recorder.dispatch(dispatch);
  EXPECT_EQ(driver_.submits(), 1u);
  dispatch.work = 60;
  core.recorder.dispatch(dispatch);
  EXPECT_EQ(driver_.submits(), 2u);
  core.recorder.dispatch(dispatch);
  EXPECT_EQ(driver_.submits(), 2u);
  core.recorder.dispatch(dispatch);
  EXPECT_EQ(driver_.submits(), 3u);
}

// No more than three submits ahead, however slow the device; what is in flight is not touched (the driver's faults).
TEST_F(FakeVulkan, StaysALittleAheadOfTheDevice) {
  driver_.on_dispatch = nullptr;
  vulkan::CoreOptions options = options_of();
  options.recorder.most_dispatches = 2;
  vulkan::Core core(options);
  const auto block = core.pool.allocate(4096, kTensors);
  driver_.hold(true);
  std::thread ops([&] {
    for (int i = 0; i < 60; ++i) core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite));
    core.recorder.wait(core.recorder.mark());
  });
  for (int i = 0; i < 30; ++i) {
    if (i < 28) driver_.wait_for_pending(3);
    driver_.run_one();
  }
  ops.join();
  EXPECT_EQ(driver_.most_pending(), 3u);
  EXPECT_EQ(driver_.submits(), 30u);
}

// Another thread may wait for what is old while the ops' thread waits for a slot.
TEST_F(FakeVulkan, OldTicketsDoNotWaitForNewSubmits) {
  driver_.on_dispatch = nullptr;
  vulkan::CoreOptions options = options_of();
  options.recorder.most_dispatches = 1;
  vulkan::Core core(options);
  const auto block = core.pool.allocate(4096, kTensors);
  core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite));
  const auto old = core.recorder.mark();
  driver_.hold(true);
  std::thread ops([&] {
    for (int i = 0; i < 5; ++i) core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite));
  });
  driver_.wait_for_pending(3);  // the thread waits, or is about to
  core.recorder.wait(old);
  for (int i = 0; i < 5; ++i) driver_.run_one();
  ops.join();
}

TEST_F(FakeVulkan, FillsBesideOps) {
  driver_.on_dispatch = add_kernel;
  const auto core = std::make_shared<vulkan::Core>(options_of());
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(1 << 16), weights = backend->allocate(1 << 16);
  Arena arena(*memory);
  const Tensor x = arena.allocate(DType::kF32, {100});
  std::thread reader([&] {
    for (int i = 0; i < 50; ++i) {
      backend->fill(weights->data() + 256 * i, 256,
                    [&](std::span<std::byte> bytes) { std::memset(bytes.data(), i, bytes.size()); });
      backend->wait(backend->mark());
    }
  });
  std::vector<float> values(100, 1.0f);
  for (int i = 0; i < 50; ++i) {
    backend->upload(values, x);
    backend->add({.x = x, .y = x, .z = {}, .out = x});
    backend->download(x, values);
    for (float& value : values) value -= 1;
  }
  reader.join();
  EXPECT_EQ(values, std::vector<float>(100, 1.0f));
  backend->look_at(weights->data(), 50 * 256, [](std::span<const std::byte> bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], static_cast<std::byte>(i / 256));
  });
}

TEST_F(FakeVulkan, AnErrorOfWriteLeavesEverythingUsable) {
  const auto core = std::make_shared<vulkan::Core>(options_of());
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(1000);
  EXPECT_THROW(backend->fill(memory->data(), 1000,
                             [](std::span<std::byte>) { fail(ErrorCode::kModel, "a file is cut short"); }),
               Error);
  backend->fill(memory->data(), 1000,
                [](std::span<std::byte> bytes) { std::memset(bytes.data(), 7, bytes.size()); });
  backend->look_at(memory->data() + 999, 1,
                   [](std::span<const std::byte> bytes) { EXPECT_EQ(bytes[0], std::byte{7}); });
}

TEST_F(FakeVulkan, MemoryOutlivesItsBackend) {
  std::unique_ptr<darkroom::Memory> memory;
  {
    const auto backend = vulkan::make_backend(std::make_shared<vulkan::Core>(options_of()));
    memory = backend->allocate(1000);
  }
  EXPECT_GT(driver_.live(), 0u);
}

// Memory ends while ops that use it are only recorded, or run.
TEST_F(FakeVulkan, MemoryEndsWhenItsOpsHaveRun) {
  const auto core = std::make_shared<vulkan::Core>(options_of());
  const auto backend = vulkan::make_backend(core);
  auto memory = backend->allocate(1 << 12);
  Arena arena(*memory);
  const Tensor x = arena.allocate(DType::kF32, {100});
  backend->add({.x = x, .y = x, .z = {}, .out = x});
  driver_.hold(true);
  std::thread device([&] { driver_.run_one(); });
  memory.reset();
  device.join();
  EXPECT_EQ(driver_.submits(), 1u);
}

TEST_F(FakeVulkan, AlarmsAreRaisedOnceByWhoWaits) {
  driver_.on_dispatch = [](const fake::Dispatched& d) {
    uint32_t word = 0;
    std::memcpy(&word, d.bindings.back().data(), sizeof word);
    EXPECT_EQ(word, ~0u);
    if (d.groups[0] == 1) return;
    std::memcpy(d.bindings.back().data(), &d.groups[0], sizeof word);
  };
  vulkan::CoreOptions options = options_of();
  options.recorder.most_dispatches = 1000;
  vulkan::Core core(options);
  const auto block = core.pool.allocate(4096, kTensors);
  vulkan::Dispatch dispatch = touch(*block, 0, 128, vulkan::Access::kRead);
  dispatch.alarm = [](uint32_t word) { fail(ErrorCode::kFailure, "row {}", word); };
  core.recorder.dispatch(dispatch);
  core.recorder.wait(core.recorder.mark());
  dispatch.groups = {5, 1, 1};
  core.recorder.dispatch(dispatch);
  dispatch.groups = {6, 1, 1};
  core.recorder.dispatch(dispatch);
  const auto ticket = core.recorder.mark();
  EXPECT_EQ(message_of([&] { core.recorder.wait(ticket); }), "row 5");
  core.recorder.wait(ticket);
  // More than a slot has words for; found out when slots are used again.
  dispatch.groups = {1, 1, 1};
  for (int i = 0; i < 300; ++i) core.recorder.dispatch(dispatch);
  dispatch.groups = {9, 1, 1};
  core.recorder.dispatch(dispatch);
  dispatch.groups = {1, 1, 1};
  EXPECT_EQ(message_of([&] {
              for (int i = 0; i < 300; ++i) core.recorder.dispatch(dispatch);
            }),
            "row 9");
  core.recorder.dispatch(dispatch);
  core.recorder.wait(core.recorder.mark());
}

TEST_F(FakeVulkan, ALostDeviceStaysLost) {
  vulkan::Core core(options_of());
  driver_.on_dispatch = nullptr;
  const auto block = core.pool.allocate(4096, kTensors);
  core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite));
  const auto ticket = core.recorder.mark();
  driver_.hold(true);
  std::string heard;
  std::thread waiter([&] { heard = message_of([&] { core.recorder.wait(ticket); }); });
  driver_.wait_for_pending(1);
  driver_.lose_device();
  waiter.join();
  EXPECT_EQ(heard.find("vkWaitSemaphores: the graphics device was lost"), 0u) << heard;
  core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite));
  const auto next = core.recorder.mark();
  const std::string first = message_of([&] { core.recorder.wait(next); });
  EXPECT_NE(first.find("lost"), std::string::npos);
  EXPECT_EQ(message_of([&] { core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite)); }),
            first);
  EXPECT_EQ(message_of([&] { core.recorder.wait(next); }), first);
}

TEST_F(FakeVulkan, RefusesDispatchesThatNoDriverTakes) {
  vulkan::Core core(options_of());
  const auto block = core.pool.allocate(200 * kMiB, kTensors);
  vulkan::Dispatch dispatch = touch(*block, 0, 128, vulkan::Access::kWrite);
  dispatch.groups = {65536, 1, 1};
  EXPECT_THROW(core.recorder.dispatch(dispatch), Error);
  dispatch.groups = {1, 1, 0};
  core.recorder.dispatch(dispatch);
  dispatch.groups = {1, 1, 1};
  dispatch.bindings.assign(17, dispatch.bindings[0]);
  EXPECT_THROW(core.recorder.dispatch(dispatch), Error);
  EXPECT_THROW(core.recorder.dispatch(touch(*block, 0, 128 * kMiB + 1, vulkan::Access::kRead)), Error);
  EXPECT_THROW(core.recorder.dispatch(touch(*block, 200 * kMiB - 1, 2, vulkan::Access::kRead)), Error);
  driver_.on_dispatch = [](const fake::Dispatched& d) {
    ASSERT_EQ(d.bindings.size(), 2u);
    EXPECT_EQ(d.bindings[0].size(), 256u);  // absent: something is bound
    EXPECT_EQ(d.bindings[1].size(), 100u);  // 3 bytes before, 95, and to a whole word
  };
  dispatch.bindings = {{}, {block->data() + 64 + 3, 95, vulkan::Access::kRead}};
  core.recorder.dispatch(dispatch);
  std::vector<std::byte> bytes(65540);
  EXPECT_THROW(core.recorder.write(block->data(), bytes), Error);
  EXPECT_THROW(core.recorder.write(block->data(), std::span(bytes).first(6)), Error);
  EXPECT_THROW(core.recorder.write(block->data() + 2, std::span(bytes).first(4)), Error);
  core.recorder.wait(core.recorder.mark());
}

TEST_F(FakeVulkan, ScratchGrowsWhenNothingUsesIt) {
  vulkan::Core core(options_of());
  driver_.on_dispatch = nullptr;
  const void* small = core.recorder.scratch(1000);
  EXPECT_EQ(core.recorder.scratch(500), small);
  vulkan::Dispatch dispatch;
  dispatch.shader = vulkan::Shader::kPointwise;
  dispatch.bindings = {{small, 1000, vulkan::Access::kWrite}};
  core.recorder.dispatch(dispatch);
  const std::size_t before = core.pool.all().bytes;
  core.recorder.scratch(4000);
  EXPECT_EQ(driver_.submits(), 1u);
  EXPECT_EQ(core.pool.all().bytes, before - 1024 + 4096);
}

// Tensors that are longer than what can be bound at once.
TEST_F(FakeVulkan, OpsCutByRows) {
  driver_.gpus[0].max_range = 4096;
  const auto backend = vulkan::make_backend(std::make_shared<vulkan::Core>(options_of()));
  const auto memory = backend->allocate(1 << 20);
  Arena arena(*memory);
  for (const int64_t margin : {0, 3}) {
    const Tensor x = arena.allocate(DType::kF32, {100, 50 + margin}).slice_cols(margin, 50);
    const Tensor out = arena.allocate(DType::kF32, {100, 50});
    std::vector<float> values(5000);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    backend->upload(values, x);
    backend->add({.x = x, .y = x, .z = {}, .out = out});
    for (float& value : values) value *= 2;
    std::vector<float> got(5000);
    backend->download(out, got);
    EXPECT_EQ(got, values);
  }
  std::vector<float> row(2000);
  const Tensor wide = arena.allocate(DType::kF32, {1, 2000});
  EXPECT_THROW(backend->add({.x = wide, .y = wide, .z = {}, .out = wide}), Error);
}

// Which kernels a product runs on a card of a class, and with what: each dispatch by its constants.
TEST_F(FakeVulkan, ProductsUseWhatTheClassHas) {
  using enum vulkan::Component;
  driver_.gpus[0].give_matrices({kF16, kBF16, kS8});
  std::vector<fake::Dispatched> seen;
  driver_.on_dispatch = [&](const fake::Dispatched& d) { seen.push_back(d); };
  const auto run = [&](const std::string& highest, DType x_dtype, DType weight_dtype) {
    vulkan::CoreOptions options = options_of();
    options.highest_class = vulkan::class_of(highest);
    const auto backend = vulkan::make_backend(std::make_shared<vulkan::Core>(options));
    const auto memory = backend->allocate(1 << 20);
    Arena arena(*memory);
    Tensor x = arena.allocate(x_dtype, {300, 64}), weight = arena.allocate(weight_dtype, {260, 64});
    const Tensor scales = arena.allocate(DType::kF32, {300});
    if (x_dtype == DType::kI8) {
      x.scales = weight.scales = static_cast<const float*>(scales.data);
      x.scale_count = 300;
      x.scale_cols = 64;
      weight.scale_count = 260;
    }
    const DType out_dtype = x_dtype == DType::kI8 ? DType::kBF16 : x_dtype;
    seen.clear();
    backend->linear({.x = x,
                     .weight = weight,
                     .bias = {},
                     .gate = {},
                     .residual = {},
                     .out = arena.allocate(out_dtype, {300, 260})});
    backend->wait(backend->mark());
    std::vector<std::vector<uint32_t>> constants;
    for (const fake::Dispatched& d : seen) constants.push_back(d.constants);
    return constants;
  };
  using Lists = std::vector<std::vector<uint32_t>>;
  const uint32_t bf16 = static_cast<uint32_t>(DType::kBF16), f16 = static_cast<uint32_t>(DType::kF16);
  // The least tile, as 300 × 260 has 9 × 10 of the others at most: four subgroups of a fragment.
  const std::vector<uint32_t> tile = {128, 32, 32, 32, 16, 16, 16, 16, 16};
  const auto with = [&](std::vector<uint32_t> more) {
    more.insert(more.begin(), tile.begin(), tile.end());
    return more;
  };
  EXPECT_EQ(run("M", DType::kBF16, DType::kBF16), (Lists{{64, bf16, 1}, {64, bf16, 1}, with({bf16, 1, 0})}));
  EXPECT_EQ(seen.back().bindings.size(), 10u);
  EXPECT_EQ(seen.back().groups, (std::array<uint32_t, 3>{10, 9, 1}));
  EXPECT_EQ(seen.back().bindings[9].size(), (300u + 260u) * sizeof(float));
  EXPECT_EQ(run("M", DType::kBF16, DType::kF16), (Lists{{64, bf16, 1}, with({f16, 1, 0})}));
  EXPECT_EQ(run("M+bf16", DType::kBF16, DType::kBF16), (Lists{with({bf16, 1, 1})}));
  EXPECT_EQ(seen.back().bindings.size(), 10u);
  EXPECT_EQ(run("", DType::kI8, DType::kI8), (Lists{with({1, 0})}));
  for (const std::string highest : {"S", "D", "M", "M+bf16"})
    EXPECT_EQ(run(highest, DType::kF32, DType::kBF16), run("S", DType::kF32, DType::kBF16)) << highest;
  EXPECT_NE(run("D", DType::kBF16, DType::kBF16).back().size(), with({0, 0, 0}).size());
}

TEST_F(FakeVulkan, AClassHasAName) {
  for (const DeviceClass one : {DeviceClass::kScalar, DeviceClass::kDot, DeviceClass::kMatrix})
    EXPECT_EQ(vulkan::class_of(vulkan::class_name(one)), one);
  EXPECT_EQ(vulkan::class_of(""), DeviceClass::kMatrixBF16);
  EXPECT_THROW(vulkan::class_of("unusable"), Error);
}

TEST_F(FakeVulkan, EmbedBindsTheRowsThatItReads) {
  driver_.on_dispatch = embed_kernel;
  driver_.gpus[0].max_range = 4096;  // nine rows of the table, more or less
  const auto backend = vulkan::make_backend(std::make_shared<vulkan::Core>(options_of()));
  const auto memory = backend->allocate(1 << 20);
  Arena arena(*memory);
  const Tensor table = arena.allocate(DType::kF32, {500, 100});
  std::vector<float> values(50000), want;
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  backend->upload(values, table);
  std::vector<int32_t> ids = {499, 0, 0, 3, 7, 8, 9, 250, 245, 253, 0};
  for (int32_t i = 0; i < 70; ++i) ids.push_back(i / 8);  // more than one dispatch takes
  for (const int32_t id : ids)
    want.insert(want.end(), values.begin() + id * 100, values.begin() + id * 100 + 100);
  const Tensor out = arena.allocate(DType::kF32, {static_cast<int64_t>(ids.size()), 100});
  backend->embed({table, ids, out});
  std::vector<float> got(want.size());
  backend->download(out, got);
  EXPECT_EQ(got, want);
}

class PipelineCache : public FakeVulkan {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    driver_.on_dispatch = nullptr;
  }
  ~PipelineCache() override { std::filesystem::remove_all(folder_); }
  // What the driver was given to begin with, without its header.
  std::string given() {
    vulkan::CoreOptions options = options_of();
    options.cache_folder = folder_;
    vulkan::Core core(options);
    const std::string data = driver_.cache_data_given();
    const auto block = core.pool.allocate(4096, kTensors);
    core.recorder.dispatch(touch(*block, 0, 128, vulkan::Access::kWrite));
    return data.size() < 32 ? data : data.substr(32);
  }
  std::filesystem::path file() const { return std::filesystem::directory_iterator(folder_)->path(); }
  std::string read() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& bytes) const { std::ofstream(file(), std::ios::binary) << bytes; }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  std::filesystem::path folder_ = testing::TempDir() + "darkroom_pipeline_cache";
};

TEST_F(PipelineCache, IsKeptFromRunToRun) {
  EXPECT_EQ(given(), "");
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(given(), "compiled");
  driver_.gpus[0].uuid = 9;  // another device or driver: a file of its own
  EXPECT_EQ(given(), "");
  EXPECT_EQ(files(), 2u);
}

TEST_F(PipelineCache, WhatIsNotWholeOrForeignIsIgnored) {
  given();
  const std::string whole = read();
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 7) {
    write(whole.substr(0, bytes));
    EXPECT_EQ(given(), "") << bytes;
  }
  std::string damaged = whole;
  damaged.back() ^= 1;
  write(damaged);
  EXPECT_EQ(given(), "");
  // Whole, but of another device: the driver's header says so.
  write(whole);
  const std::filesystem::path one = file();
  driver_.gpus[0].uuid = 9;
  given();
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    if (entry.path() != one)
      std::filesystem::copy_file(one, entry.path(), std::filesystem::copy_options::overwrite_existing);
  }
  EXPECT_EQ(given(), "");
  EXPECT_EQ(given(), "compiled");
}

TEST_F(PipelineCache, ThoseThatWereUsedLastAreKept) {
  for (uint8_t device = 1; device <= 12; ++device) {
    driver_.gpus[0].uuid = device;
    given();
    driver_.gpus[0].uuid = 1;
    EXPECT_EQ(given(), "compiled");
  }
  EXPECT_EQ(files(), 8u);
  for (uint8_t device = 12; device >= 6; --device) {
    driver_.gpus[0].uuid = device;
    EXPECT_EQ(given(), "compiled");
  }
  driver_.gpus[0].uuid = 5;
  EXPECT_EQ(given(), "");
}

TEST_F(PipelineCache, AFolderThatCannotBeWrittenIsNoError) {
  std::ofstream(folder_) << "a file where the folder should be";
  EXPECT_EQ(given(), "");
}

}  // namespace
}  // namespace darkroom
