#include "backends/checked.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/file_map.h"
#include "base/sha256.h"
#include "selftest/kernel_check.h"

namespace darkroom {
namespace {

// To be raised when other cases are checked.
constexpr std::string_view kMagic = "darkroom kernel check 1\n";
constexpr std::size_t kMostBytes = 1 << 16;
constexpr std::string_view kRight = "right", kWrong = "wrong: ";
constexpr std::string_view kClasses[] = {"M+bf16", "M", "D", "S"};

std::string digest_of(std::initializer_list<std::string_view> texts) {
  Sha256 sum;
  for (const std::string_view text : texts) {
    sum.add(text);
    sum.add(std::string_view("\0", 1));
  }
  return hex(sum.finish());
}

std::string key_of(const Backend::Identity& who) {
  return digest_of({kMagic, who.device, who.driver, who.device_class, who.kernels});
}

std::filesystem::path path_of(const std::filesystem::path& folder, const std::string& key) {
  return folder / ("vulkan-" + key.substr(0, 32) + ".verdict");
}

// What is wrong, "" for nothing; none where the file is not there or not whole.
std::optional<std::string> remembered(const std::filesystem::path& folder, const std::string& key) try {
  std::error_code failed;
  const std::filesystem::path path = path_of(folder, key);
  if (folder.empty() || !std::filesystem::exists(path, failed)) return {};
  const std::string file = read_text_file(path, kMostBytes);
  const std::size_t before = kMagic.size() + 2 * sizeof(Digest) + 1;
  if (file.size() < before || !file.starts_with(kMagic)) return {};
  const std::string text = file.substr(before);
  if (file.substr(kMagic.size(), 2 * sizeof(Digest)) != digest_of({key, text})) return {};
  if (text == kRight) return "";
  return text.starts_with(kWrong) ? std::optional(text.substr(kWrong.size())) : std::nullopt;
} catch (const Error&) {
  return {};
}

// Never throws: what is not remembered costs time in the next run.
void remember(const std::filesystem::path& folder, const std::string& key, const std::string& wrong) noexcept
    try {
  if (folder.empty()) return;
  const std::string text = wrong.empty() ? std::string(kRight) : std::string(kWrong) + wrong;
  const std::string file = std::string(kMagic) + digest_of({key, text}) + "\n" + text;
  std::error_code failed;
  if (std::filesystem::create_directories(folder, failed))
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, failed);
  write_file_atomically(path_of(folder, key), std::as_bytes(std::span(file)), true);
} catch (...) {
}

// What is wrong with its kernels, "" for nothing.
std::string wrong_with(Backend& backend, const std::filesystem::path& folder) {
  const std::string key = key_of(backend.identity());
  if (const auto known = remembered(folder, key)) return *known;
  const KernelVerdict found = check_kernels(backend);
  if (found.lasting) remember(folder, key, found.wrong);
  return found.wrong;
}

// Empty: none.
std::string_view class_below(std::string_view device_class) {
  const auto found = std::ranges::find(kClasses, device_class);
  if (found == std::end(kClasses) || std::next(found) == std::end(kClasses)) return {};
  return *std::next(found);
}

}  // namespace

std::unique_ptr<Backend> make_checked_backend(const BackendOfClass& make,
                                              const std::filesystem::path& folder) {
  std::string highest_class, first_wrong;
  for (;;) {
    std::unique_ptr<Backend> backend = make(highest_class);
    const Backend::Identity who = backend->identity();
    const std::string wrong = wrong_with(*backend, folder);
    if (wrong.empty()) {
      if (!first_wrong.empty()) {
        backend->set_note(
            fmt::format("{}; kernels of class {} are used, which are slower", first_wrong, who.device_class));
      }
      return backend;
    }
    const std::string what =
        fmt::format("{} with the driver {} gives wrong results in kernels of class {} ({})", who.device,
                    who.driver, who.device_class, wrong);
    highest_class = class_below(who.device_class);
    require(!highest_class.empty(), ErrorCode::kDevice, "{}; use another driver, or --device cpu", what);
    if (first_wrong.empty()) first_wrong = what;
  }
}

}  // namespace darkroom
