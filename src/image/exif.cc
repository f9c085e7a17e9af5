#include "image/exif.h"

#include <algorithm>
#include <cstdint>

#include "base/utf8.h"
#include "image/picture_source.h"
#include "image/text.h"

namespace darkroom {
namespace {

using std::string_view_literals::operator""sv;

enum Tag : uint32_t {
  kImageDescription = 0x010E,
  kMake = 0x010F,
  kModel = 0x0110,
  kOrientation = 0x0112,
  kSoftware = 0x0131,
  kExifFolder = 0x8769,
  kMakerNote = 0x927C,
  kUserComment = 0x9286,
};

struct Block {
  std::string_view bytes;  // from the TIFF header on
  bool big_endian = false;

  uint32_t number_16(std::size_t at) const {
    return big_endian ? big_endian_16(bytes.substr(at)) : little_endian_16(bytes.substr(at));
  }
  uint32_t number_32(std::size_t at) const {
    return big_endian ? big_endian_32(bytes.substr(at)) : little_endian_32(bytes.substr(at));
  }
};

struct Entry {
  uint32_t tag, type;
  std::string_view value;  // as many bytes as lie inside the block
};

// Bytes of one value of a type; 0 for a type that is not read.
std::size_t type_bytes(uint32_t type) {
  switch (type) {
    case 1:    // BYTE
    case 2:    // ASCII
    case 7:    // UNDEFINED
    case 129:  // UTF-8, of EXIF 3.0
      return 1;
    case 3:  // SHORT
      return 2;
    case 4:  // LONG
      return 4;
  }
  return 0;
}

// The entry of a folder at `at`, 12 bytes that lie inside the block.
Entry read_entry(const Block& block, std::size_t at) {
  Entry entry{block.number_16(at), block.number_16(at + 2), {}};
  const uint64_t size = uint64_t{block.number_32(at + 4)} * type_bytes(entry.type);
  const std::size_t start = size <= 4 ? at + 8 : block.number_32(at + 8);
  if (start < block.bytes.size()) entry.value = block.bytes.substr(start, static_cast<std::size_t>(size));
  return entry;
}

template <typename Take>
void read_folder(const Block& block, std::size_t at, const Take& take) {
  if (at > block.bytes.size() || block.bytes.size() - at < 2) return;
  const std::size_t count = std::min<std::size_t>(block.number_16(at), (block.bytes.size() - at - 2) / 12);
  for (std::size_t i = 0; i < count; ++i) take(read_entry(block, at + 2 + i * 12));
}

std::optional<uint32_t> first_number(const Block& block, const Entry& entry) {
  const std::size_t bytes = type_bytes(entry.type);
  if (bytes == 0 || entry.value.size() < bytes) return std::nullopt;
  const Block value{entry.value, block.big_endian};
  return bytes == 1   ? static_cast<uint8_t>(entry.value[0])
         : bytes == 2 ? value.number_16(0)
                      : value.number_32(0);
}

std::string utf8_of_either(std::string_view bytes) {
  while (bytes.ends_with('\0')) bytes.remove_suffix(1);
  return clean_utf8(is_valid_utf8(bytes) ? std::string(bytes) : utf8_from_latin1(bytes));
}

bool is_surrogate(char32_t unit, char32_t first) { return unit >= first && unit < first + 0x400; }

std::string utf8_from_utf16(std::string_view bytes, bool big_endian) {
  std::string out;
  const auto unit = [&](std::size_t i) -> char32_t {
    return i + 2 > bytes.size() ? 0 : (big_endian ? big_endian_16 : little_endian_16)(bytes.substr(i));
  };
  for (std::size_t i = 0; i + 2 <= bytes.size(); i += 2) {
    char32_t code = unit(i);
    if (is_surrogate(code, 0xD800) && is_surrogate(unit(i + 2), 0xDC00)) {
      code = 0x10000 + ((code - 0xD800) << 10) + (unit(i + 2) - 0xDC00);
      i += 2;
    } else if (code == 0 || is_surrogate(code, 0xD800) || is_surrogate(code, 0xDC00)) {
      if (code == 0 && i + 2 >= bytes.size()) break;  // the end, not a part of the text
      code = 0xFFFD;
    }
    append_utf8(out, code);
  }
  return out;
}

// Programs write either order whatever the block's own is. Every recipe has blanks, digits or other ASCII,
// whose zero bytes tell.
std::string decode_utf16(std::string_view bytes, bool big_endian) {
  if (bytes.starts_with("\xFE\xFF")) return utf8_from_utf16(bytes.substr(2), true);
  if (bytes.starts_with("\xFF\xFE")) return utf8_from_utf16(bytes.substr(2), false);
  std::size_t zeros[2] = {0, 0};
  for (std::size_t i = 0; i < bytes.size(); ++i) zeros[i % 2] += bytes[i] == '\0';
  if (zeros[0] + zeros[1] == 0 && is_valid_utf8(bytes)) return clean_utf8(bytes);
  if (zeros[0] != zeros[1]) big_endian = zeros[0] > zeros[1];
  return utf8_from_utf16(bytes, big_endian);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// ComfyUI keeps its graphs in any tag that takes a text, with their name in front.
void store_text(const std::string& key, std::string text, Exif* exif) {
  for (const char* name : {"prompt", "workflow"}) {
    const std::size_t length = std::string_view(name).size();
    const bool fits = text.size() > length && std::equal(name, name + length, text.begin(),
                                                         [](char a, char b) { return a == lower(b); });
    if (!fits || text[length] != ':' || text.find('{', length) == std::string::npos) continue;
    if (text.find_first_not_of(" ", length + 1) == text.find('{')) {
      exif->texts.emplace(name, text.substr(text.find('{')));
      return;
    }
  }
  if (!key.empty() && !text.empty()) exif->texts.emplace(key, std::move(text));
}

// What is carried from entry to entry.
struct Walk {
  Exif exif = {};
  std::size_t inner = 0;  // where the folder of EXIF's own tags lies
  int texts_left = 16;    // so that a thousand entries that point at one long text cost no more than it
};

void take_entry(const Block& block, const Entry& entry, Walk* walk) {
  Exif* exif = &walk->exif;
  static constexpr uint32_t kTexts[] = {kImageDescription, kMake,      kModel,
                                        kSoftware,         kMakerNote, kUserComment};
  if (std::ranges::count(kTexts, entry.tag) != 0 && --walk->texts_left < 0) return;
  const auto text = [&] { return utf8_of_either(entry.value.substr(0, kMaxTextBytes)); };
  if (entry.tag == kOrientation) {
    const uint32_t value = first_number(block, entry).value_or(0);
    if (value >= 1 && value <= 8) exif->orientation = static_cast<int>(value);
  } else if (entry.tag == kExifFolder) {
    walk->inner = first_number(block, entry).value_or(0);
  } else if (entry.tag == kImageDescription) {
    store_text("ImageDescription", text(), exif);
  } else if (entry.tag == kMake || entry.tag == kModel) {
    store_text("", text(), exif);
  } else if (entry.tag == kSoftware) {
    store_text("Software", text(), exif);
  } else if (entry.tag == kMakerNote && entry.value.size() <= 64) {  // a camera's own is longer
    store_text("MakerNote", text(), exif);
  } else if (entry.tag == kUserComment) {
    store_text("UserComment", decode_user_comment(entry.value.substr(0, kMaxTextBytes), block.big_endian),
               exif);
  }
}

}  // namespace

std::string decode_user_comment(std::string_view bytes, bool big_endian) {
  constexpr std::size_t kCodeBytes = 8;
  const std::string_view code = bytes.substr(0, kCodeBytes);
  if (code == "UNICODE\0"sv) return decode_utf16(bytes.substr(kCodeBytes), big_endian);
  const bool named = code == "ASCII\0\0\0"sv || code == "JIS\0\0\0\0\0"sv || code == "\0\0\0\0\0\0\0\0"sv;
  return utf8_of_either(named ? bytes.substr(kCodeBytes) : bytes);
}

Exif read_exif(std::string_view bytes) {
  while (bytes.starts_with("Exif\0\0"sv)) bytes.remove_prefix(6);
  if (bytes.size() < 8) return {};
  const Block block{bytes, bytes.starts_with("MM")};
  if (!bytes.starts_with("MM\0*"sv) && !bytes.starts_with("II*\0"sv)) return {};
  Walk walk;
  const auto take = [&](const Entry& entry) { take_entry(block, entry, &walk); };
  read_folder(block, block.number_32(4), take);
  const std::size_t folder = walk.inner;
  if (folder != 0) read_folder(block, folder, take);
  return walk.exif;
}

std::optional<int> xmp_orientation(std::string_view packet) {
  constexpr std::string_view kName = "tiff:Orientation";
  const std::size_t at = packet.find(kName);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = packet.substr(at + kName.size());
  if (rest.starts_with("=\"") || rest.starts_with("='")) {
    rest.remove_prefix(2);
  } else if (rest.starts_with(">")) {
    rest.remove_prefix(1);
  } else {
    return std::nullopt;
  }
  return !rest.empty() && rest[0] >= '1' && rest[0] <= '8' ? std::optional<int>(rest[0] - '0') : std::nullopt;
}

std::string xmp_user_comment(std::string_view packet) {
  const std::size_t at = packet.find("<exif:UserComment");
  if (at == std::string_view::npos) return {};
  packet.remove_prefix(at);
  packet = packet.substr(0, packet.find("</exif:UserComment"));
  const std::size_t item = packet.find("<rdf:li");
  if (item != std::string_view::npos) packet.remove_prefix(item);
  const std::size_t first = packet.find('>');
  if (first == std::string_view::npos) return {};
  packet = packet.substr(first + 1, packet.find('<', first) - first - 1);
  static constexpr std::pair<std::string_view, char> kEntities[] = {
      {"&quot;", '"'}, {"&apos;", '\''}, {"&lt;", '<'},  {"&gt;", '>'},  {"&amp;", '&'},
      {"&#xA;", '\n'}, {"&#10;", '\n'},  {"&#34;", '"'}, {"&#39;", '\''}};
  std::string out;
  for (std::size_t i = 0; i < packet.size();) {
    const auto* entity = std::ranges::find_if(
        kEntities, [&](const auto& pair) { return packet.substr(i).starts_with(pair.first); });
    const bool found = entity != std::end(kEntities);
    out += found ? entity->second : packet[i];
    i += found ? entity->first.size() : 1;
  }
  return clean_utf8(out);
}

std::string exif_in_raw_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string out;
  int high = -1;
  for (const char c : text) {
    const char* digits = "0123456789abcdef";
    const std::size_t digit = std::string_view(digits).find(lower(c));
    if (digit == std::string_view::npos) continue;
    if (high >= 0) out += static_cast<char>(high * 16 + static_cast<int>(digit));
    high = high >= 0 ? -1 : static_cast<int>(digit);
  }
  return out;
}

}  // namespace darkroom
