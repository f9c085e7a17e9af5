// libFuzzer target: any bytes as a model part's file, whose scales are then looked for. Errors are fine;
// crashes, hangs and scales that make no sense are not.

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string_view>

#include "base/error.h"
#include "checks.h"
#include "scratch_file.h"
#include "weights/catalog.h"
#include "weights/scales.h"

namespace {

namespace fs = std::filesystem;

const fs::path& scratch_file() {
  static const darkroom::ScratchPath file("scales");
  return file.path();
}

void check_scales(const darkroom::StoredScales& scales, const darkroom::StoredTensor& weight) {
  const auto rows = static_cast<std::size_t>(weight.extents.at(0));
  darkroom::check(scales.values.size() == 1 || scales.values.size() == rows);
  for (const float value : scales.values) darkroom::check(std::isnormal(value) && value > 0);
}

void read_all(std::span<const std::byte> bytes) {
  std::ofstream(scratch_file(), std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  try {
    const darkroom::Catalog catalog(scratch_file());
    try {
      darkroom::check_companions(catalog);
    } catch (const darkroom::Error& e) {
      darkroom::check_message(e);
    }
    for (const std::string_view name : catalog.names()) {
      const darkroom::StoredTensor& weight = *catalog.stored(name);
      for (const bool is_matrix : {weight.extents.size() == 2, false}) {
        try {
          if (const auto scales = darkroom::find_scales(catalog, weight, is_matrix))
            check_scales(*scales, weight);
        } catch (const darkroom::Error& e) {
          darkroom::check_message(e);
        }
      }
      if (darkroom::is_matrix_scale_name(name)) static_cast<void>(darkroom::scaled_weight(catalog, name));
    }
  } catch (const darkroom::Error& e) {
    darkroom::check_message(e);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  read_all(input);
  read_all(darkroom::as_header(input));
  return 0;
}
