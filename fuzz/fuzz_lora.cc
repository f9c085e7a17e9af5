// libFuzzer target: a LoRA file of the input's making (modules of the small model, pieces, types, shapes and
// numbers), and any bytes as a header. Errors are fine; crashes, hangs, and a source that gives another amount
// than it describes are not.
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/lora_source.h"
#include "checks.h"

namespace {

using namespace darkroom;

const Checkpoint& model() {
  static const Checkpoint tiny = Checkpoint::dummy("tiny");
  return tiny;
}

// Every name that a module of the model may have.
const std::vector<std::string>& modules() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> out;
    for (const Part part : {Part::kTransformer, Part::kClip, Part::kT5}) {
      model().visit(part, [&](const Param& param, Tensor&) {
        for (const StoredPlace& place : lora_places(part, param, model().spelling_sizes()))
          out.push_back(place.name);
      });
    }
    return out;
  }();
  return all;
}

// The parameters of a part, with fields that stay.
struct ParamField {
  Param param;
  Tensor* field;
};
const std::vector<ParamField>& params(Part part) {
  static const std::array<std::vector<ParamField>, 3> all = [] {
    static Linear fields;
    std::array<std::vector<ParamField>, 3> out;
    for (const Part each : {Part::kClip, Part::kT5, Part::kTransformer}) {
      model().visit(each, [&](const Param& given, Tensor&) {
        Param param = given;
        if (param.lora_down) {
          param.lora_down = &fields.lora_down;
          param.lora_up = &fields.lora_up;
        }
        out[static_cast<std::size_t>(each)].push_back({param, &fields.weight});
      });
    }
    return out;
  }();
  return all[static_cast<std::size_t>(part)];
}

const LoraNames& names() {
  static const LoraNames all(model());
  return all;
}

constexpr std::string_view kEndings[] = {
    ".lora_down.weight", ".lora_up.weight", ".alpha",     ".lora_A.weight",
    ".lora_B.weight",    ".lora_B.bias",    ".diff",      ".diff_b",
    ".set_weight",       ".w_norm",         ".b_norm",    ".lokr_w1",
    ".lokr_w1_a",        ".lokr_w1_b",      ".lokr_w2",   ".lokr_w2_a",
    ".lokr_w2_b",        ".hada_w1_a",      ".hada_w1_b", ".hada_w2_a",
    ".hada_w2_b",        ".down.weight",    ".up.weight", ".dora_scale",
    ".lora_mid.weight",  ".reshape_weight", ".weight",    ""};
struct Type {
  std::string_view name;
  std::size_t bytes;
};
constexpr Type kTypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"I64", 8}, {"U8", 1}};
// Extents that fit, and some that do not.
constexpr int64_t kExtents[] = {1,   2,   3,   4,   8,   16,  32, 48, 64, 96,  128,
                                144, 192, 256, 320, 384, 448, 0,  5,  7,  4097};

// A file from choices that the input makes. Numbers are one byte again and again: also NaN and infinity.
std::vector<std::byte> made_file(std::span<const uint8_t> in) {
  std::size_t at = 0;
  const auto next = [&]() -> std::size_t { return at < in.size() ? in[at++] : 0; };
  std::string header = "{";
  std::vector<std::byte> data;
  std::size_t module = 0;
  while (at < in.size() && data.size() < (1u << 18)) {
    const std::size_t step = next();
    if (step >= 128) module = (step % 128 * 256 + next()) % modules().size();  // else the last one again
    const std::string name = modules()[module] + std::string(kEndings[next() % std::size(kEndings)]);
    const Type& type = kTypes[next() % std::size(kTypes)];
    const int64_t rows = kExtents[next() % std::size(kExtents)],
                  cols = kExtents[next() % std::size(kExtents)];
    const std::size_t fill = next(), rank = fill % 4;
    const std::string shape = rank == 0   ? "[]"
                              : rank == 1 ? fmt::format("[{}]", rows)
                              : rank == 2 ? fmt::format("[{},{}]", rows, cols)
                                          : fmt::format("[{},{},1,1]", rows, cols);
    const int64_t elements = rank == 0 ? 1 : rank == 1 ? rows : rows * cols;
    const std::size_t bytes = static_cast<std::size_t>(elements) * type.bytes;
    if (bytes > (1u << 18)) continue;
    header +=
        fmt::format("{}\"{}\":{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                    header.size() > 1 ? "," : "", name, type.name, shape, data.size(), data.size() + bytes);
    data.insert(data.end(), bytes, static_cast<std::byte>(fill < 250 ? fill / 4 : fill));
  }
  header += "}";
  std::vector<std::byte> file(8 + header.size());
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<std::byte>(header.size() >> (8 * i));
  std::memcpy(file.data() + 8, header.data(), header.size());
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

void read_all(WeightSource& source, const Param& given, Tensor& given_field) {
  visit_with_extras(source, given, given_field, [&](const Param& param, Tensor&) {
    const Tensor tensor = source.describe(param);
    check(tensor.shape == param.shape);
    const std::size_t bytes = tensor.bytes_with_scales();
    const auto memory = std::make_unique<std::byte[]>(bytes);  // exact, so that one byte beyond is seen
    source.staging_bytes(param);
    source.read(param, {memory.get(), bytes});
  });
}

void try_file(std::span<const std::byte> bytes) {
  try {
    const auto lora = std::make_shared<const Lora>(TensorFile(bytes, "f"), names());
    for (const std::string& note : lora->notes()) check(note.size() < 2000);
    for (const Part part : {Part::kTransformer, Part::kClip, Part::kT5}) {
      if (!lora->touches(part)) continue;
      LoraSource source(std::make_unique<DummySource>(DType::kBF16), part, {{lora, 0.5}, {lora, -1}});
      for (const auto& [param, field] : params(part)) {
        if (!lora->find(part, param.name)) continue;
        try {
          read_all(source, param, *field);
        } catch (const Error& e) {
          check_message(e);
        }
      }
    }
  } catch (const Error& e) {
    check_message(e);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  try_file(made_file({data, size}));
  if (size % 4 == 0) try_file(as_header(std::as_bytes(std::span(data, size))));
  return 0;
}
