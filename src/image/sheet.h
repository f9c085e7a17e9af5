// A contact sheet: pictures of one size in a grid, row by row, with a gutter between them and no margin
// around. So a sheet of one picture is that picture. Not a file (png.h).
#pragma once

#include <cstdint>
#include <utility>

#include "image/image.h"

namespace darkroom {

struct SheetOptions {
  int64_t pictures = 1;
  int64_t columns = 0;                            // 0: chosen
  int64_t picture_width = 0, picture_height = 0;  // pixels
};

struct SheetLayout {
  int64_t pictures = 0, columns = 0, rows = 0;
  int64_t picture_width = 0, picture_height = 0;  // pixels
  int64_t width = 0, height = 0;                  // of the sheet
};

// All options up to 2^20. More columns than pictures become as many. Chosen are the columns whose
// sheet fits into the smallest square; of those that fit equally, the ones with the fewest empty
// places, then the widest sheet.
SheetLayout make_sheet_layout(const SheetOptions& options);

// A sheet that darkroom could not read again, or that takes more than 200 MB, is refused: at most kMaxPngEdge
// pixels on a side and kMaxPngPixels in all. Errors: kUsage, with the numbers.
void require_sheet_fits(const SheetLayout& layout);

// The sheet while it fills. Holds all its pixels from the start.
class Sheet {
 public:
  // `layout` must fit.
  explicit Sheet(const SheetLayout& layout);
  // Puts a copy of the picture at its place, 0 to pictures - 1. Errors: kUsage for another size or place.
  void place(int64_t index, const Image& picture);
  // The sheet as it is; nothing can be placed any more.
  Image take() { return std::move(image_); }

 private:
  SheetLayout layout_;
  Image image_;
};

}  // namespace darkroom
