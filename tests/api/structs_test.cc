// Structs of older and newer callers: what is written into them, and what is read.
#include "api/structs.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "darkroom/darkroom.h"
#include "layout.h"

namespace {

using Bytes = std::vector<unsigned char>;
constexpr unsigned char kMark = 0xA5;

template <typename T>
T* as(Bytes& bytes) {
  return reinterpret_cast<T*>(bytes.data());
}

// A struct of `size` bytes on the heap, so that AddressSanitizer sees every byte after it.
template <typename T>
Bytes filled(std::size_t size, void (*init_sized)(T*, std::size_t)) {
  Bytes bytes(size + 64, kMark);
  init_sized(as<T>(bytes), size);
  for (std::size_t i = size; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], kMark) << size << ", byte " << i;
  bytes.resize(size);
  bytes.shrink_to_fit();
  return bytes;
}

template <typename T>
void expect_every_size_is_filled(void (*init_sized)(T*, std::size_t)) {
  const Bytes today = filled(sizeof(T), init_sized);
  for (std::size_t size = 0; size < sizeof(std::size_t); ++size) {
    EXPECT_EQ(filled(size, init_sized), Bytes(size, kMark)) << "has no room for its size";
  }
  for (std::size_t size = sizeof(std::size_t); size <= sizeof(T) + 64; ++size) {
    Bytes expected = today;
    expected.resize(size);  // zeros where this library knows no fields
    std::memcpy(expected.data(), &size, sizeof(size));
    EXPECT_EQ(filled(size, init_sized), expected) << size;
  }
  init_sized(nullptr, sizeof(T));
}

TEST(Structs, InitFillsTheCallersSizeAndNotOneByteMore) {
  expect_every_size_is_filled(darkroom_options_init_sized);
  expect_every_size_is_filled(darkroom_request_init_sized);
  expect_every_size_is_filled(darkroom_conversion_init_sized);
  expect_every_size_is_filled(darkroom_calibration_init_sized);
  expect_every_size_is_filled(darkroom_bench_options_init_sized);
  expect_every_size_is_filled(darkroom_self_test_options_init_sized);
}

TEST(Structs, TheInlineFunctionsPassTheCallersSize) {
  darkroom_request request;
  darkroom_request_init(&request);
  EXPECT_EQ(request.struct_size, sizeof(request));
  EXPECT_EQ(request.count, 1);
  EXPECT_EQ(request.guidance, -1);
  EXPECT_EQ(request.strength, -1);
  EXPECT_EQ(request.on_preview, nullptr);
  darkroom_options options;
  darkroom_options_init(&options);
  EXPECT_EQ(options.struct_size, sizeof(options));
  darkroom_conversion conversion;
  darkroom_conversion_init(&conversion);
  EXPECT_EQ(conversion.struct_size, sizeof(conversion));
  darkroom_calibration calibration;
  darkroom_calibration_init(&calibration);
  EXPECT_EQ(calibration.struct_size, sizeof(calibration));
  darkroom_bench_options bench;
  darkroom_bench_options_init(&bench);
  EXPECT_EQ(bench.struct_size, sizeof(bench));
  darkroom_self_test_options self_test;
  darkroom_self_test_options_init(&self_test);
  EXPECT_EQ(self_test.struct_size, sizeof(self_test));
}

class Planned : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(darkroom_create(nullptr, &engine_), DARKROOM_OK);
    ASSERT_EQ(darkroom_open_dummy(engine_, "tiny", &model_), DARKROOM_OK);
  }
  void TearDown() override {
    darkroom_close(model_);
    darkroom_destroy(engine_);
  }
  darkroom_status plan(const void* request) {
    char* text = nullptr;
    const darkroom_status status =
        darkroom_plan(engine_, model_, static_cast<const darkroom_request*>(request), &text);
    darkroom_free(text);
    return status;
  }
  // A request of `size` bytes; the caller knows every field that lies within.
  static Bytes request_of(std::size_t size) {
    Bytes bytes = filled(size, darkroom_request_init_sized);
    darkroom_request* r = as<darkroom_request>(bytes);
    if (size >= offsetof(darkroom_request, negative)) r->prompt = "x";
    if (size >= offsetof(darkroom_request, steps)) r->width = r->height = 32;
    return bytes;
  }
  std::string error() const { return darkroom_last_error(engine_); }

  darkroom_engine* engine_ = nullptr;
  darkroom_model* model_ = nullptr;
};

TEST_F(Planned, AnOlderCallersShorterStructIsEnough) {
  for (std::size_t size = sizeof(size_t); size <= sizeof(darkroom_request);
       size += alignof(darkroom_request)) {
    const Bytes bytes = request_of(size);
    const bool has_prompt = size >= offsetof(darkroom_request, negative);
    EXPECT_EQ(plan(bytes.data()), has_prompt ? DARKROOM_OK : DARKROOM_USAGE) << size << ": " << error();
    EXPECT_TRUE(has_prompt || error().find("prompt") != std::string::npos) << error();
  }
}

// What lies after an older caller's struct is not read.
TEST_F(Planned, FieldsAfterAnOlderCallersStructHaveTheirDefaults) {
  darkroom_request request;
  darkroom_request_init(&request);
  request.prompt = "x";
  request.width = request.height = 32;
  request.weights = "no such kind";
  EXPECT_EQ(plan(&request), DARKROOM_USAGE);
  request.struct_size = offsetof(darkroom_request, weights);
  EXPECT_EQ(plan(&request), DARKROOM_OK) << error();
}

TEST_F(Planned, ANewerCallersLongerStructIsReadWhereNothingUnknownIsSet) {
  for (const std::size_t more : {std::size_t{8}, std::size_t{64}, std::size_t{2048}}) {
    const std::size_t size = sizeof(darkroom_request) + more;
    Bytes bytes = request_of(size);
    EXPECT_EQ(plan(bytes.data()), DARKROOM_OK) << error();
    for (const std::size_t at : {sizeof(darkroom_request), size - 1}) {
      bytes[at] = 1;
      EXPECT_EQ(plan(bytes.data()), DARKROOM_USAGE) << "it asks for what this library cannot do";
      EXPECT_NE(error().find(std::to_string(size)), std::string::npos) << error();
      bytes[at] = 0;
    }
  }
}

TEST_F(Planned, SizesThatNoStructHasAreRefused) {
  Bytes bytes = request_of(sizeof(darkroom_request));
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{12}, sizeof(darkroom_request) - 1, std::size_t{1} << 20,
        ~std::size_t{0}, ~std::size_t{7}}) {
    as<darkroom_request>(bytes)->struct_size = size;
    EXPECT_EQ(plan(bytes.data()), DARKROOM_USAGE) << size;
    EXPECT_NE(error().find("_init"), std::string::npos) << error();
  }
  EXPECT_EQ(plan(nullptr), DARKROOM_USAGE);
}

TEST_F(Planned, EveryStructOfACallerIsHeldToItsSize) {
  darkroom_options options;
  darkroom_options_init(&options);
  options.struct_size = 4;
  darkroom_engine* engine = nullptr;
  EXPECT_EQ(darkroom_create(&options, &engine), DARKROOM_USAGE);
  darkroom_destroy(engine);
  options.isa = "no such set";
  options.struct_size = offsetof(darkroom_options, isa);
  EXPECT_EQ(darkroom_create(&options, &engine), DARKROOM_OK) << "isa is not read";
  darkroom_destroy(engine);
  darkroom_conversion conversion;
  darkroom_conversion_init(&conversion);
  conversion.out = "/nonexistent/folder";
  conversion.weights = "bf16";
  conversion.struct_size = offsetof(darkroom_conversion, weights);
  EXPECT_EQ(darkroom_convert(engine_, model_, &conversion), DARKROOM_USAGE) << "weights is not read";
  darkroom_bench_options bench;
  darkroom_bench_options_init(&bench);
  bench.struct_size = 0;
  char* text = nullptr;
  EXPECT_EQ(darkroom_bench(engine_, &bench, &text), DARKROOM_USAGE);
}

// ---- old headers ----

struct Place {
  std::size_t at, bytes;
};

std::map<std::string, Place> places(const layout_field* fields) {
  std::map<std::string, Place> out;
  for (; fields->name; ++fields) out[fields->name] = {fields->at, fields->bytes};
  return out;
}

TEST(Layout, TodaysStructsBeginWithThoseOfEachOldHeader) {
  const std::map<std::string, Place> today = places(layout_today);
  for (const layout_field* fields : {layout_272, layout_288, layout_296}) {
    for (const auto& [name, place] : places(fields)) {
      ASSERT_TRUE(today.contains(name)) << name << " is gone";
      EXPECT_EQ(today.at(name).at, place.at) << name;
      EXPECT_EQ(today.at(name).bytes, place.bytes) << name;
    }
  }
  EXPECT_EQ(places(layout_288).size(), 113u);
}

}  // namespace
