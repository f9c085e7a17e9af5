#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>

namespace darkroom {

namespace {

utf8proc_int32_t raw(char32_t code) { return static_cast<utf8proc_int32_t>(code); }

int combining_class(char32_t code) { return utf8proc_get_property(raw(code))->combining_class; }

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
  utf8proc_int32_t pair[3] = {raw(first), raw(second), 0};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  return utf8proc_normalize_utf32(pair, 2, options) == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

void append_decomposed(std::u32string& out, char32_t code) {
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
      return false;
  }
}

bool is_number(char32_t code) {
  if (code < 0x80) return code >= '0' && code <= '9';
  const auto category = utf8proc_category(raw(code));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
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
  } else {
    out += static_cast<char32_t>(utf8proc_tolower(raw(code)));
  }
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
  const bool starts = first_ || utf8proc_grapheme_break_stateful(raw(previous_), raw(code), &state_);
  first_ = false;
  previous_ = code;
  return starts;
}

}  // namespace darkroom
