#include "image/png.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "image/found_recipe.h"
#include "image/pictures.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

// A folder that is gone after the test.
class Png : public testing::Test {
 protected:
  Png() : folder_(fs::temp_directory_path() / fmt::format("darkroom_png_test_{}", ::getpid())) {
    fs::create_directories(folder_);
  }
  ~Png() override { fs::remove_all(folder_); }
  const fs::path folder_;
};

TEST_F(Png, PixelsComeBack) {
  for (const auto& [width, height] : std::vector<std::pair<int, int>>{{1, 1}, {3, 5}, {640, 16}, {17, 301}}) {
    const Image image = gradient(width, height);
    write_png(image, folder_ / "a.png", {.overwrite = true});
    const Image back = read_png(folder_ / "a.png");
    EXPECT_EQ(back.width, width);
    EXPECT_EQ(back.height, height);
    EXPECT_EQ(back.rgb, image.rgb);
  }
}

TEST_F(Png, ReadsEveryColourType) {
  const auto cases = read_json_file(DARKROOM_SOURCE_DIR "/tests/fixtures/png_kinds.json", 1 << 20);
  EXPECT_EQ(cases.size(), 20u);
  const auto from_hex = [](const std::string& hex) {
    std::vector<uint8_t> out;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
      out.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    return out;
  };
  for (const auto& item : cases) {
    const std::vector<uint8_t> file = from_hex(item.at("png"));
    const Image image = decode_png(std::as_bytes(std::span(file)), item.at("name"));
    EXPECT_EQ(image.width, item.at("width"));
    EXPECT_EQ(image.height, item.at("height"));
    EXPECT_EQ(image.rgb, from_hex(item.at("rgb"))) << item.at("name");
  }
}

TEST_F(Png, TextsComeBackAndStandBeforeThePixels) {
  const std::vector<PngText> texts = {
      {"parameters", "a cat, \"quoted\"\nNegative prompt: dog"},
      {"latin", "caf\u00E9 \u00FF"},
      {"ambiguous", "\u00C3\u00A9"},  // its Latin-1 bytes are the UTF-8 of another text
      {"unicode", "\u732B \U0001F408 \u00E9"},
      {"empty", ""},
      {"long", std::string(100000, 'x')},
  };
  const std::vector<std::byte> bytes = encode_png(gradient(4, 4), texts);
  const auto back = decode_png_text(bytes, "memory");
  ASSERT_EQ(back.size(), texts.size());
  for (const PngText& text : texts) EXPECT_EQ(back.at(text.key), text.text) << text.key;
  const std::string file = as_text(bytes);
  for (const PngText& text : texts) EXPECT_LT(file.find(text.key), file.find("IDAT"));
  EXPECT_EQ(file.find("iTXtlatin"), std::string::npos);
  EXPECT_NE(file.find("tEXtlatin"), std::string::npos);
  EXPECT_NE(file.find("iTXtunicode"), std::string::npos);
  EXPECT_NE(file.find("iTXtambiguous"), std::string::npos);
}

TEST_F(Png, InvalidUtf8IsReplacedNotRefused) {
  const std::string bad("a\xFF\xC3(\xED\xA0\x80\0z\xF0\x9F", 11);
  const auto bytes = encode_png(gradient(2, 2), std::vector<PngText>{{"prompt", bad}});
  const std::string text = decode_png_text(bytes, "memory").at("prompt");
  EXPECT_TRUE(is_valid_utf8(text));
  EXPECT_EQ(text, "a\uFFFD\uFFFD(\uFFFD\uFFFD\uFFFD\uFFFDz\uFFFD\uFFFD");
}

TEST_F(Png, OverwritesOnlyWhenTold) {
  const fs::path path = folder_ / "a.png";
  write_png(gradient(2, 2), path);
  EXPECT_THROW(write_png(gradient(3, 3), path), Error);
  EXPECT_EQ(read_png(path).width, 2);
  write_png(gradient(3, 3), path, {.overwrite = true});
  EXPECT_EQ(read_png(path).width, 3);
  try {
    write_png(gradient(2, 2), folder_ / "absent" / "a.png");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1)
      << "nothing left behind";
}

TEST_F(Png, RefusesBadImagesAndKeys) {
  Image image = gradient(2, 2);
  image.rgb.pop_back();
  EXPECT_THROW(encode_png(image, {}), Error);
  EXPECT_THROW(encode_png(Image{}, {}), Error);
  for (const std::string& key : {std::string(), std::string(80, 'k'), std::string(" a"), std::string("a\n"),
                                 std::string("\u00E9"), std::string("a  b"), std::string("a\0b", 3)}) {
    EXPECT_THROW(encode_png(gradient(2, 2), std::vector<PngText>{{key, "x"}}), Error) << key;
  }
}

TEST_F(Png, EveryCutOffFileIsAnError) {
  const auto bytes = encode_png(gradient(9, 7), std::vector<PngText>{{"a", "b"}, {"c", "\u732B"}});
  const std::size_t first_pixels = as_text(bytes).find("IDAT") + 4;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::span<const std::byte> part(bytes.data(), size);
    EXPECT_THROW(decode_png(part, "part"), Error) << size;
    if (size < first_pixels) {
      EXPECT_THROW(decode_png_text(part, "part"), Error) << size;
    } else {
      EXPECT_EQ(decode_png_text(part, "part").at("a"), "b") << "the texts lie before the cut, " << size;
    }
  }
}

TEST_F(Png, EveryFlippedByteIsReadOrRefused) {
  Recipe recipe;
  recipe.prompt = "a cat";
  recipe.width = 9;
  recipe.height = 7;
  const auto bytes = encode_png(gradient(9, 7), recipe_texts(recipe));
  int refused = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const std::byte flip : {std::byte{1}, std::byte{0x80}, std::byte{0xFF}}) {
      auto broken = bytes;
      broken[i] ^= flip;
      try {
        decode_png(broken, "flipped");
        decode_png_text(broken, "flipped");
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, static_cast<int>(bytes.size()) * 2) << "checksums catch most";
}

bool names_a_value(const fs::path& path) { return !read_recipe(path).not_repeated.empty(); }

// Every file of fuzz/broken/png is refused by the reader that its name begins with, and crashes none. A bad
// value in the line of another program is left out and named.
TEST_F(Png, BrokenFilesAreErrors) {
  const auto refuses = [](const auto& read, const fs::path& path) {
    try {
      read(path);
      return false;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kFailure) << path;
      EXPECT_EQ(std::string(error.what()).find(path.string()), 0u) << error.what();
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
      EXPECT_LT(std::string(error.what()).size(), path.string().size() + 300) << error.what();
      return true;
    }
  };
  int files = 0;
  for (const auto& entry : fs::directory_iterator(DARKROOM_SOURCE_DIR "/fuzz/broken/png")) {
    const std::string name = entry.path().filename().string();
    const bool pixels = refuses([](const fs::path& path) { read_png(path); }, entry.path());
    const bool text = refuses([](const fs::path& path) { read_png_text(path); }, entry.path());
    const bool recipe = refuses([](const fs::path& path) { read_recipe(path); }, entry.path());
    const bool refused = name.starts_with("pixels-")        ? pixels
                         : name.starts_with("text-")        ? text && recipe
                         : name.starts_with("recipe-line-") ? !recipe && !text && names_a_value(entry.path())
                         : name.starts_with("recipe-")      ? recipe && !text && !pixels
                                                            : false;
    EXPECT_TRUE(refused) << name << ": pixels " << pixels << ", text " << text << ", recipe " << recipe;
    ++files;
  }
  EXPECT_GE(files, 60);
}

TEST_F(Png, MissingFilesAreErrors) {
  for (const fs::path& path : {folder_ / "absent.png", folder_}) {
    EXPECT_THROW(read_png(path), Error);
    EXPECT_THROW(read_png_text(path), Error);
    EXPECT_THROW(read_recipe(path), Error);
  }
}

}  // namespace
}  // namespace darkroom
