#include "image/picture_texts.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/temp_folder.h"
#include "image/found_recipe.h"
#include "image/picture_source.h"
#include "image/pictures.h"

namespace darkroom {
namespace {

const std::string kLine = "a cat\nSteps: 4, Sampler: Euler, CFG scale: 1, Seed: 42, Size: 64x32";

PictureTexts texts_of(const std::string& file) {
  PictureSource source(as_file(file), "p");
  return read_picture_texts(source);
}

std::string refusal(const std::string& file) {
  try {
    texts_of(file);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailure);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "";
}

TEST(PictureTexts, APngOfAnySizeWithDamagedPixels) {
  const PictureTexts found = texts_of(png_file(png_text("parameters", kLine), "", 2000000000, 3));
  EXPECT_EQ(found.format, PictureFormat::kPng);
  EXPECT_EQ(found.width, 2000000000);
  EXPECT_EQ(found.height, 3);
  EXPECT_EQ(found.texts.at("parameters"), kLine);
}

TEST(PictureTexts, TextsMayComeAfterThePixels) {
  EXPECT_EQ(texts_of(png_file("", png_text("parameters", kLine))).texts.at("parameters"), kLine);
}

TEST(PictureTexts, APngCutInItsPixelsKeepsWhatCameBefore) {
  const std::string file = png_file(png_text("parameters", kLine), "", 2, 2, std::string(1000, 'x'));
  EXPECT_EQ(texts_of(file.substr(0, file.size() - 20)).texts.at("parameters"), kLine);
  std::string broken = file;
  broken[file.find("IDAT") - 4] = '\x7F';  // the length of the pixels
  EXPECT_EQ(texts_of(file.substr(0, file.find("IDAT") + 4) + std::string(9, '\0')).texts.size(), 1u);
}

TEST(PictureTexts, AHugeChunkIsSteppedOver) {
  const TempFolder folder;
  {  // 300 MiB of pixels, which no block of the disk holds
    std::ofstream out(folder / "large.png", std::ios::binary);
    const std::string head = png_file(png_text("parameters", kLine));
    const std::size_t pixels = head.find("IDAT") - 4;
    const uint32_t length = 300u << 20;
    out << head.substr(0, pixels) << number(length, 4, true) << "IDAT";
    out.seekp(static_cast<std::streamoff>(pixels + 8 + length + 4));
    out << png_text("late", "text") << png_chunk("IEND", "");
  }
  const PictureTexts found = read_picture_texts(folder / "large.png");
  EXPECT_EQ(found.texts.at("parameters"), kLine);
  EXPECT_EQ(found.texts.at("late"), "text");
}

TEST(PictureTexts, InflatedTextsAreBounded) {
  std::string bomb(compressBound(16 << 20), '\0');
  uLongf size = bomb.size();
  const std::string zeros(16 << 20, 'a');
  ASSERT_EQ(compress(reinterpret_cast<Bytef*>(bomb.data()), &size,
                     reinterpret_cast<const Bytef*>(zeros.data()), zeros.size()),
            Z_OK);
  bomb.resize(size);
  EXPECT_NE(
      refusal(png_file(png_chunk("zTXt", std::string("parameters\0\0", 12) + bomb))).find("8388608 bytes"),
      std::string::npos);
}

TEST(PictureTexts, JpegAndWebpKeepThemInExif) {
  const Image image = gradient(20, 10);
  for (const bool block_order : {false, true}) {
    for (const bool text_order : {false, true}) {
      const std::string block =
          exif_block({.big_endian = block_order, .comment = unicode_comment(kLine, text_order)});
      const PictureTexts jpeg = texts_of(jpeg_file(image, exif_segment(block)));
      const PictureTexts webp = texts_of(webp_file(image, riff_chunk("EXIF", block)));
      const PictureTexts again =
          texts_of(webp_file(image, riff_chunk("EXIF", std::string("Exif\0\0", 6) + block)));
      for (const PictureTexts* found : {&jpeg, &webp, &again}) {
        EXPECT_EQ(found->texts.at("UserComment"), kLine);
        EXPECT_EQ(found->width, 20);
        EXPECT_EQ(found->height, 10);
      }
      EXPECT_EQ(read_recipe(jpeg, "p").recipe.seed, 42u);
      EXPECT_EQ(read_recipe(webp, "p").recipe.seed, 42u);
    }
  }
}

TEST(PictureTexts, OfWebpTheSizeOfEveryKind) {
  const PictureTexts lossless = texts_of(webp_file(gradient(33, 7)));
  EXPECT_EQ(lossless.width, 33);
  EXPECT_EQ(lossless.height, 7);
  uint8_t* out = nullptr;
  const Image image = gradient(33, 7);
  const std::size_t size = WebPEncodeRGB(image.rgb.data(), 33, 7, 33 * 3, 80, &out);
  const std::string lossy(reinterpret_cast<char*>(out), size);
  WebPFree(out);
  EXPECT_EQ(texts_of(lossy).width, 33);
  EXPECT_EQ(texts_of(lossy).height, 7);
}

TEST(PictureTexts, AJpegIsReadUpToItsPixels) {
  const std::string file = jpeg_file(
      gradient(16, 16), exif_segment(exif_block({.comment = "ASCII" + std::string(3, '\0') + kLine})));
  const std::size_t scan = file.find("\xFF\xDA");
  EXPECT_EQ(texts_of(file.substr(0, scan + 14)).texts.at("UserComment"), kLine);
  for (std::size_t size = 3; size < scan; ++size) {
    EXPECT_EQ(refusal(file.substr(0, size)).find("p: "), 0u) << size;
  }
}

TEST(PictureTexts, ComfyUiNamesItsGraphInsideAnyTag) {
  const std::string block = exif_block({.make = "workflow:{\"nodes\":[]}", .model = "Prompt: {\"1\":{}}"});
  const PictureTexts found = texts_of(webp_file(gradient(4, 4), riff_chunk("EXIF", block)));
  EXPECT_EQ(found.texts.at("prompt"), "{\"1\":{}}");
  EXPECT_EQ(found.texts.at("workflow"), "{\"nodes\":[]}");
  EXPECT_EQ(found.texts.size(), 2u);
}

TEST(PictureTexts, WhatIsNoPictureIsNamed) {
  EXPECT_NE(refusal("GIF89a..........").find("p: a GIF picture"), std::string::npos);
  EXPECT_NE(refusal("{\"a\": 1}").find("p: not a picture"), std::string::npos);
}

}  // namespace
}  // namespace darkroom
