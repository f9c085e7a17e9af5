// Devices, memory, copies and submits on a real driver.
#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "backends/vulkan/vulkan.h"
#include "tensor/buffer.h"
#include "vulkan_test_util.h"

namespace darkroom {
namespace {

class VulkanOnADriver : public VulkanTest {
 protected:
  static vulkan::CoreOptions with_staging(bool force) {
    vulkan::CoreOptions wanted = options();
    wanted.memory.force_staging = force;
    return wanted;
  }
};

bool is_lavapipe(const vulkan::Core& core) { return core.device.info().name.starts_with("llvmpipe"); }

TEST_F(VulkanOnADriver, IsDescribed) {
  DARKROOM_OPEN_VULKAN(core);
  if (!is_lavapipe(*core)) GTEST_SKIP() << "numbers are of Mesa's CPU driver";
  const vulkan::DeviceInfo& info = core->device.info();
  EXPECT_TRUE(info.is_cpu());
  EXPECT_TRUE(info.driver.starts_with("llvmpipe ")) << info.driver;
  EXPECT_GE(info.device_class, vulkan::DeviceClass::kScalar) << info.reason;
  EXPECT_NE(info.uuid, decltype(info.uuid){});
  EXPECT_GE(info.min_subgroup, 4u);
  EXPECT_LE(info.max_subgroup, 16u);
  EXPECT_GE(info.main_heap_bytes(), std::size_t{1} << 28);
  EXPECT_GE(info.max_allocation, std::size_t{1} << 30);
  EXPECT_FALSE(info.transfer_family.has_value());
  EXPECT_NE(vulkan::make_backend(core)->name().find(info.driver), std::string::npos);
  // The processor draws only when it is named.
  for (const vulkan::DeviceInfo& other : core->instance.devices()) {
    if (!other.is_cpu()) GTEST_SKIP() << "there is a card, too";
  }
  EXPECT_THROW(vulkan::choose_device(core->instance.devices(), "gpu"), Error);
}

TEST_F(VulkanOnADriver, AreListedWithoutBeingOpened) {
  DARKROOM_OPEN_VULKAN(core);
  const VulkanDevices found = vulkan_devices();
  ASSERT_FALSE(found.devices.empty()) << found.reason;
  EXPECT_EQ(found.reason, "");
  for (const darkroom::VulkanDevice& device : found.devices) {
    EXPECT_NE(device.name, "");
    EXPECT_NE(device.kind, "");
    EXPECT_GT(device.memory, 0u);
  }
}

TEST_F(VulkanOnADriver, NoDriverIsAReason) {
  DARKROOM_OPEN_VULKAN(core);  // there is a loader
  const char* before = std::getenv("VK_ICD_FILENAMES");
  const std::string kept = before ? before : "";
  ::setenv("VK_ICD_FILENAMES", "/nowhere/driver.json", 1);
  const VulkanDevices found = vulkan_devices();
  EXPECT_TRUE(found.devices.empty());
  EXPECT_NE(found.reason, "");
  try {
    make_vulkan_backend({});
    ADD_FAILURE() << "a device without a driver";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()), "");
  }
  before ? ::setenv("VK_ICD_FILENAMES", kept.c_str(), 1) : ::unsetenv("VK_ICD_FILENAMES");
}

// Or no test of this program would mean much.
TEST_F(VulkanOnADriver, TheValidationLayerIsHeard) {
  DARKROOM_OPEN_VULKAN(core);
  const vulkan::Functions& f = core->device.functions();
  const auto block = core->pool.allocate(4096, vulkan::MemoryKind::kTensors);
  VkCommandPoolCreateInfo create{};
  create.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  VkCommandPool made = VK_NULL_HANDLE;
  ASSERT_EQ(f.vkCreateCommandPool(core->device.handle(), &create, nullptr, &made), VK_SUCCESS);
  const vulkan::OwnedCommandPool pool(f, core->device.handle(), made);
  VkCommandBufferAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  allocate.commandPool = made;
  allocate.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  ASSERT_EQ(f.vkAllocateCommandBuffers(core->device.handle(), &allocate, &commands), VK_SUCCESS);
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  ASSERT_EQ(f.vkBeginCommandBuffer(commands, &begin), VK_SUCCESS);
  const uint32_t word = 0;
  f.vkCmdUpdateBuffer(commands, block->buffer(), 0, 4, &word);
  EXPECT_TRUE(core->instance.messages().empty());
  f.vkCmdUpdateBuffer(commands, block->buffer(), 0, 4, &word);  // twice without a barrier
  const auto hazards = core->instance.messages();
  ASSERT_EQ(hazards.size(), 1u);
  EXPECT_NE(hazards[0].find("SYNC-HAZARD-WRITE-AFTER-WRITE"), std::string::npos) << hazards[0];
  f.vkCmdUpdateBuffer(commands, block->buffer(), 64, 3, &word);  // no whole word
  EXPECT_GE(core->instance.messages().size(), 2u);
  core_.reset();  // its messages were wanted
}

TEST_F(VulkanOnADriver, TensorsCannotBeReadByAccident) {
  DARKROOM_OPEN_VULKAN(core);
  const auto memory = vulkan::make_backend(core)->allocate(5000);
  std::ifstream maps("/proc/self/maps");
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    const auto address = reinterpret_cast<uintptr_t>(memory->data());
    uintptr_t begin = 0, end = 0;
    char rights[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights) != 3 || address < begin ||
        address >= end)
      continue;
    found = true;
    EXPECT_STREQ(rights, "---p");
  }
  EXPECT_TRUE(found);
}

TEST_F(VulkanOnADriver, FreshMemoryIsPoisoned) {
  DARKROOM_OPEN_VULKAN(core);
  if (!is_lavapipe(*core)) GTEST_SKIP() << "only Mesa's CPU driver can";
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(1000);
  backend->look_at(memory->data(), 1000, [](std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) ASSERT_EQ(byte, std::byte{0x80});
  });
}

// Any bytes at any place, on both ways.
TEST_F(VulkanOnADriver, FillsAndShowsBytes) {
  for (const bool staging : {false, true}) {
    DARKROOM_OPEN_VULKAN(core, with_staging(staging));
    const auto backend = vulkan::make_backend(core);
    EXPECT_EQ(backend->device_memory()->staged, staging || !core->pool.is_mapped());
    const std::size_t size = 3 << 20;  // more than the first staging buffer
    const auto memory = backend->allocate(size);
    std::vector<std::byte> want(size, std::byte{0x11});
    backend->fill(memory->data(), size,
                  [](std::span<std::byte> bytes) { std::memset(bytes.data(), 0x11, bytes.size()); });
    for (const auto& [offset, bytes] :
         {std::pair<std::size_t, std::size_t>{1, 1}, {7, 13}, {1000, 3}, {size - 5, 5}}) {
      const auto write = [](std::span<std::byte> to) {
        for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::byte>(i + 1);
      };
      backend->fill(memory->data() + offset, bytes, write);
      write(std::span(want).subspan(offset, bytes));
    }
    backend->look_at(memory->data(), size, [&](std::span<const std::byte> bytes) {
      EXPECT_TRUE(std::ranges::equal(bytes, want)) << staging;
    });
    backend->look_at(memory->data() + 7, 13, [&](std::span<const std::byte> bytes) {
      EXPECT_TRUE(std::ranges::equal(bytes, std::span(want).subspan(7, 13)));
    });
    for (const std::string& message : core->instance.messages()) ADD_FAILURE() << message;
  }
}

// Rows with gaps: the gaps stay, and odd sizes of bf16 are no whole words.
TEST_F(VulkanOnADriver, UploadsAndDownloadsStridedRows) {
  for (const bool staging : {false, true}) {
    DARKROOM_OPEN_VULKAN(core, with_staging(staging));
    const auto backend = vulkan::make_backend(core);
    const auto memory = backend->allocate(1 << 16);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const std::size_t size = 7 * 12 * dtype_bytes(dtype);
      backend->fill(memory->data(), size,
                    [](std::span<std::byte> bytes) { std::memset(bytes.data(), 0x3F, bytes.size()); });
      const Tensor wide(memory->data(), dtype, {7, 12}, Device::kGpu), x = wide.slice_cols(3, 5);
      std::vector<float> values(7 * 5), back(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 17;
      backend->upload(values, x);
      backend->download(x, back);
      EXPECT_EQ(back, values);
      backend->download(x.slice_rows(6, 1), std::span(back).first(5));
      EXPECT_EQ(back[4], values[34]);
      backend->look_at(memory->data(), size, [&](std::span<const std::byte> bytes) {
        for (std::size_t i = 0; i < size; ++i) {
          const std::size_t column = i / dtype_bytes(dtype) % 12;
          const bool gap = column < 3 || column >= 8;
          ASSERT_TRUE(!gap || bytes[i] == std::byte{0x3F}) << i;
        }
      });
    }
    for (const std::string& message : core->instance.messages()) ADD_FAILURE() << message;
  }
}

// A chain in place, over several submits: each dispatch sees the one before.
TEST_F(VulkanOnADriver, ChainsOfDispatchesKeepTheirOrder) {
  vulkan::CoreOptions wanted = options();
  wanted.recorder.most_dispatches = 7;
  DARKROOM_OPEN_VULKAN(core, wanted);
  const auto backend = vulkan::make_backend(core);
  const auto memory = backend->allocate(1 << 20);
  Arena arena(*memory);
  const Tensor x = arena.allocate(DType::kF32, {50, 1000}), y = arena.allocate(DType::kF32, {50, 1000});
  std::vector<float> values(50 * 1000, 1.0f);
  backend->upload(values, x);
  backend->upload(values, y);
  for (int i = 0; i < 10; ++i) {  // Fibonacci's numbers
    backend->add({.x = x, .y = y, .z = {}, .out = x});
    backend->add({.x = y, .y = x, .z = {}, .out = y});
  }
  backend->download(y, values);
  EXPECT_EQ(values, std::vector<float>(values.size(), 17711.0f));
}

// As weights are read ahead while a block computes.
TEST_F(VulkanOnADriver, FillsBesideOps) {
  for (const bool staging : {false, true}) {
    DARKROOM_OPEN_VULKAN(core, with_staging(staging));
    const auto backend = vulkan::make_backend(core);
    const auto memory = backend->allocate(1 << 20), slots = backend->allocate(2 << 16);
    Arena arena(*memory);
    const Tensor sum = arena.allocate(DType::kF32, {64, 256});
    std::vector<float> values(64 * 256, 0.0f);
    backend->upload(values, sum);
    const auto slot = [&](int i) { return slots->data() + (i % 2) * (1 << 16); };
    const auto fill = [&](int i) {
      backend->fill(slot(i), 1 << 16, [&](std::span<std::byte> bytes) {
        std::fill_n(reinterpret_cast<float*>(bytes.data()), bytes.size() / 4, static_cast<float>(i));
      });
    };
    fill(0);
    std::vector<Backend::Ticket> used(21);
    for (int i = 0; i < 20; ++i) {
      std::thread reader([&, i] {  // of the next, once the op before has left its slot
        if (i > 0) backend->wait(used[static_cast<std::size_t>(i - 1)]);
        fill(i + 1);
      });
      const Tensor weights(slot(i), DType::kF32, {64, 256}, Device::kGpu);
      backend->add({.x = sum, .y = weights, .z = {}, .out = sum});
      used[static_cast<std::size_t>(i)] = backend->mark();
      reader.join();
    }
    backend->download(sum, values);
    EXPECT_EQ(values, std::vector<float>(values.size(), 190.0f));
    for (const std::string& message : core->instance.messages()) ADD_FAILURE() << message;
  }
}

}  // namespace
}  // namespace darkroom
