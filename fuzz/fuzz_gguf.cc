// libFuzzer target: any bytes as a GGUF file. Errors are fine; crashes, hangs and reads outside are not. What
// is read is written again and must be the same.
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/error.h"
#include "checks.h"
#include "weights/gguf_head.h"
#include "weights/gguf_types.h"

namespace darkroom {
namespace {

template <typename Work>
void attempt(const Work& work) {
  try {
    work();
  } catch (const Error& e) {
    check_message(e);
  }
}

// Every access either gives something or is an error.
void ask(const GgufFields& fields) {
  for (const auto& entry : fields.all()) {
    const std::string& key = entry.first;
    attempt([&] { fields.text(key); });
    attempt([&] { fields.texts(key); });
    attempt([&] { fields.flag(key); });
    attempt([&] { fields.number(key); });
    attempt([&] { fields.number<int32_t>(key); });
    attempt([&] { fields.number<uint64_t>(key); });
    attempt([&] { fields.numbers<float>(key); });
    attempt([&] { fields.numbers<int64_t>(key); });
  }
}

void check_tensors(const TensorFile& file, std::size_t file_bytes) {
  std::size_t end = 0;
  for (const StoredTensor& stored : file.tensors()) {
    check(file.find(stored.name) == &stored);
    check(stored.begin >= end && stored.bytes > 0 && stored.elements > 0);
    end = stored.begin + stored.bytes;
    check(end <= file_bytes);
    std::array<std::byte, 1> last{};
    file.read(stored, stored.bytes - 1, last);
    attempt([&] { check(file.load(stored).tensor.bytes() == stored.bytes); });
  }
}

bool same(const StoredTensor& a, const StoredTensor& b) {
  return a.name == b.name && a.type == b.type && a.extents == b.extents && a.bytes == b.bytes &&
         a.begin == b.begin && a.elements == b.elements && a.dtype == b.dtype;
}

void check_rewritten(const TensorFile& file) {
  const std::size_t alignment = gguf_alignment(*file.fields(), "input");
  std::vector<StoredTensor> tensors = file.tensors();
  const std::size_t data = lay_out_gguf(tensors, alignment);
  std::string again = gguf_head(tensors, *file.fields(), "again");
  again.resize(again.size() + data);
  const TensorFile copy(std::as_bytes(std::span(again)), "again");
  check(copy.fields()->all() == file.fields()->all() && copy.metadata() == file.metadata());
  check(std::ranges::equal(copy.tensors(), tensors, same));
}

void read_all(std::span<const std::byte> bytes) {
  attempt([&] {
    const TensorFile file(bytes, "input");
    if (!file.is_gguf()) return;
    ask(*file.fields());
    check_tensors(file, bytes.size());
    check_rewritten(file);
  });
}

}  // namespace
}  // namespace darkroom

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  if (size < 4 || std::memcmp(data, "GGUF", 4) != 0) return -1;  // other files are fuzz_safetensors' business
  darkroom::read_all(input);
  return 0;
}
