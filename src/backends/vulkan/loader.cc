#include "backends/vulkan/loader.h"

#include <dlfcn.h>

#include "base/error.h"

namespace darkroom::vulkan {
namespace {

template <typename Function>
void take(Function& function, PFN_vkVoidFunction found, const char* name) {
  require(found != nullptr, ErrorCode::kFailure,
          "the Vulkan driver has no {}; darkroom needs Vulkan 1.2: update the driver", name);
  function = reinterpret_cast<Function>(found);
}

}  // namespace

#define DARKROOM_TAKE(name) take(name, get_function(#name), #name);

void Functions::load_global(PFN_vkGetInstanceProcAddr get) {
  vkGetInstanceProcAddr = get;
  const auto get_function = [&](const char* name) { return get(nullptr, name); };
  DARKROOM_VULKAN_GLOBAL(DARKROOM_TAKE)
}

void Functions::load_instance(VkInstance instance) {
  const auto get_function = [&](const char* name) { return vkGetInstanceProcAddr(instance, name); };
  DARKROOM_VULKAN_INSTANCE(DARKROOM_TAKE)
}

void Functions::load_device(VkDevice device) {
  const auto get_function = [&](const char* name) { return vkGetDeviceProcAddr(device, name); };
  DARKROOM_VULKAN_DEVICE(DARKROOM_TAKE)
}

#undef DARKROOM_TAKE

Library Library::open() {
  Library library;
  void* handle = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = ::dlerror();
    fail(ErrorCode::kFailure, "Vulkan's loader is not installed ({}); Debian: apt install libvulkan1",
         why ? why : "no reason given");
  }
  library.handle_ = std::shared_ptr<void>(handle, [](void* h) { ::dlclose(h); });
  library.entry_ = reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(handle, "vkGetInstanceProcAddr"));
  require(library.entry_ != nullptr, ErrorCode::kFailure, "libvulkan.so.1 has no vkGetInstanceProcAddr");
  return library;
}

}  // namespace darkroom::vulkan
