// libFuzzer target: any bytes as a safetensors file. Errors are fine; crashes, hangs and reads outside are
// not.
#include <cstdint>
#include <span>

#include "base/error.h"
#include "checks.h"
#include "weights/safetensors.h"

namespace {

// Opens, looks every tensor up and reads the first and last byte of each view.
void read_all(std::span<const std::byte> bytes) {
  try {
    const darkroom::SafetensorsFile file(bytes, "input");
    volatile std::byte sink{};
    for (const darkroom::StoredTensor& stored : file.tensors()) {
      if (file.find(stored.name) != &stored) __builtin_trap();
      try {
        const darkroom::Tensor view = file.view(stored);
        if (view.bytes() != stored.bytes) __builtin_trap();
        if (view.bytes() == 0) continue;
        const auto* data = static_cast<const std::byte*>(view.data);
        sink = data[0];
        sink = data[view.bytes() - 1];
        if (reinterpret_cast<std::uintptr_t>(data) % dtype_bytes(view.dtype) != 0) __builtin_trap();
      } catch (const darkroom::Error& e) {
        darkroom::check_message(e);
      }
    }
    static_cast<void>(sink);
  } catch (const darkroom::Error& e) {
    darkroom::check_message(e);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  read_all(input);
  read_all(darkroom::as_header(input));
  return 0;
}
