// libFuzzer target: any bytes as a safetensors file. Errors are fine; crashes, hangs and reads outside are
// not.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
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
      } catch (const darkroom::Error&) {
      }
    }
    static_cast<void>(sink);
  } catch (const darkroom::Error& e) {
    const std::string message = e.what();  // one printable line, whatever the bytes were
    if (!std::ranges::all_of(message, [](unsigned char c) { return c >= ' ' && c <= '~'; })) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  read_all(input);
  // Once more as the header alone, with a right length in front and up to 63 bytes of data behind: bytes that
  // the length would otherwise hide from the parser.
  std::vector<std::byte> file(8);
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<std::byte>(size >> (8 * i));
  file.insert(file.end(), input.begin(), input.end());
  file.resize(file.size() + (size ? data[size - 1] % 64u : 0u));
  read_all(file);
  return 0;
}
