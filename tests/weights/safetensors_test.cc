#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/expect_error.h"
#include "base/temp_folder.h"
#include "weights/files.h"
#include "weights/loaded.h"

namespace darkroom {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// A one-tensor header with the fields as given.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"a\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}

void expect_refused(const std::string& fragment, const std::string& file) {
  expect_error(ErrorCode::kModel, fragment, [&] { TensorFile opened(bytes_of(file), "x.safetensors"); });
  expect_error(ErrorCode::kModel,
               "x.safetensors: ", [&] { TensorFile opened(bytes_of(file), "x.safetensors"); });
}

TEST(SafetensorsRead, ListsTensorsAndMetadata) {
  const std::string header =
      R"({"__metadata__":{"format":"pt","\u00e9":"x"},"late":{"dtype":"BF16","shape":[2,2],"data_offsets":[12,20]},)"
      R"( "early" : {"shape":[3],"data_offsets":[0,12],"dtype":"F32"}, "none":{"dtype":"F16","shape":[5,0],)"
      R"("data_offsets":[12,12]}}    )";
  const std::string bytes = safetensors_bytes(
      header, raw(std::vector<float>{1, 2, 3}) + std::string("\x80\x3f\0\x40\x80\x40\0\0", 8));
  const TensorFile file(bytes_of(bytes), "w");
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "early");
  EXPECT_EQ(file.tensors()[1].name, "none");  // an empty tensor lies before the one that begins where it does
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("\xC3\xA9"), "x");
  const StoredTensor* late = file.find("late");
  ASSERT_NE(late, nullptr);
  EXPECT_EQ(late->describe(), "BF16 [2, 2]");
  EXPECT_EQ(late->elements, 4);
  const OwnedTensor loaded = file.load(*late);
  EXPECT_EQ(loaded.tensor.shape, Shape({2, 2}));
  EXPECT_EQ(loaded.tensor.dtype, DType::kBF16);
  EXPECT_EQ(to_float(loaded.tensor.row<BFloat16>(0)[1]), 2.0f);
  EXPECT_EQ(to_float(loaded.tensor.row<BFloat16>(1)[0]), 4.0f);
  EXPECT_EQ(file.load(*file.find("none")).tensor.shape, Shape({5, 0}));
  EXPECT_EQ(file.find("absent"), nullptr);
  EXPECT_EQ(file.find(""), nullptr);
}

TEST(SafetensorsRead, ScalarsAndFilesWithoutTensorsAreLegal) {
  const std::string scalar = safetensors_bytes(one("\"F32\"", "[]", "[0,4]"), raw(std::vector<float>{7}));
  const TensorFile file(bytes_of(scalar), "w");
  const OwnedTensor loaded = file.load(file.tensors()[0]);
  EXPECT_EQ(loaded.tensor.shape, Shape({1}));
  EXPECT_EQ(loaded.tensor.row<float>(0)[0], 7.0f);
  EXPECT_TRUE(file.tensors()[0].extents.empty());
  const std::string nothing = safetensors_bytes("{}", "");
  EXPECT_TRUE(TensorFile(bytes_of(nothing), "w").tensors().empty());
  const std::string no_metadata = safetensors_bytes(R"({"__metadata__":null})", "");  // the crate reads it so
  EXPECT_TRUE(TensorFile(bytes_of(no_metadata), "w").metadata().empty());
}

TEST(SafetensorsRead, ForeignTypesAndRanksAreListedButNotUsed) {
  const std::vector<std::pair<std::string, int>> types = {{"F64", 8},     {"I16", 2}, {"BOOL", 1},
                                                          {"F8_E8M0", 1}, {"U64", 8}, {"C64", 8}};
  for (const auto& [type, size] : types) {
    const std::string bytes =
        safetensors_bytes(one("\"" + type + "\"", "[2]", "[0," + std::to_string(2 * size) + "]"),
                          std::string(static_cast<std::size_t>(2 * size), '\0'));
    const TensorFile file(bytes_of(bytes), "x.safetensors");
    EXPECT_EQ(file.tensors()[0].type, type);
    expect_error(ErrorCode::kModel,
                 "x.safetensors: tensor 'a' is " + type + " [2]: this type is not supported",
                 [&] { file.load(file.tensors()[0]); });
  }
  const std::string deep = safetensors_bytes(one("\"U8\"", "[1,1,1,1,2]", "[0,2]"), "ab");
  const TensorFile file(bytes_of(deep), "w");
  expect_error(ErrorCode::kModel, "U8 [1, 1, 1, 1, 2]: more than four extents",
               [&] { file.load(file.tensors()[0]); });
  const std::string packed = safetensors_bytes(one("\"F4\"", "[4]", "[0,2]"), "ab");
  EXPECT_EQ(TensorFile(bytes_of(packed), "w").tensors()[0].elements, 4);
}

TEST(SafetensorsRead, UsableTypesKeepTheirDType) {
  const std::vector<std::pair<std::string, DType>> types = {
      {"F32", DType::kF32},        {"F16", DType::kF16},        {"BF16", DType::kBF16},
      {"F8_E4M3", DType::kF8E4M3}, {"F8_E5M2", DType::kF8E5M2}, {"I64", DType::kI64},
      {"I32", DType::kI32},        {"U8", DType::kU8},          {"I8", DType::kI8}};
  for (const auto& [type, dtype] : types) {
    const std::string header =
        one("\"" + type + "\"", "[1]", "[0," + std::to_string(dtype_bytes(dtype)) + "]");
    const std::string bytes = safetensors_bytes(header, std::string(dtype_bytes(dtype), '\0'));
    const TensorFile file(bytes_of(bytes), "w");
    EXPECT_EQ(file.load(file.tensors()[0]).tensor.dtype, dtype);
    EXPECT_EQ(stored_type_name(dtype), type);
  }
}

TEST(SafetensorsRead, RecognisesWhatElseItIs) {
  expect_refused("git-lfs pointer",
                 "version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 23802816640\n");
  expect_refused("web page", "<!DOCTYPE html><html></html>");
  expect_refused("web page", "\n\n <HTML>");
  expect_refused("PyTorch pickle", std::string("PK\x03\x04") + std::string(30, 'x'));
  expect_refused("PyTorch pickle", std::string("\x80\x02\x8a\n") + std::string(30, 'x'));
  expect_refused("GGUF", "GGUF\x03 and more bytes");
  expect_refused("JSON text", "{\"error\":\"gated\"}");
  expect_refused("compressed", "\x1f\x8b\x08 and more bytes");
}

TEST(SafetensorsRead, ChecksTheHeaderLength) {
  const std::string header = one("\"F32\"", "[4]", "[0,16]");
  const std::string good = safetensors_bytes(header, std::string(16, '\0'));
  expect_refused("3 bytes are too few", good.substr(0, 3));
  std::string bad = good;
  bad[3] = '\x10';  // 2^28 and something
  expect_refused("at most 100000000 are allowed", bad);
  bad[3] = 0;
  bad[2] = 1;
  expect_refused(
      "cut short: the file has " + std::to_string(good.size()) + " bytes, its header alone needs 65599", bad);
  expect_refused("does not begin with '{'", safetensors_bytes("\f" + header, std::string(16, '\0')));
  expect_refused("does not begin with '{'", std::string(8, '\0'));
}

TEST(SafetensorsRead, ChecksTheFileSize) {
  const std::string header = one("\"F32\"", "[4]", "[0,16]");  // 55 bytes: 8 + 55 + 16 = 79
  expect_refused("cut short: the file has 78 bytes, its header needs 79",
                 safetensors_bytes(header, std::string(15, '\0')));
  expect_refused("the file has 80 bytes, its header accounts for only 79",
                 safetensors_bytes(header, std::string(17, '\0')));
}

// Each row: what is wrong, told by a part of the message; the header; the number of data bytes.
TEST(SafetensorsRead, ChecksEveryRuleOfTheHeader) {
  const std::string f = "\"F32\"";
  const auto entry = [](const std::string& name, int first, int last) {
    return "\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[" + std::to_string(last - first) +
           "],\"data_offsets\":[" + std::to_string(first) + "," + std::to_string(last) + "]}";
  };
  const std::vector<std::tuple<std::string, std::string, std::size_t>> cases = {
      {"not valid JSON", "{\"a\"", 0},
      {"not valid JSON", "{}{}", 0},
      {"not valid JSON", "{\"\xFF\":{}}", 0},
      {"a zero byte at 2", std::string("{}\0", 3), 0},
      {"tensor 'a': found the end of the list, expected the name of a type", "{\"a\":[]}", 0},
      {"tensor 'a': found null, expected an object", "{\"a\":null}", 0},
      {"tensor 'a': 'dtype' is missing", "{\"a\":{}}", 0},
      {"'shape' is missing", R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4},
      {"'data_offsets' is missing", R"({"a":{"dtype":"F32","shape":[1]}})", 4},
      {"'dtype' is missing", R"({"a":{"strides":[1]}})", 0},
      {"'dtype' is given twice", R"({"a":{"dtype":"F32","dtype":"F32"}})", 0},
      {"'shape' is given twice", R"({"a":{"shape":[],"shape":[]}})", 0},
      {"'data_offsets' is given twice", R"({"a":{"data_offsets":[0,0],"data_offsets":[0,0]}})", 0},
      {"unknown dtype 'float16'", one("\"float16\"", "[4]", "[0,16]"), 16},
      {"unknown dtype '\\x1b[2J'", one("\"\\u001b[2J\"", "[4]", "[0,16]"), 16},
      {"found the number 5, expected the name of a type", one("5", "[4]", "[0,16]"), 16},
      {"found null, expected a list as 'shape'", one(f, "null", "[0,16]"), 16},
      {"found a negative number, expected whole numbers from 0 in 'shape'", one(f, "[-4]", "[0,16]"), 16},
      {"found the number 4.0, expected whole numbers", one(f, "[4.0]", "[0,16]"), 16},
      {"found a list, expected whole numbers", one(f, "[[4]]", "[0,16]"), 16},
      {"the extent 9223372036854775808 is too large", one(f, "[9223372036854775808]", "[0,16]"), 16},
      {"the size of F32 [4294967296, 4294967296] overflows", one(f, "[4294967296,4294967296]", "[0,16]"), 16},
      {"overflows", one(f, "[4611686018427387904]", "[0,0]"), 0},
      {"F32 [3] needs 12 bytes, its data_offsets hold 16", one(f, "[3]", "[0,16]"), 16},
      {"F4 [3] needs 1.5 bytes, its data_offsets hold 1", one("\"F4\"", "[3]", "[0,1]"), 1},
      {"its data ends at 0, before it begins at 16", one(f, "[4]", "[16,0]"), 16},
      {"found the end of the list, expected two whole numbers", one(f, "[4]", "[16]"), 16},
      {"found the number 3, expected two whole numbers", one(f, "[4]", "[0,16,3]"), 16},
      {"its data begins at 8, expected 0: a hole", one(f, "[4]", "[8,24]"), 24},
      {"tensor 'b': its data begins at 9, expected 8: a hole",
       "{" + entry("a", 0, 8) + "," + entry("b", 9, 17) + "}", 17},
      {"tensor 'b': its data begins at 7, expected 8: an overlap",
       "{" + entry("b", 7, 15) + "," + entry("a", 0, 8) + "}", 15},
      {"tensor 'a': its data begins at 8, expected 0: a hole",
       "{" + entry("a", 0, 8) + "," + entry("a", 8, 16) + "}", 16},
      {"tensor 'a': its data begins at 8, expected 0: a hole",
       "{" + entry("a", 0, 8) + "," + entry("\\u0061", 8, 16) + "}", 16},
      {"'__metadata__' is given twice", R"({"__metadata__":{},"__metadata__":{}})", 0},
      {"found the number 1, expected an object of texts", R"({"__metadata__":{"k":1}})", 0},
      {"found an object, expected an object of texts", R"({"__metadata__":{"k":{}}})", 0},
      {"found a list, expected an object of texts", R"({"__metadata__":[]})", 0},
  };
  for (const auto& [fragment, header, data] : cases) {
    SCOPED_TRACE(header);
    expect_refused(fragment, safetensors_bytes(header, std::string(data, '\0')));
  }
}

// Each of these was read by the reference crate 0.8.0 (Python's safetensors), with these tensors.
TEST(SafetensorsRead, AcceptsWhatTheReferenceAccepts) {
  const std::string fields = R"("dtype":"F32","shape":[4],"data_offsets":[0,16])";
  const std::string entry = "{" + fields + "}", f = "\"F32\"";
  const auto with = [&](const std::string& more) { return "{\"a\":{" + fields + "," + more + "}}"; };
  const std::vector<std::string> headers = {
      " \t\r\n{\"a\":" + entry + "} \t\r\n",
      with(R"("strides":[1])"),
      with(R"("x":{"dtype":1,"dtype":[{}]},"y":-0,"z":1e-400,"x":null)"),
      with("\"x\":" + std::string(125, '[') + std::string(125, ']')),
      "{\"a\":[" + f + ",[4],[0,16]]}",
      one("{\"F32\":null}", "[4]", "[0,16]"),
      "{\"a\":" + entry + ",\"a\":" + entry + "}",
      "{\"a\":{\"dtype\":\"I8\",\"shape\":[99],\"data_offsets\":[7,3]},\"\\u0061\":" + entry + "}",
      R"({"a":)" + entry + R"(,"__metadata__":{"k":"1","k":"2"}})",
  };
  for (const std::string& header : headers) {
    SCOPED_TRACE(header);
    const std::string bytes = safetensors_bytes(header, std::string(16, '\0'));
    const TensorFile file(bytes_of(bytes), "w");
    ASSERT_EQ(file.tensors().size(), 1u);
    EXPECT_EQ(file.tensors()[0].name, "a");
    EXPECT_EQ(file.tensors()[0].describe(), "F32 [4]");
    EXPECT_TRUE(file.metadata().empty() || file.metadata().at("k") == "2");
  }
}

TEST(SafetensorsRead, BoundsTheNumberOfTensorsAndExtents) {
  std::string header = "{";
  for (std::size_t i = 0; i <= kMaxStoredTensors; ++i) {
    header += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  expect_refused("more than 100000 tensors", safetensors_bytes(header + "}", ""));
  const std::size_t last = header.rfind(",\"100000\"");
  const std::string most = safetensors_bytes(header.substr(0, last) + "}", "");
  EXPECT_EQ(TensorFile(bytes_of(most), "w").tensors().size(), kMaxStoredTensors);
  std::string ones = "1";
  for (int i = 1; i < 33; ++i) ones += ",1";
  expect_refused("more than 32 extents", safetensors_bytes(one("\"U8\"", "[" + ones + "]", "[0,1]"), "x"));
}

TEST(SafetensorsRead, HostileNamesCannotBreakTheMessage) {
  const std::string header = "{\"\\u001b]0;x\\n" + std::string(100000, 'n') + "\":{}}";
  expect_refused("tensor '\\x1b]0;x\\x0annn", safetensors_bytes(header, ""));
}

TEST(SafetensorsRead, BrokenFilesGiveErrors) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(DARKROOM_SOURCE_DIR "/fuzz/broken/safetensors")) {
    ++files;
    SCOPED_TRACE(entry.path().filename().string());
    expect_error(ErrorCode::kModel, entry.path().string(), [&] { TensorFile file(entry.path()); });
  }
  EXPECT_GE(files, 40);
}

TEST(SafetensorsRead, MisalignedTensorsAreReadRightByAnyNumberOfThreads) {
  // 55 bytes of header: the data begins at an odd address.
  const std::vector<float> values = {1.5f, -2.25f, 3.0f, 4.0f};
  const std::string bytes = safetensors_bytes(one("\"F32\"", "[4]", "[0,16]"), raw(values));
  const TempFolder folder;
  const std::filesystem::path path = folder.write("a.safetensors", bytes);
  EXPECT_EQ(misaligned_bytes(path), 16u);
  const TensorFile file(path), in_memory(bytes_of(bytes), "w");
  for (const TensorFile* opened : {&file, &in_memory}) {
    std::array<OwnedTensor, 4> loaded;
    std::vector<std::thread> threads;
    for (OwnedTensor& out : loaded) {
      threads.emplace_back([&out, opened] { out = opened->load(opened->tensors()[0]); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const OwnedTensor& owned : loaded) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(owned.tensor.data) % kBufferAlignment, 0u);
      EXPECT_TRUE(std::equal(values.begin(), values.end(), owned.tensor.row<float>(0)));
    }
  }
}

TEST(SafetensorsRead, AnyPartOfATensorCanBeRead) {
  const std::string values = raw<float>({1.5f, -2.25f, 3.0f});
  const std::string bytes = safetensors_bytes(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
      values);
  const TempFolder folder;
  const TensorFile file(folder.write("a.safetensors", bytes)), in_memory(bytes_of(bytes), "w");
  for (const TensorFile* opened : {&file, &in_memory}) {
    const StoredTensor& a = *opened->find("a");
    const auto read = [&](std::size_t offset, std::size_t count) {
      std::string out(count, '\0');
      opened->read(a, offset, std::as_writable_bytes(std::span(out)));
      return out;
    };
    EXPECT_EQ(read(0, 8), values.substr(0, 8));
    EXPECT_EQ(read(3, 5), values.substr(3, 5));
    EXPECT_EQ(read(8, 0), "");
    const std::pair<std::size_t, std::size_t> beyond[] = {{0, 9}, {8, 1}, {9, 0}, {SIZE_MAX, 2}};
    for (const auto& [offset, count] : beyond) {
      expect_error(ErrorCode::kFailure, opened->where() + ": tensor 'a' has 8 bytes",
                   [&, o = offset, c = count] { read(o, c); });
    }
  }
}

TEST(SafetensorsRead, LoadedTensorsAndFilesSurviveMoves) {
  const TempFolder folder;
  const std::string bytes = scalars_file({"a", "b"});
  TensorFile file(folder.write("a.safetensors", bytes)), in_memory(bytes_of(bytes), "w");
  for (TensorFile* opened : {&file, &in_memory}) {
    const OwnedTensor before = opened->load(*opened->find("b"));
    const TensorFile moved = std::move(*opened);
    EXPECT_EQ(before.tensor.row<float>(0)[0], 2.0f);
    EXPECT_EQ(moved.load(*moved.find("b")).tensor.row<float>(0)[0], 2.0f);
  }
}

// --- Writing ---

TEST(SafetensorsWrite, RoundTripsEveryType) {
  const TempFolder folder;
  std::vector<std::byte> data(8 * 12);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7);
  std::vector<NamedTensor> tensors;
  for (const DType dtype : {DType::kU8, DType::kF8E5M2, DType::kF8E4M3, DType::kBF16, DType::kF16,
                            DType::kI32, DType::kF32, DType::kI64}) {
    tensors.push_back({std::string(dtype_name(dtype)), Tensor(data.data(), dtype, {3, 4})});
  }
  tensors.push_back({"odd", Tensor(data.data(), DType::kU8, {3})});
  tensors.push_back({"rank4", Tensor(data.data(), DType::kF32, {1, 2, 3, 2})});
  tensors.push_back({"none", Tensor(nullptr, DType::kF32, {0, 2})});
  write_safetensors(folder / "a.safetensors", tensors, {.metadata = {{"k", "\"quoted\"\n"}, {"é", ""}}});
  const TensorFile file(folder / "a.safetensors");
  EXPECT_EQ(file.metadata().at("k"), "\"quoted\"\n");
  EXPECT_EQ(file.metadata().size(), 2u);
  EXPECT_EQ(file.tensors().size(), tensors.size());
  EXPECT_EQ(misaligned_bytes(folder / "a.safetensors"), 0u);
  for (const NamedTensor& named : tensors) {
    const StoredTensor* stored = file.find(named.name);
    ASSERT_NE(stored, nullptr) << named.name;
    const OwnedTensor loaded = file.load(*stored);
    EXPECT_EQ(loaded.tensor.dtype, named.tensor.dtype);
    EXPECT_EQ(loaded.tensor.shape, named.tensor.shape);
    EXPECT_TRUE(std::equal(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(loaded.tensor.bytes()),
                           static_cast<const std::byte*>(loaded.tensor.data)));
  }
}

// The layout is the reference crate's: this is what its serialize() gives for the same
// tensors, byte for byte.
TEST(SafetensorsWrite, LaysOutAsTheReferenceDoes) {
  const TempFolder folder;
  std::vector<float> f = {1, 2};
  std::vector<uint16_t> h = {0x3F80, 0x4000, 0x4040};
  write_safetensors(folder / "a.safetensors",
                    std::vector<NamedTensor>{{"z.half", Tensor(h.data(), DType::kBF16, {3})},
                                             {"b", Tensor(f.data(), DType::kF32, {2, 1})},
                                             {"a", Tensor(f.data(), DType::kF32, {1})}});
  std::string header =
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[4,12]},)"
      R"("z.half":{"dtype":"BF16","shape":[3],"data_offsets":[12,18]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(read_text_file(folder / "a.safetensors", 4096),
            safetensors_bytes(header, raw(std::vector<float>{1, 1, 2}) + raw(h)));
}

TEST(SafetensorsWrite, JoinsStridedRows) {
  const TempFolder folder;
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 0.0f);
  const Tensor whole(values.data(), DType::kF32, {3, 4});
  write_safetensors(folder / "a.safetensors", std::vector<NamedTensor>{{"s", whole.slice_cols(1, 2)}});
  const TensorFile file(folder / "a.safetensors");
  const OwnedTensor loaded = file.load(file.tensors()[0]);
  const std::vector<float> expected = {1, 2, 5, 6, 9, 10};
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), loaded.tensor.row<float>(0)));
}

TEST(SafetensorsWrite, RefusesWhatCannotBeRead) {
  const TempFolder folder;
  std::vector<float> f = {1};
  const Tensor t(f.data(), DType::kF32, {1});
  const auto write = [&](std::vector<NamedTensor> tensors, WriteOptions options = {}) {
    return [&folder, tensors, options] { write_safetensors(folder / "a.safetensors", tensors, options); };
  };
  expect_error(ErrorCode::kUsage, "two tensors named 'x'", write({{"x", t}, {"y", t}, {"x", t}}));
  expect_error(ErrorCode::kUsage, "__metadata__", write({{"__metadata__", t}}));
  expect_error(ErrorCode::kUsage, "'\\xff' is not UTF-8", write({{"\xFF", t}}));
  expect_error(ErrorCode::kUsage, "is not UTF-8", write({}, {.metadata = {{"k", "\xFF"}}}));
  expect_error(ErrorCode::kFailure, "tensor 'x' has no data",
               write({{"x", Tensor(nullptr, DType::kF32, {1}, Device::kNone)}}));
  expect_error(ErrorCode::kFailure, "tensor 'x' has no data", write({{"x", Tensor()}}));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.safetensors"));
  write({{"x", t}})();
  expect_error(ErrorCode::kOutput, "File exists", write({{"y", t}}));
  write({{"y", t}}, {.overwrite = true})();
  EXPECT_NE(TensorFile(folder / "a.safetensors").find("y"), nullptr);
}

}  // namespace
}  // namespace darkroom
