#include "text/unicode.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>

#include "text/unicode_tables.h"

namespace darkroom {

namespace {

// The entry of a sorted table of ranges that holds `code`, null for none.
template <typename Range>
const Range* find_range(std::span<const Range> ranges, char32_t code) {
  const auto it = std::ranges::lower_bound(ranges, code, {}, &Range::last);
  return it != ranges.end() && code >= it->first ? &*it : nullptr;
}

int combining_class(char32_t code) {
  const ClassRange* range = find_range(kCombiningClasses, code);
  return range ? range->combining_class : 0;
}

constexpr char32_t kHangulBase = 0xAC00, kLeadBase = 0x1100, kVowelBase = 0x1161, kTailBase = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;
constexpr char32_t kSyllables = kLeads * kVowels * kTails;

// The code point that two make under canonical composition, 0 for none.
char32_t composed(char32_t first, char32_t second) {
  if (first >= kLeadBase && first < kLeadBase + kLeads) {
    if (second < kVowelBase || second >= kVowelBase + kVowels) return 0;
    return kHangulBase + ((first - kLeadBase) * kVowels + (second - kVowelBase)) * kTails;
  }
  if (first >= kHangulBase && first < kHangulBase + kSyllables) {
    if ((first - kHangulBase) % kTails != 0) return 0;
    return second > kTailBase && second < kTailBase + kTails ? first + (second - kTailBase) : 0;
  }
  const auto pair = std::tuple(first, second);
  const auto it = std::ranges::lower_bound(
      kCompositions, pair, {}, [](const Composition& c) { return std::tuple(c.first, c.second); });
  return it != kCompositions.end() && std::tuple(it->first, it->second) == pair ? it->both : 0;
}

void append_hangul(std::u32string& out, char32_t syllable) {
  const char32_t index = syllable - kHangulBase;
  out += kLeadBase + index / (kVowels * kTails);
  out += kVowelBase + index / kTails % kVowels;
  if (index % kTails != 0) out += kTailBase + index % kTails;
}

void append_decomposed(std::u32string& out, char32_t code) {
  if (code >= kHangulBase && code < kHangulBase + kSyllables) return append_hangul(out, code);
  const auto it = std::ranges::lower_bound(kDecompositions, code, {}, &Decomposition::code);
  if (it == kDecompositions.end() || it->code != code) {
    out += code;
    return;
  }
  append_decomposed(out, it->first);
  if (it->second != 0) append_decomposed(out, it->second);
}

// Puts each run of combining marks into the canonical order.
void order_marks(std::u32string& codes) {
  for (std::size_t begin = 0; begin < codes.size();) {
    std::size_t end = begin;
    while (end < codes.size() && combining_class(codes[end]) != 0) ++end;
    if (end - begin > 1) {
      std::stable_sort(codes.begin() + static_cast<std::ptrdiff_t>(begin),
                       codes.begin() + static_cast<std::ptrdiff_t>(end),
                       [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    }
    begin = end + 1;
  }
}

}  // namespace

bool is_letter(char32_t code) {
  if (code < 0x80) return (code | 0x20) >= 'a' && (code | 0x20) <= 'z';
  return find_range(kLetters, code) != nullptr;
}

bool is_number(char32_t code) {
  if (code < 0x80) return code >= '0' && code <= '9';
  return find_range(kNumbers, code) != nullptr;
}

bool is_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

bool is_word(char32_t code) { return is_letter(code) || find_range(kWordsOthers, code) != nullptr; }

void append_lower(std::u32string& out, char32_t code) {
  if (code == 0x130) {
    out += U"i\u0307";
    return;
  }
  const LowerRule* rule = find_range(kLowerRules, code);
  const bool moves = rule && (code - rule->first) % rule->step == 0;
  out += moves ? static_cast<char32_t>(static_cast<int32_t>(code) + rule->distance) : code;
}

std::u32string nfc(std::u32string codes) {
  // Below U+0300 there are no marks and nothing decomposes without composing again.
  if (std::ranges::all_of(codes, [](char32_t code) { return code < 0x300; })) return codes;
  std::u32string parts;
  parts.reserve(codes.size());
  for (const char32_t code : codes) append_decomposed(parts, code);
  order_marks(parts);

  std::u32string out;
  out.reserve(parts.size());
  std::size_t starter = std::u32string::npos;
  int last_class = 0;
  for (const char32_t code : parts) {
    const int code_class = combining_class(code);
    const bool reachable =
        starter != std::u32string::npos && (out.size() - 1 == starter || last_class < code_class);
    if (reachable) {
      if (const char32_t both = composed(out[starter], code)) {
        out[starter] = both;
        continue;
      }
    }
    if (code_class == 0) starter = out.size();
    last_class = code_class;
    out += code;
  }
  return out;
}

namespace {

using enum ClusterKind;

ClusterKind kind_of(char32_t code) {
  if (code >= kHangulBase && code < kHangulBase + kSyllables) {
    return (code - kHangulBase) % kTails == 0 ? kLV : kLVT;
  }
  const ClusterRange* range = find_range(kClusterKinds, code);
  return range ? range->kind : kOther;
}

bool is_control(ClusterKind kind) { return kind == kControl || kind == kCR || kind == kLF; }

// Rules GB6 to GB8 of UAX #29: a Hangul syllable goes on.
bool joins_hangul(ClusterKind before, ClusterKind kind) {
  switch (before) {
    case kL:
      return kind == kL || kind == kV || kind == kLV || kind == kLVT;
    case kLV:
    case kV:
      return kind == kV || kind == kT;
    case kLVT:
    case kT:
      return kind == kT;
    default:
      return false;
  }
}

// The rules of UAX #29 that look at two neighbours only. Conjuncts of Indic scripts (GB9c) are longer than
// what T5's character map asks for, so that rule is left out.
bool joins(ClusterKind before, ClusterKind kind) {
  if (before == kCR && kind == kLF) return true;
  if (is_control(before) || is_control(kind)) return false;
  return kind == kExtend || kind == kZWJ || kind == kSpacingMark || before == kPrepend ||
         joins_hangul(before, kind);
}

}  // namespace

bool ClusterFinder::starts_cluster(char32_t code) {
  const ClusterKind kind = kind_of(code);
  const bool second_of_flag = kind == kRegionalIndicator && odd_flag_letters_;
  const bool after_joiner = kind == kExtendedPictographic && state_ == State::kPictureAndJoiner;
  const bool starts = first_ || !(joins(before_, kind) || second_of_flag || after_joiner);

  odd_flag_letters_ = kind == kRegionalIndicator && !second_of_flag;
  if (kind == kExtendedPictographic) {
    state_ = State::kPicture;
  } else if (state_ == State::kPicture && kind == kZWJ) {
    state_ = State::kPictureAndJoiner;
  } else if (state_ != State::kPicture || kind != kExtend) {
    state_ = State::kOther;
  }
  first_ = false;
  before_ = kind;
  return starts;
}

}  // namespace darkroom
