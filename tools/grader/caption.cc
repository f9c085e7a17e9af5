#include "grader/caption.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/printable.h"

namespace darkroom::grader {
namespace {

constexpr std::size_t kMostBytes = 1000;  // the longest caption of the grammar has about a hundred

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Words in small letters; a dot behind the last one is left out.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool between = true;
  for (const char c : text) {
    if (is_blank(c)) {
      between = true;
      continue;
    }
    if (between) words.emplace_back();
    between = false;
    words.back() += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (!words.empty() && words.back().ends_with('.')) words.back().pop_back();
  if (!words.empty() && words.back().empty()) words.pop_back();
  return words;
}

class Parser {
 public:
  Parser(std::string_view text, const std::string& where) : words_(words_of(text)), where_(where) {}

  Caption parse() {
    Caption caption;
    expect_article();
    const std::optional<Size> size = take_size();
    caption.shapes.push_back(shape());
    caption.shapes[0].size = size;
    if (!size) caption.relation = take_relation();
    if (caption.relation) {
      expect_article();
      caption.shapes.push_back(shape());
    } else {
      caption.shapes[0].place = take_place();
    }
    expect("on");
    expect_article();
    caption.background = colour();
    expect("background");
    if (at_ < words_.size()) refuse("the end");
    return caption;
  }

 private:
  // Takes all of `wanted` (words with single blanks between) if they are next.
  bool take(std::string_view wanted) {
    const std::vector<std::string> parts = words_of(wanted);
    if (words_.size() - at_ < parts.size()) return false;
    if (!std::equal(parts.begin(), parts.end(), words_.begin() + static_cast<std::ptrdiff_t>(at_)))
      return false;
    at_ += parts.size();
    return true;
  }

  [[noreturn]] void refuse(std::string_view expected) const {
    if (at_ >= words_.size())
      fail(ErrorCode::kUsage, "{}: the caption ends where {} should follow", where_, expected);
    fail(ErrorCode::kUsage, "{}: word {} of the caption is '{}', expected {}", where_, at_ + 1,
         printable(words_[at_], 40), expected);
  }

  void expect(std::string_view word) {
    if (!take(word)) refuse(fmt::format("'{}'", word));
  }

  void expect_article() {
    if (!take("a") && !take("an")) refuse("'a' or 'an'");
  }

  // The index of the name that is next, which is taken.
  template <std::size_t kCount>
  std::optional<std::size_t> take_name(const std::array<std::string_view, kCount>& names) {
    for (std::size_t i = 0; i < kCount; ++i) {
      if (take(names[i])) return i;
    }
    return std::nullopt;
  }

  Colour colour() {
    if (take("gray")) return Colour::kGrey;
    const std::optional<std::size_t> index = take_name(kColourNames);
    if (!index) refuse("a colour");
    return static_cast<Colour>(*index);
  }

  ShapeClaim shape() {
    ShapeClaim claim;
    claim.colour = colour();
    const std::optional<std::size_t> kind = take_name(kKindNames);
    if (!kind) refuse("a shape");
    claim.kind = static_cast<Kind>(*kind);
    return claim;
  }

  std::optional<Size> take_size() {
    for (const Size size : {Size::kSmall, Size::kLarge}) {
      if (take(name_of(size))) return size;
    }
    return std::nullopt;
  }

  std::optional<Place> take_place() {
    for (const Place place : {Place::kLeft, Place::kRight, Place::kTop, Place::kBottom}) {
      if (take(name_of(place))) return place;
    }
    return std::nullopt;
  }

  std::optional<Relation> take_relation() {
    const std::optional<std::size_t> index = take_name(kRelationNames);
    if (!index) return std::nullopt;
    return static_cast<Relation>(*index);
  }

  std::vector<std::string> words_;
  std::string where_;
  std::size_t at_ = 0;
};

}  // namespace

Caption parse_caption(std::string_view text, const std::string& where) {
  require(text.size() <= kMostBytes, ErrorCode::kUsage, "{}: a caption of {} bytes, at most {} are read",
          where, text.size(), kMostBytes);
  Caption caption = Parser(text, where).parse();
  for (const ShapeClaim& shape : caption.shapes) {
    require(shape.colour != caption.background, ErrorCode::kUsage,
            "{}: a {} {} cannot be seen on a {} background", where, name_of(shape.colour),
            name_of(shape.kind), name_of(caption.background));
  }
  return caption;
}

std::string to_text(const Caption& caption) {
  std::string text;
  for (const ShapeClaim& shape : caption.shapes) {
    if (!text.empty() && caption.relation) text += fmt::format(" {} ", name_of(*caption.relation));
    text += "a ";
    if (shape.size) text += fmt::format("{} ", name_of(*shape.size));
    text += fmt::format("{} {}", name_of(shape.colour), name_of(shape.kind));
    if (shape.place) text += fmt::format(" {}", name_of(*shape.place));
  }
  return text + fmt::format(" on a {} background", name_of(caption.background));
}

}  // namespace darkroom::grader
