#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace darkroom {

namespace {

struct Range {
  char32_t first, last;
};

// Letters and numbers of Unicode 15.1 and 16.0; the reference's regular expressions know 16.0.
constexpr Range kNewerLetters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3}, {0x10D4A, 0x10D65},
    {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E},
    {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0},
    {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D}};
constexpr Range kNewerNumbers[] = {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9},
                                   {0x16130, 0x16139}, {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9},
                                   {0x1E5F1, 0x1E5FA}};
// Code points that continue a grapheme cluster since Unicode 16.0 and 17.0; the reference's clusters
// know 17.0.
constexpr Range kNewerExtenders[] = {
    {0x897, 0x897},     {0x1ACF, 0x1ADD},   {0x1AE0, 0x1AEB},   {0x10D69, 0x10D6D}, {0x10EFA, 0x10EFC},
    {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D0},
    {0x113D2, 0x113D2}, {0x113E1, 0x113E2}, {0x11B60, 0x11B67}, {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F},
    {0x1E5EE, 0x1E5EF}, {0x1E6E3, 0x1E6E3}, {0x1E6E6, 0x1E6E6}, {0x1E6EE, 0x1E6EF}, {0x1E6F5, 0x1E6F5}};
// Combining marks that are newer than Unicode 9.0, which is what the reference's NFC knows: it does not order
// them.
constexpr Range kUnorderedMarks[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47},
    {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}};

template <std::size_t N>
bool is_in(const Range (&ranges)[N], char32_t code) {
  const auto it = std::ranges::lower_bound(ranges, code, {}, &Range::last);
  return it != std::end(ranges) && code >= it->first;
}

// Lower case of Unicode 16.0 and 17.0: `count` code points from `first`, `step` apart, move by `distance`.
struct LowerRule {
  char32_t first, count, step;
  int32_t distance;
};
constexpr LowerRule kNewerLower[] = {
    {0x1C89, 1, 1, 1}, {0xA7CB, 1, 1, 0x264 - 0xA7CB}, {0xA7CC, 2, 2, 1},    {0xA7D2, 2, 2, 1},
    {0xA7DA, 1, 1, 1}, {0xA7DC, 1, 1, 0x19B - 0xA7DC}, {0x10D50, 22, 1, 32}, {0x16EA0, 25, 1, 27},
};

// The one composition between Unicode 9.0 and 15.0: the reference leaves it apart.
constexpr char32_t kNewerComposed = 0x11938, kNewerComposedFirst = 0x11935;

utf8proc_int32_t raw(char32_t code) { return static_cast<utf8proc_int32_t>(code); }

int combining_class(char32_t code) {
  const int code_class = utf8proc_get_property(raw(code))->combining_class;
  return code_class != 0 && is_in(kUnorderedMarks, code) ? 0 : code_class;
}

constexpr char32_t kHangulBase = 0xAC00, kLeadBase = 0x1100, kVowelBase = 0x1161, kTailBase = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;

// The code point that two make under canonical composition, 0 for none.
char32_t composed(char32_t first, char32_t second) {
  if (first >= kLeadBase && first < kLeadBase + kLeads) {
    if (second < kVowelBase || second >= kVowelBase + kVowels) return 0;
    return kHangulBase + ((first - kLeadBase) * kVowels + (second - kVowelBase)) * kTails;
  }
  if (first >= kHangulBase && first < kHangulBase + kLeads * kVowels * kTails) {
    if ((first - kHangulBase) % kTails != 0) return 0;
    return second > kTailBase && second < kTailBase + kTails ? first + (second - kTailBase) : 0;
  }
  if (first == kNewerComposedFirst) return 0;
  utf8proc_int32_t pair[3] = {raw(first), raw(second), 0};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  return utf8proc_normalize_utf32(pair, 2, options) == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

void append_decomposed(std::u32string& out, char32_t code) {
  if (code == kNewerComposed) {
    out += code;
    return;
  }
  utf8proc_int32_t buffer[32];
  int last_class = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  const auto count = utf8proc_decompose_char(raw(code), buffer, 32, options, &last_class);
  if (count < 1 || count > 32) {
    out += code;
    return;
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) out += static_cast<char32_t>(buffer[i]);
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
  switch (utf8proc_category(raw(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return is_in(kNewerLetters, code);
  }
}

bool is_number(char32_t code) {
  if (code < 0x80) return code >= '0' && code <= '9';
  const auto category = utf8proc_category(raw(code));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO || is_in(kNewerNumbers, code);
}

bool is_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

bool is_word(char32_t code) {
  if (is_letter(code)) return true;
  // Symbols that are Alphabetic by the property Other_Alphabetic: circled and squared Latin letters.
  if ((code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
      (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189)) {
    return true;
  }
  if (code == 0x200C || code == 0x200D) return true;
  switch (utf8proc_category(raw(code))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

void append_lower(std::u32string& out, char32_t code) {
  if (code == 0x130) {
    out += U"i\u0307";
    return;
  }
  for (const LowerRule& rule : kNewerLower) {
    const char32_t from = code - rule.first;  // wraps to a large number in front of `first`
    if (from < rule.count * rule.step && from % rule.step == 0) {
      out += static_cast<char32_t>(static_cast<int32_t>(code) + rule.distance);
      return;
    }
  }
  out += static_cast<char32_t>(utf8proc_tolower(raw(code)));
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

bool ClusterFinder::starts_cluster(char32_t code) {
  if (is_in(kNewerExtenders, code)) code = 0x300;  // acts as any other mark
  if (code == 0x113D1) code = 0x600;               // one that joins what follows it, since Unicode 16.0
  const bool starts = first_ || utf8proc_grapheme_break_stateful(raw(previous_), raw(code), &state_);
  first_ = false;
  previous_ = code;
  return starts;
}

}  // namespace darkroom
