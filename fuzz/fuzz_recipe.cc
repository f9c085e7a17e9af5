// libFuzzer target: every text of another program that may be a recipe. The first byte picks the key under
// which the rest lies.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "base/utf8.h"
#include "checks.h"
#include "image/exif.h"
#include "image/found_recipe.h"

namespace {

using namespace darkroom;

constexpr const char* kKeys[] = {"parameters", "invokeai_metadata", "sd-metadata",      "prompt", "Comment",
                                 "Dream",      "UserComment",       "XML:com.adobe.xmp"};

// What was found is a recipe that darkroom could write and read again, and its names are short texts.
void check_found(const FoundRecipe& found) {
  check(from_json(to_json(found.recipe), "again").seed == found.recipe.seed);
  check(found.not_repeated.size() <= 64);
  for (const std::string& name : found.not_repeated) check(name.size() < 400 && is_valid_utf8(name));
  for (const std::string& note : found.notes) check(is_valid_utf8(note));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  PictureTexts picture;
  picture.texts[kKeys[data[0] % std::size(kKeys)]] =
      repaired_utf8(text);  // as the readers of files give them
  try {
    check_found(read_recipe(picture, "input"));
  } catch (const Error& error) {
    check_message(error);
  }
  return 0;
}
