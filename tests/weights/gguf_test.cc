#include "weights/gguf.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "base/expect_error.h"
#include "base/file_map.h"
#include "base/sha256.h"
#include "base/temp_folder.h"
#include "weights/gguf_head.h"
#include "weights/gguf_types.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

const fs::path kFixtures = DARKROOM_SOURCE_DIR "/tests/fixtures/gguf";
const fs::path kSeeds = DARKROOM_SOURCE_DIR "/fuzz/seeds/gguf";
const std::string kScript = DARKROOM_SOURCE_DIR "/tools/fixtures/make_gguf.py";

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::vector<std::byte> data_of(const TensorFile& file, const StoredTensor& stored) {
  std::vector<std::byte> out(stored.bytes);
  file.read(stored, out);
  return out;
}

// Memory of one tensor of every type that has a dtype, and some of other shapes.
class Samples {
 public:
  Samples() {
    for (const GgufType& type : kGgufTypes) {
      if (type.dtype) add("weight." + std::string(type.name), *type.dtype, {3, 2 * type.block.elements});
    }
    add("one", DType::kF32, {1});
    add("four", DType::kBF16, {2, 3, 1, 5});
  }
  const std::vector<NamedTensor>& tensors() const { return tensors_; }

 private:
  void add(const std::string& name, DType dtype, const Shape& shape) {
    Tensor tensor(nullptr, dtype, shape);
    std::vector<std::byte>& memory = memory_[name];
    memory.resize(tensor.bytes());
    for (std::size_t i = 0; i < memory.size(); ++i) {
      memory[i] = static_cast<std::byte>(i * 41 + tensors_.size() * 7);
    }
    tensor.data = memory.data();
    tensors_.push_back({name, tensor});
  }

  std::map<std::string, std::vector<std::byte>> memory_;
  std::vector<NamedTensor> tensors_;
};

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const auto* data = static_cast<const std::byte*>(tensor.data);
  return {data, data + tensor.bytes()};
}

GgufFields sample_fields() {
  GgufFields fields;
  fields.set("general.architecture", "flux");
  fields.set("text", "caf\xC3\xA9\n");
  fields.set("texts", std::vector<std::string>{"", "a", "\xE2\x96\x81x"});
  fields.set("yes", true);
  fields.set("small", int8_t{-3});
  fields.set("wide", uint64_t{1} << 63);
  fields.set("epsilon", 1e-6f);
  fields.set("double", 0.1);
  fields.set("scores", std::vector<float>{-1.5f, 0, 3e38f});
  fields.set("counts", std::vector<int32_t>{19, -38});
  fields.set("none", std::vector<uint16_t>{});
  return fields;
}

// The list that tools/fixtures/make_gguf.py makes with the gguf package against what we read.
void expect_as_listed(const TensorFile& file, const nlohmann::json& listed) {
  ASSERT_TRUE(file.is_gguf());
  EXPECT_EQ(file.tensors().size(), listed.at("tensors").size());
  for (const auto& [name, tensor] : listed.at("tensors").items()) {
    const StoredTensor* stored = file.find(name);
    ASSERT_NE(stored, nullptr) << name;
    EXPECT_EQ(stored->type, tensor.at(0).get<std::string>());
    EXPECT_EQ(nlohmann::json(stored->extents), tensor.at(1)) << name;
    EXPECT_EQ(hex(sha256(data_of(file, *stored))), tensor.at(2)) << name;
  }
  EXPECT_EQ(file.fields()->all().size(), listed.at("fields").size());
  for (const auto& [key, value] : listed.at("fields").items()) {
    SCOPED_TRACE(key);
    ASSERT_TRUE(file.fields()->has(key));
    const GgufField& field = file.fields()->all().at(key);
    if (value.is_string()) {
      EXPECT_EQ(file.fields()->text(key), value);
      EXPECT_EQ(file.metadata().at(key), value);
    } else if (value.is_boolean()) {
      EXPECT_EQ(file.fields()->flag(key), value.get<bool>());
    } else if (value.is_number()) {
      EXPECT_EQ(file.fields()->number(key), value.get<double>());
    } else if (field.kind == GgufKind::kText) {
      EXPECT_EQ(nlohmann::json(file.fields()->texts(key)), value);
    } else if (field.kind == GgufKind::kBool) {
      EXPECT_EQ(field.numbers.size(), value.size());
    } else if (!value.is_null()) {  // the package reads an empty list as null
      EXPECT_EQ(file.fields()->numbers<double>(key), value.get<std::vector<double>>());
    }
  }
}

TEST(Gguf, ReadsWhatItWrote) {
  const TempFolder folder;
  const Samples samples;
  const GgufFields fields = sample_fields();
  write_gguf(folder / "a.gguf", samples.tensors(), fields);
  const TensorFile file(folder / "a.gguf");
  ASSERT_TRUE(file.is_gguf());
  EXPECT_EQ(file.fields()->all(), fields.all());
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"general.architecture", "flux"},
                                                                 {"text", "caf\xC3\xA9\n"}}));
  ASSERT_EQ(file.tensors().size(), samples.tensors().size());
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {  // in the order given
    const StoredTensor& stored = file.tensors()[i];
    const NamedTensor& named = samples.tensors()[i];
    EXPECT_EQ(stored.name, named.name);
    EXPECT_EQ(stored.type, stored_type_name(named.tensor.dtype));
    EXPECT_EQ(stored.begin % kGgufAlignment, 0u);
    const OwnedTensor loaded = file.load(stored);
    EXPECT_EQ(describe(loaded.tensor), describe(named.tensor));
    EXPECT_EQ(bytes_of(loaded.tensor), bytes_of(named.tensor)) << named.name;
  }
}

TEST(Gguf, WritesAlignmentAndStridedRows) {
  const TempFolder folder;
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 0.0f);
  const Tensor whole(values.data(), DType::kF32, {3, 4});
  std::vector<std::byte> blocks(2 * 2 * 144, std::byte{1});
  std::fill_n(blocks.begin() + 144, 144, std::byte{2});
  const Tensor block_rows(blocks.data(), DType::kQ4K, {2, 512});
  GgufFields fields;
  fields.set(std::string(kGgufAlignmentKey), uint32_t{256});
  write_gguf(folder / "a.gguf",
             std::vector<NamedTensor>{{"s", whole.slice_cols(1, 2)}, {"b", block_rows.slice_cols(256, 256)}},
             fields);
  const TensorFile file(folder / "a.gguf");
  EXPECT_EQ(file.tensors()[1].begin, 256u);
  EXPECT_EQ(fs::file_size(folder / "a.gguf") % 256, 0u);
  const OwnedTensor loaded = file.load(*file.find("s"));
  const std::vector<float> expected = {1, 2, 5, 6, 9, 10};
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), loaded.tensor.row<float>(0)));
  const std::vector<std::byte> bytes = data_of(file, *file.find("b"));
  EXPECT_EQ(bytes, (std::vector<std::byte>(blocks.begin() + 144, blocks.begin() + 432)));
}

TEST(Gguf, ReadsTheFixture) {
  const TensorFile file(kFixtures / "all_types.gguf");
  expect_as_listed(file, nlohmann::json::parse(read_text_file(kFixtures / "all_types.json", 1 << 20)));
  const GgufFields& fields = *file.fields();
  EXPECT_EQ(fields.number<uint64_t>("test.uint64"), (uint64_t{1} << 63) + 1);
  EXPECT_EQ(fields.number<int64_t>("test.int64"), -(int64_t{1} << 62) - 1);
  EXPECT_EQ(fields.number<float>("test.float32"), 0.1f);
  for (const GgufType& type : kGgufTypes) {
    const StoredTensor* stored = file.find("blocks." + std::string(type.name) + ".weight");
    ASSERT_NE(stored, nullptr) << type.name;
    EXPECT_EQ(stored->dtype, type.dtype);
    EXPECT_EQ(stored->begin % 64, 0u);
    if (type.dtype) {
      EXPECT_EQ(file.load(*stored).tensor.bytes(), stored->bytes);
      EXPECT_EQ(stored_type_name(*type.dtype), type.name);
    } else {
      expect_error(ErrorCode::kModel, "this type is not supported", [&] { file.load(*stored); });
    }
  }
  EXPECT_TRUE(file.find("scalar")->extents.empty());
  EXPECT_EQ(file.load(*file.find("scalar")).tensor.row<float>(0)[0], 2.0f);
  EXPECT_EQ(file.find("four")->describe(), "F32 [2, 3, 1, 4]");
}

TEST(Gguf, ThePythonPackageReadsWhatWeWrote) {
  const char* const named = std::getenv("DARKROOM_PYTHON");
  const std::string python = named ? named : "python3";
  const TempFolder folder;
  const std::string quiet = " 2>" + (folder / "error").string();
  if (std::system((python + " -c 'import gguf'" + quiet).c_str()) != 0) {
    GTEST_SKIP() << "no Python with the gguf package; DARKROOM_PYTHON names one";
  }
  const Samples samples;
  const std::string path = (folder / "a.gguf").string();
  write_gguf(path, samples.tensors(), sample_fields());
  const fs::path list = folder / "list.json";
  ASSERT_EQ(std::system((python + " " + kScript + " --list " + path + " >" + list.string() + quiet).c_str()),
            0)
      << read_text_file(folder / "error", 1 << 20);
  expect_as_listed(TensorFile(path), nlohmann::json::parse(read_text_file(list, 1 << 20)));
}

TEST(Gguf, LaxerThanGgml) {
  EXPECT_TRUE(TensorFile(kSeeds / "no_tensors.gguf").tensors().empty());
  EXPECT_EQ(TensorFile(kSeeds / "version_2.gguf").tensors().size(), 1u);
  const TensorFile file(kSeeds / "scalar_hole_any_order.gguf");
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "c");
  EXPECT_EQ(file.tensors()[2].describe(), "F32 [3, 2]");
  EXPECT_EQ(file.tensors()[2].begin, 96u);
}

TEST(Gguf, FieldsAreChecked) {
  const TensorFile file(kSeeds / "fields.gguf");
  const GgufFields& fields = *file.fields();
  EXPECT_EQ(fields.number<int32_t>("i8"), -1);
  EXPECT_EQ(fields.number<int32_t>("u16"), 65535);
  EXPECT_EQ(fields.number<uint64_t>("u64"), ~uint64_t{0});
  EXPECT_EQ(fields.number("f64"), -1.5);
  EXPECT_EQ(fields.text("t"), std::string("\xC3\xA9\0x", 4));
  EXPECT_EQ(fields.texts("tokens"), (std::vector<std::string>{"a", "", "\xFF"}));
  EXPECT_EQ(fields.numbers<float>("scores"), (std::vector<float>{1, -2}));
  EXPECT_EQ(fields.numbers<int32_t>("scores"), (std::vector<int32_t>{1, -2}));
  EXPECT_TRUE(fields.numbers<int64_t>("none").empty());
  EXPECT_TRUE(fields.flag("yes"));
  EXPECT_FALSE(fields.has("nested"));
  const auto refused = [&](const std::string& fragment, const auto& access) {
    expect_error(ErrorCode::kModel, "fields.gguf: the field " + fragment, access);
  };
  refused("'x\\x0a' is missing", [&] { fields.text("x\n"); });
  refused("'u8' is a number, expected a text", [&] { fields.text("u8"); });
  refused("'t' is a text, expected a list of texts", [&] { fields.texts("t"); });
  refused("'scores' is a list of numbers, expected a number", [&] { fields.number("scores"); });
  refused("'bools' is a list of true and false, expected a list of numbers",
          [&] { fields.numbers<int32_t>("bools"); });
  refused("'yes' is true or false, expected a number", [&] { fields.number("yes"); });
  refused("'u8' is a number, expected true or false", [&] { fields.flag("u8"); });
  refused("'u64' has the number 18446744073709551615, expected a whole number of 64 bits",
          [&] { fields.number<int64_t>("u64"); });
  refused("'i32' has the number -1, expected a whole number that is not negative of 32 bits",
          [&] { fields.number<uint32_t>("i32"); });
  refused("'f32' has the number 0.5", [&] { fields.number<int64_t>("f32"); });
}

TEST(Gguf, OpensByContent) {
  const auto refused = [](const std::string& fragment, const std::string& content) {
    expect_error(ErrorCode::kModel, "x: " + fragment, [&] { TensorFile(bytes_of(content), "x"); });
  };
  refused("neither safetensors nor GGUF: 3 bytes are too few", "abc");
  refused("neither safetensors nor GGUF: its first 8 bytes", "something else altogether");
  refused("neither safetensors nor GGUF: the header does not begin", std::string(32, '\0'));
  refused("not a safetensors file but a web page", "<!DOCTYPE html><html></html>");
  refused("not a safetensors file but a git-lfs pointer", "version https://git-lfs.github.com/spec/v1\noid");
  refused("not a safetensors file but a PyTorch pickle", std::string("PK\x03\x04") + std::string(30, 'x'));
  refused("cut short", "GGUF");
  const std::string safetensors = std::string("\x02\0\0\0\0\0\0\0{}", 10);
  const TensorFile file(bytes_of(safetensors), "x");
  EXPECT_FALSE(file.is_gguf());
  EXPECT_EQ(file.fields(), nullptr);
}

TEST(Gguf, RefusesToWriteWhatCannotBeRead) {
  const TempFolder folder;
  std::vector<float> f(64);
  const Tensor t(f.data(), DType::kF32, {1});
  const auto write = [&](std::vector<NamedTensor> tensors, GgufFields fields = GgufFields()) {
    return [&folder, tensors, fields] { write_gguf(folder / "a.gguf", tensors, fields); };
  };
  const auto with = [](const std::string& key, auto value) {
    GgufFields fields;
    fields.set(key, value);
    return fields;
  };
  expect_error(ErrorCode::kUsage, "two tensors named 'x'", write({{"x", t}, {"y", t}, {"x", t}}));
  expect_error(ErrorCode::kUsage, "'' cannot be a name", write({{"", t}}));
  expect_error(ErrorCode::kUsage, "'\\xff' cannot be a name", write({{"\xFF", t}}));
  expect_error(ErrorCode::kUsage, "1 to 512 bytes", write({{std::string(513, 'n'), t}}));
  expect_error(ErrorCode::kUsage, "'x' is F8_E4M3 [4], which a GGUF file cannot hold",
               write({{"x", Tensor(f.data(), DType::kF8E4M3, {4})}}));
  expect_error(ErrorCode::kUsage, "'x' is NF4 [64], which",
               write({{"x", Tensor(f.data(), DType::kNF4, {64})}}));
  expect_error(ErrorCode::kUsage, "'x' is F32 [0, 4], which",
               write({{"x", Tensor(f.data(), DType::kF32, {0, 4})}}));
  expect_error(ErrorCode::kUsage, "'x' is Q4_K [2, 128], which",
               write({{"x", Tensor(f.data(), DType::kQ4K, {2, 128})}}));
  expect_error(ErrorCode::kUsage, "the field 'k' is not UTF-8", write({}, with("k", "\xFF")));
  expect_error(ErrorCode::kUsage, "'' cannot be a name", write({}, with("", 1)));
  expect_error(ErrorCode::kModel, "is 33, expected a power of two",
               write({}, with(std::string(kGgufAlignmentKey), 33)));
  expect_error(ErrorCode::kFailure, "tensor 'x' has no data", write({{"x", Tensor()}}));
  EXPECT_FALSE(fs::exists(folder / "a.gguf"));
  write({{"x", t}})();
  expect_error(ErrorCode::kOutput, "File exists", write({{"y", t}}));
  write_gguf(folder / "a.gguf", std::vector<NamedTensor>{{"y", t}}, GgufFields(), true);
  EXPECT_NE(TensorFile(folder / "a.gguf").find("y"), nullptr);
}

// Every file that is cut short says so, wherever the cut is; the padding behind the last tensor may be
// missing.
TEST(Gguf, CutAnywhere) {
  for (const char* const name : {"fields.gguf", "plain.gguf"}) {
    const std::string whole = read_text_file(kSeeds / name, 1 << 20);
    const TensorFileHeader header = read_gguf(bytes_of(whole), "x").file;
    const std::size_t needed = header.data_begin + header.tensors.back().begin + header.tensors.back().bytes;
    ASSERT_LT(needed, whole.size());
    for (std::size_t bytes = kGgufMagic.size(); bytes < needed; ++bytes) {
      const std::string part = whole.substr(0, bytes);
      expect_error(ErrorCode::kModel,
                   "x: cut short: the file has " + std::to_string(bytes) + " bytes, its header needs ",
                   [&] { TensorFile(bytes_of(part), "x"); });
    }
    EXPECT_EQ(TensorFile(bytes_of(whole.substr(0, needed)), "x").tensors().size(), header.tensors.size());
  }
}

// What fuzz/make_broken_gguf.py made, and what is said of each.
const std::map<std::string, std::string> kBroken = {
    {"magic_only", "cut short: the file has 4 bytes, its header needs 8 or more; fetch it again"},
    {"version_cut", "cut short"},
    {"version_0", "GGUF version 0 is not known, 2 and 3 are"},
    {"version_1", "GGUF version 1, of before August 2023, is not supported"},
    {"version_4", "GGUF version 4 is not known"},
    {"big_endian", "a big-endian GGUF, which is not supported"},
    {"counts_cut", "cut short: the file has 20 bytes"},
    {"cut_in_key", "cut short: the file has 40 bytes"},
    {"cut_in_tensor", "cut short: the file has 100 bytes"},
    {"cut_in_padding", "cut short: the file has 63 bytes, its header needs 80; fetch it again"},
    {"cut_in_data", "cut short: the file has 79 bytes, its header needs 80; fetch it again"},
    {"tensor_count_2_to_63", "promises 9223372036854775808 tensors, at most 100000"},
    {"tensor_count_100001", "promises 100001 tensors, at most 100000"},
    {"tensor_count_one_more", "cut short"},
    {"field_count_all_ones", "promises 18446744073709551615 fields, at most 100000"},
    {"field_count_100000", "cut short"},
    {"key_twice", "the field 'k' is given twice"},
    {"key_empty", "the name of a field at byte 24 has 0 bytes, 1 to 65535"},
    {"key_too_long", "the name of a field at byte 24 has 65536 bytes"},
    {"key_length_2_to_63", "the name of a field at byte 24 has 9223372036854775808 bytes"},
    {"key_zero_byte", "'a\\x00b', is not UTF-8 or has a zero byte"},
    {"key_not_utf8", "'\\xff', is not UTF-8 or has a zero byte"},
    {"kind_unknown", "the field 'k' is of an unknown kind, 13"},
    {"kind_all_ones", "the field 'k' is of an unknown kind, 4294967295"},
    {"bool_2", "the field 'k' must be true or false, 1 or 0, and is 2"},
    {"bools_2", "the field 'k' must be true or false, 1 or 0, and is 2"},
    {"text_past_end", "cut short"},
    {"text_length_all_ones", "the field 'k' is too long: 18446744073709551615 times 1 bytes"},
    {"text_length_2_to_63", "the field 'k' is too long: 9223372036854775808 times 1 bytes"},
    {"text_not_utf8", "the field 'k' is not UTF-8: '\\xc0\\xaf'"},
    {"array_kind_unknown", "the field 'k' is of an unknown kind, 99"},
    {"array_2_to_40",
     "the field 'k' is too long: 1099511627776 times 1 bytes, all fields may take 268435456"},
    {"array_2_to_61_of_8_bytes", "the field 'k' is too long: 2305843009213693952 times 8 bytes"},
    {"array_past_end", "cut short"},
    {"array_of_texts_2_to_40", "the field 'k' is too long: 1099511627776 times"},
    {"array_of_texts_past_end", "cut short"},
    {"array_of_texts_one_too_long", "the field 'k' is too long: 4611686018427387904 times 1 bytes"},
    {"array_of_arrays_2_to_40", "the field 'k' is too long: 1099511627776 times 12 bytes"},
    {"array_of_arrays_past_end", "cut short"},
    {"array_of_arrays_inner_2_to_40", "the field 'k' is too long: 1099511627776 times 8 bytes"},
    {"array_of_arrays_text_2_to_62", "the field 'k' is too long: 4611686018427387904 times 1 bytes"},
    {"array_of_arrays_too_deep", "the field 'k': nested more than 16 deep"},
    {"alignment_0", "'general.alignment' is 0, expected a power of two up to 1048576"},
    {"alignment_33", "'general.alignment' is 33, expected a power of two"},
    {"alignment_2_to_31", "'general.alignment' is 2147483648, expected a power of two"},
    {"alignment_2_to_63", "'general.alignment' is 9223372036854775808, expected a power of two"},
    {"alignment_negative", "'general.alignment' has the number -32"},
    {"alignment_half", "'general.alignment' has the number 0.5"},
    {"alignment_nan", "'general.alignment' has the number nan"},
    {"alignment_text", "'general.alignment' is a text, expected a number"},
    {"alignment_list", "'general.alignment' is a list of numbers, expected a number"},
    {"name_twice", "two tensors named 'a'"},
    {"name_empty", "the name of a tensor at byte 24 has 0 bytes, 1 to 512"},
    {"name_513_bytes", "the name of a tensor at byte 24 has 513 bytes"},
    {"name_1_mib_promised", "the name of a tensor at byte 24 has 1048576 bytes"},
    {"name_length_all_ones", "the name of a tensor at byte 24 has 18446744073709551615 bytes"},
    {"name_zero_byte", "'a\\x00', is not UTF-8 or has a zero byte"},
    {"name_not_utf8", "'\\xed\\xa0\\x80', is not UTF-8 or has a zero byte"},
    {"rank_5", "tensor 'a': 5 extents, at most 4 are allowed"},
    {"rank_all_ones", "tensor 'a': 4294967295 extents, at most 4 are allowed"},
    {"extent_0", "tensor 'a': the extent 0 is not allowed"},
    {"extent_2_to_63", "tensor 'a': the extent 9223372036854775808 is not allowed"},
    {"extents_wrap_to_0", "tensor 'a': the size of F32 [4294967296, 4294967296] overflows"},
    {"extents_wrap_to_4", "tensor 'a': the size of F32 [4611686018427387905, 4] overflows"},
    {"bytes_wrap", "tensor 'a': the size of F32 [4611686018427387904] overflows"},
    {"bytes_past_end", "cut short: the file has 96 bytes, its header needs 4398046511168; fetch it again"},
    {"type_unknown", "tensor 'a': its type 42 is not known"},
    {"type_dropped", "tensor 'a': its type 4 is not known"},
    {"type_all_ones", "tensor 'a': its type 4294967295 is not known"},
    {"block_half", "tensor 'a': Q4_K [2, 128]: its rows must be whole blocks of 256"},
    {"block_scalar", "tensor 'a': Q4_K []: its rows must be whole blocks of 256"},
    {"block_one_more_column", "tensor 'a': Q4_K [257]: its rows must be whole blocks of 256"},
    {"block_of_listed_type", "tensor 'a': IQ2_XXS [32]: its rows must be whole blocks of 256"},
    {"begin_misaligned", "begins at 4, which is no multiple of the alignment, 32"},
    {"begin_misaligned_for_field", "begins at 32, which is no multiple of the alignment, 64"},
    {"begin_past_end", "cut short: the file has 96 bytes, its header needs 4176; fetch it again"},
    {"begin_2_to_63", "tensor 'a': F32 [4] at 9223372036854775808 is larger than any file"},
    {"begin_wraps", "tensor 'a': F32 [4] at 18446744073709551584 is larger than any file"},
    {"begin_wraps_with_size", "tensor 'a': F32 [16] at 18446744073709551552 is larger than any file"},
    {"overlap", "tensor 'b': its data begins at 32, before that of another ends at 64"},
    {"overlap_same_place", "tensor 'b': its data begins at 0, before that of another ends at 16"},
    {"overlap_with_first", "tensor 'b': its data begins at 32, before that of another ends at 36"},
};

TEST(Gguf, BrokenFilesGiveErrors) {
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(DARKROOM_SOURCE_DIR "/fuzz/broken/gguf")) {
    ++files;
    const std::string name = entry.path().stem().string();
    SCOPED_TRACE(name);
    ASSERT_TRUE(kBroken.contains(name));
    expect_error(ErrorCode::kModel, kBroken.at(name), [&] { TensorFile file(entry.path()); });
    expect_error(ErrorCode::kModel, entry.path().string() + ": ", [&] { TensorFile file(entry.path()); });
  }
  EXPECT_EQ(files, kBroken.size());
}

}  // namespace
}  // namespace darkroom
