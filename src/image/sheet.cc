#include "image/sheet.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "image/png.h"

namespace darkroom {
namespace {

constexpr int64_t kGutter = 8;  // pixels
// Tells apart pictures with white, grey and black edges alike.
constexpr uint8_t kGutterGrey = 64;

SheetLayout with_columns(const SheetOptions& options, int64_t columns) {
  SheetLayout layout{.pictures = options.pictures,
                     .columns = columns,
                     .rows = (options.pictures + columns - 1) / columns,
                     .picture_width = options.picture_width,
                     .picture_height = options.picture_height};
  layout.width = layout.columns * (layout.picture_width + kGutter) - kGutter;
  layout.height = layout.rows * (layout.picture_height + kGutter) - kGutter;
  return layout;
}

}  // namespace

SheetLayout make_sheet_layout(const SheetOptions& options) {
  if (options.columns > 0) return with_columns(options, std::min(options.columns, options.pictures));
  const auto badness = [](const SheetLayout& layout) {
    return std::tuple(std::max(layout.width, layout.height), layout.columns * layout.rows, -layout.columns);
  };
  SheetLayout best = with_columns(options, 1);
  for (int64_t columns = 2; columns <= options.pictures; ++columns) {
    const SheetLayout layout = with_columns(options, columns);
    if (badness(layout) < badness(best)) best = layout;
  }
  return best;
}

void require_sheet_fits(const SheetLayout& layout) {
  const bool fits = layout.width <= kMaxPngEdge && layout.height <= kMaxPngEdge &&
                    layout.width * layout.height <= kMaxPngPixels;
  require(fits, ErrorCode::kUsage,
          "a sheet of {} pictures in {} columns has {}x{} pixels; at most {} on a side and {} in all are "
          "allowed: draw "
          "fewer or smaller pictures",
          layout.pictures, layout.columns, layout.width, layout.height, kMaxPngEdge, kMaxPngPixels);
}

Sheet::Sheet(const SheetLayout& layout)
    : layout_(layout), image_{static_cast<int>(layout.width), static_cast<int>(layout.height), {}} {
  image_.rgb.assign(static_cast<std::size_t>(layout.width * layout.height * 3), kGutterGrey);
}

void Sheet::place(int64_t index, const Image& picture) {
  require(index >= 0 && index < layout_.pictures && picture.width == layout_.picture_width &&
              picture.height == layout_.picture_height,
          ErrorCode::kUsage, "picture {} of {}x{} has no place in a sheet of {} pictures of {}x{}", index,
          picture.width, picture.height, layout_.pictures, layout_.picture_width, layout_.picture_height);
  const int64_t left = index % layout_.columns * (layout_.picture_width + kGutter);
  const int64_t top = index / layout_.columns * (layout_.picture_height + kGutter);
  const int64_t row_bytes = layout_.picture_width * 3;
  for (int64_t row = 0; row < layout_.picture_height; ++row) {
    const int64_t to = ((top + row) * layout_.width + left) * 3;
    std::copy_n(picture.rgb.begin() + row * row_bytes, row_bytes, image_.rgb.begin() + to);
  }
}

}  // namespace darkroom
