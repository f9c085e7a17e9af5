// An open device with all that works on it. Memory keeps it alive.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "backends/vulkan/device.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/pipelines.h"
#include "backends/vulkan/recorder.h"
#include "backends/vulkan/transfers.h"

namespace darkroom::vulkan {

struct CoreOptions {
  std::string device = "gpu";                            // choose_device()
  DeviceClass highest_class = DeviceClass::kMatrixBF16;  // kernels of higher ones are not used
  InstanceOptions instance;
  MemoryOptions memory;
  RecorderOptions recorder;
  std::filesystem::path cache_folder;
};

// Members are made in this order and destroyed in the other.
struct Core {
  // Errors: kUsage, kFailure, kOutOfMemory.
  explicit Core(const CoreOptions& options);

  Instance instance;
  Device device;
  MemoryPool pool;
  Pipelines pipelines;
  Transfers transfers;
  Recorder recorder;
};

}  // namespace darkroom::vulkan
