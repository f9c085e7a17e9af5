// libFuzzer target: any bytes as a safetensors file. Errors are fine; crashes, hangs and reads outside are
// not.
#include <cstdint>
#include <span>

#include "base/error.h"
#include "checks.h"
#include "weights/tensor_file.h"

namespace {

// Opens, looks every tensor up and reads it, as a whole and its first and last byte.
void read_all(std::span<const std::byte> bytes) {
  try {
    const darkroom::TensorFile file(bytes, "input");
    for (const darkroom::StoredTensor& stored : file.tensors()) {
      if (file.find(stored.name) != &stored) __builtin_trap();
      std::byte first{}, last{};
      if (stored.bytes > 0) {
        file.read(stored, 0, {&first, 1});
        file.read(stored, stored.bytes - 1, {&last, 1});
      }
      try {
        const darkroom::OwnedTensor loaded = file.load(stored);
        if (loaded.tensor.bytes() != stored.bytes) __builtin_trap();
        if (stored.bytes == 0) continue;
        const auto* data = static_cast<const std::byte*>(loaded.tensor.data);
        if (data[0] != first || data[stored.bytes - 1] != last) __builtin_trap();
      } catch (const darkroom::Error& e) {
        darkroom::check_message(e);
      }
    }
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
