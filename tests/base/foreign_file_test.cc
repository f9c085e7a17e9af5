#include "base/foreign_file.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/temp_folder.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

TEST(ForeignFile, IsRecognisedWhereJsonIsExpected) {
  const TempFolder folder;
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
       "a git-lfs pointer, not the file"},
      {"<!DOCTYPE html><html></html>", "a web page"},
      {"\xEF\xBB\xBF\r\n <HTML>", "a web page"},
      {"<?xml version=\"1.0\"?><Error/>", "a web page"},
      {"PK\x03\x04 and more", "a PyTorch pickle"},
      {"\x80\x04\x95", "a PyTorch pickle"},
      {"GGUF\x03", "a GGUF file"},
      {"\x89PNG\r\n\x1a\n\0\0\0"s, "a picture"},
      {"\xff\xd8\xff\xe0\0\x10"s, "a picture"},
      {"RIFF\0\0\0\0WEBPVP8 "s, "a picture"},
      {"\x1f\x8b\x08\0"s, "compressed"},
  };
  for (const auto& [text, kind] : kinds) {
    const fs::path file = folder.write("config.json", text);
    expect_error(ErrorCode::kModel, file.string() + ": this is " + kind, [&] { read_json_file(file, 1000); });
  }
}

TEST(ForeignFile, JsonIsNoForeignFile) {
  for (const char* json : {"{}", " [1]", "\n\"<html\"", "-1", "true", "null", "\xEF\xBB\xBF{}", ""}) {
    EXPECT_EQ(foreign_kind(json), "") << json;
  }
}

TEST(ForeignFile, ALinkWithoutItsTargetIsNamed) {
  const TempFolder folder;
  fs::create_symlink("../blobs/4d7a\n21", folder / "config.json");
  fs::create_symlink("config.json", folder / "twice.json");
  fs::create_symlink("gone", folder / "part");
  fs::create_symlink("loop", folder / "loop");
  const auto expect = [&](const char* name, const std::string& message) {
    expect_error(ErrorCode::kModel, message, [&] { read_text_file(folder / name, 100); });
    expect_error(ErrorCode::kModel, message, [&] { FileMap map(folder / name); });
  };
  expect("config.json",
         (folder / "config.json").string() + " is a link to ../blobs/4d7a\\x0a21, which is not there");
  expect("twice.json", "twice.json is a link to config.json, which is not there");
  expect("part/config.json", (folder / "part").string() + " is a link to gone, which is not there");
  expect("loop", "loop is a link to loop, which is not there");
  expect("absent", "absent: cannot open: No such file");
  EXPECT_TRUE(is_there(folder / "config.json"));
  EXPECT_FALSE(is_there(folder / "absent"));
  folder.write("real", "x");
  fs::create_symlink("real", folder / "good");
  EXPECT_EQ(dangling_link(folder / "good"), "");
}

}  // namespace
}  // namespace darkroom
