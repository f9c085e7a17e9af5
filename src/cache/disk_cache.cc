#include "cache/disk_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_map.h"

namespace darkroom::cache {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".entry";

// What is written before the payload; the SHA-256 of both is written after it.
struct Header {
  std::array<char, 16> magic = {'d', 'a', 'r', 'k', 'r', 'o', 'o', 'm',
                                ' ', 'c', 'a', 'c', 'h', 'e', ' ', '1'};
  Digest key{};
  uint64_t payload_bytes = 0;
};
static_assert(std::endian::native == std::endian::little && sizeof(Header) == 56);

constexpr std::size_t kAround = sizeof(Header) + sizeof(Digest);

Header header_of(const Digest& key, std::size_t payload_bytes) {
  return {.key = key, .payload_bytes = payload_bytes};
}

Digest checksum(const Header& header, std::span<const std::byte> payload) {
  Sha256 sum;
  sum.add(std::as_bytes(std::span(&header, 1)));
  sum.add(payload);
  return sum.finish();
}

// Whether `file` is the whole entry that header announces.
bool is_entry(std::string_view file, const Header& header) {
  if (file.size() != header.payload_bytes + kAround) return false;
  if (std::memcmp(file.data(), &header, sizeof header) != 0) return false;
  const Digest sum =
      checksum(header, std::as_bytes(std::span(file)).subspan(sizeof header, header.payload_bytes));
  return std::memcmp(file.data() + file.size() - sum.size(), sum.data(), sum.size()) == 0;
}

bool is_entry_name(const std::string& name) {
  return name.size() == 64 + kExtension.size() && name.ends_with(kExtension) &&
         name.find_first_not_of("0123456789abcdef") == 64;
}

// What a writer leaves that was killed. One that is still at work touched its file a moment ago.
bool is_abandoned(const std::string& name, fs::file_time_type written) {
  return name.starts_with(".darkroom-") && fs::file_time_type::clock::now() - written > std::chrono::hours(1);
}

}  // namespace

DiskCache::DiskCache(fs::path folder, std::size_t limit_bytes,
                     std::function<void(const std::string&)> on_note)
    : folder_(std::move(folder)), limit_bytes_(limit_bytes), on_note_(std::move(on_note)) {}

fs::path DiskCache::path_of(const Digest& key) const {
  return folder_ / (hex(key) + std::string(kExtension));
}

void DiskCache::note(const std::string& text) const {
  if (on_note_) on_note_(text);
}

std::optional<std::string> DiskCache::find(const Digest& key, std::size_t bytes) const {
  const fs::path path = path_of(key);
  const Header header = header_of(key, bytes);
  std::error_code failed;
  if (!fs::exists(path, failed)) return std::nullopt;
  std::string file;
  try {
    file = read_text_file(path, bytes + kAround);
  } catch (const Error& e) {
    if (!fs::exists(path, failed)) return std::nullopt;  // another process has just deleted it
    // A file that is too large is refused before it is read, and is damaged.
    const std::uintmax_t size = fs::file_size(path, failed);
    if (failed || size <= bytes + kAround) {
      note(fmt::format("a cached result cannot be read and is computed again: {}", e.what()));
      return std::nullopt;
    }
  }
  if (!is_entry(file, header)) {
    fs::remove(path, failed);
    note(fmt::format("{}: a cached result is damaged; it is {} and computed again", path.string(),
                     failed ? "left there" : "deleted"));
    return std::nullopt;
  }
  fs::last_write_time(path, fs::file_time_type::clock::now(), failed);  // in a read-only folder it stays
  file.resize(file.size() - sizeof(Digest));
  return file.erase(0, sizeof header);
}

void DiskCache::make_folder() const {
  std::error_code failed;
  if (fs::create_directories(folder_, failed)) fs::permissions(folder_, fs::perms::owner_all, failed);
  // Why it could not be made shows when the file is written.
}

void DiskCache::store(const Digest& key, std::span<const std::byte> payload) const {
  if (payload.size() + kAround > limit_bytes_) {
    return note(fmt::format("a result of {} bytes is not cached: the cache is limited to {}", payload.size(),
                            limit_bytes_));
  }
  make_folder();
  const Header header = header_of(key, payload.size());
  const Digest sum = checksum(header, payload);
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(&header, 1)), payload,
                                               std::as_bytes(std::span(sum))};
  try {
    write_pieces_atomically(path_of(key), pieces, true);
  } catch (const Error& e) {
    return note(fmt::format("a result is not cached: {}", e.what()));
  }
  trim();
}

void DiskCache::trim() const {
  struct Entry {
    fs::file_time_type used;
    std::size_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  std::size_t total = 0;
  std::error_code failed, gone;  // files may be deleted by others meanwhile
  for (fs::directory_iterator it(folder_, failed), end; !failed && it != end; it.increment(failed)) {
    const std::string name = it->path().filename().string();
    const fs::file_time_type used = it->last_write_time(gone);
    if (gone) continue;
    if (is_abandoned(name, used)) fs::remove(it->path(), gone);
    if (!is_entry_name(name)) continue;
    const std::uintmax_t bytes = it->file_size(gone);
    if (gone) continue;
    entries.push_back({used, bytes, it->path()});
    total += bytes;
  }
  std::ranges::sort(entries, {}, &Entry::used);
  for (const Entry& entry : entries) {
    if (total <= limit_bytes_) return;
    fs::remove(entry.path, gone);
    total -= entry.bytes;
  }
}

}  // namespace darkroom::cache
