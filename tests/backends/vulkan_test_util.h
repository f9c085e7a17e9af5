// A core on Mesa's CPU driver (or on DARKROOM_TEST_GPU, a device as choose_device() takes it) under the validation
// layer, whose every message is a failure.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "backends/vulkan/backend.h"
#include "backends/vulkan/core.h"
#include "base/error.h"

namespace darkroom {

class VulkanTest : public testing::Test {
 protected:
  // Before the first instance: fresh memory of 0x80 bytes, compiled shaders kept in the build's folder, and no
  // other driver's faults.
  static void SetUpTestSuite() {
    namespace fs = std::filesystem;
    ::setenv("LVP_POISON_MEMORY", "1", 0);
    ::setenv("MESA_SHADER_CACHE_DIR", DARKROOM_SHADER_CACHE, 0);
    const char* const kLavapipe[] = {"/usr/share/vulkan/icd.d/lvp_icd.x86_64.json",
                                     "/usr/share/vulkan/icd.d/lvp_icd.aarch64.json",
                                     "/usr/share/vulkan/icd.d/lvp_icd.json"};
    for (const char* driver : kLavapipe) {
      if (!std::getenv("DARKROOM_TEST_GPU") && fs::exists(driver)) ::setenv("VK_ICD_FILENAMES", driver, 0);
    }
  }

  static vulkan::CoreOptions options() {
    vulkan::CoreOptions options;
    const char* device = std::getenv("DARKROOM_TEST_GPU");
    options.device = device ? device : "llvmpipe";
    options.instance.validation = true;
    options.highest_class =
        vulkan::DeviceClass::kDot;  // unless a test asks for matrices, which round otherwise
    return options;
  }

  // Null, after skipping the test, where there is no driver or no layer.
  std::shared_ptr<vulkan::Core> open(const vulkan::CoreOptions& wanted = options()) {
    try {
      core_ = std::make_shared<vulkan::Core>(wanted);
      keep_libraries();
    } catch (const Error& e) {
      skipped_ = e.what();
    }
    return core_;
  }

  void TearDown() override {
    if (!core_) return;
    for (const std::string& message : core_->instance.messages()) ADD_FAILURE() << message;
  }

  // Drivers and layers stay loaded: LeakSanitizer then sees what their globals point to, and their names.
  static void keep_libraries() {
    std::vector<std::string> names;
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* list) {
          static_cast<std::vector<std::string>*>(list)->emplace_back(info->dlpi_name);
          return 0;
        },
        &names);
    for (const std::string& name : names) ::dlopen(name.c_str(), RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }

  std::shared_ptr<vulkan::Core> core_;
  std::string skipped_;
};

}  // namespace darkroom

// At the end of a file: the layer (1.3.239) leaks what it remembers of command buffers and pipelines.
#if defined(__SANITIZE_ADDRESS__)
#define DARKROOM_LAYER_LEAKS() \
  extern "C" const char* __lsan_default_suppressions() { return "leak:libVkLayer_khronos_validation"; }
#else
#define DARKROOM_LAYER_LEAKS()
#endif

// At the beginning of a test's body: `core`, or the test is skipped.
#define DARKROOM_OPEN_VULKAN(core, ...)      \
  const auto core = this->open(__VA_ARGS__); \
  if (!core) GTEST_SKIP() << this->skipped_
