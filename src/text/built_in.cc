#include "text/built_in.h"

#include <zlib.h>

#include <bit>

#include "base/error.h"

namespace darkroom {

namespace {

constexpr std::size_t kMaxBytes = 1 << 20;  // of unpacked data

std::string unpacked(std::string_view packed) {
  std::string out(kMaxBytes, '\0');
  uLongf size = out.size();
  const int status = uncompress(reinterpret_cast<Bytef*>(out.data()), &size,
                                reinterpret_cast<const Bytef*>(packed.data()), packed.size());
  require(status == Z_OK, ErrorCode::kFailure, "the built-in tokenizers cannot be unpacked: zlib says {}",
          status);
  out.resize(size);
  return out;
}

// Takes numbers and texts off the front of unpacked data.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::string_view take(std::size_t bytes) {
    require(bytes <= rest_.size(), ErrorCode::kFailure, "the built-in tokenizers: {} bytes, and {} are there",
            bytes, rest_.size());
    const std::string_view out = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return out;
  }
  // That lie in planes: the lowest byte of each, then the second of each and so on.
  template <typename Number>
  std::vector<Number> take_numbers(std::size_t count) {
    const std::string_view planes = take(count * sizeof(Number));
    std::vector<Number> out(count);
    for (std::size_t i = 0; i < planes.size(); ++i) {
      out[i % count] |=
          static_cast<Number>(uint32_t{static_cast<unsigned char>(planes[i])} << 8 * (i / count));
    }
    return out;
  }

 private:
  std::string_view rest_;
};

void append_u32(std::string& out, uint32_t number) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(number >> shift & 0xFF);
}

// A space stands for U+2581, a newline ends each.
std::vector<std::string> read_texts(std::string_view bytes, std::size_t count) {
  std::vector<std::string> out(1);
  out.reserve(count + 1);
  for (const char c : bytes) {
    if (c == '\n') {
      out.emplace_back();
    } else if (c == ' ') {
      out.back() += "\u2581";
    } else {
      out.back() += c;
    }
  }
  out.pop_back();
  return out;
}

}  // namespace

std::vector<std::pair<uint16_t, uint16_t>> built_in_clip_merges() {
  const std::string bytes = unpacked(kClipMerges);
  Reader reader(bytes);
  const std::size_t count = bytes.size() / 4;
  const auto left = reader.take_numbers<uint16_t>(count), right = reader.take_numbers<uint16_t>(count);
  std::vector<std::pair<uint16_t, uint16_t>> out;
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) out.emplace_back(left[i], right[i]);
  return out;
}

BuiltInPieces built_in_t5_pieces() {
  const std::string bytes = unpacked(kT5Pieces);
  Reader reader(bytes);
  std::size_t counts[4];  // pieces, bytes of their texts, units of the trie, bytes of its replacements
  for (std::size_t& count : counts) count = reader.take_numbers<uint32_t>(1)[0];
  BuiltInPieces out;
  out.texts = read_texts(reader.take(counts[1]), counts[0]);
  uint32_t bits = 0;
  for (const uint32_t step : reader.take_numbers<uint32_t>(counts[0])) {
    out.scores.push_back(std::bit_cast<float>(bits += step));
  }
  append_u32(out.charsmap, static_cast<uint32_t>(4 * counts[2]));
  for (const uint32_t unit : reader.take_numbers<uint32_t>(counts[2])) append_u32(out.charsmap, unit);
  out.charsmap += reader.take(counts[3]);
  return out;
}

}  // namespace darkroom
