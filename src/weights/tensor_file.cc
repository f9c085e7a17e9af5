#include "weights/tensor_file.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "weights/gguf.h"
#include "weights/safetensors.h"

namespace darkroom {

TensorFile::TensorFile(const std::filesystem::path& path)
    : where_(path.string()), file_(path), bytes_(file_->bytes()) {
  read_header();
}

TensorFile::TensorFile(std::span<const std::byte> bytes, std::string where)
    : where_(std::move(where)), bytes_(bytes) {
  read_header();
}

void TensorFile::read_header() {
  const std::string_view begin(reinterpret_cast<const char*>(bytes_.data()),
                               std::min(bytes_.size(), kGgufMagic.size()));
  if (begin == kGgufMagic) {
    GgufHeader header = read_gguf(bytes_, where_);
    header_ = std::move(header.file);
    fields_ = std::move(header.fields);
  } else {
    header_ = read_safetensors(bytes_, where_);
  }
  by_name_.resize(header_.tensors.size());
  std::iota(by_name_.begin(), by_name_.end(), std::size_t{0});
  std::ranges::sort(by_name_, {}, [&](std::size_t i) -> std::string_view { return header_.tensors[i].name; });
}

const StoredTensor* TensorFile::find(std::string_view name) const {
  const auto name_of = [&](std::size_t i) -> std::string_view { return header_.tensors[i].name; };
  const auto it = std::ranges::lower_bound(by_name_, name, {}, name_of);
  return it != by_name_.end() && name_of(*it) == name ? &header_.tensors[*it] : nullptr;
}

void TensorFile::read(const StoredTensor& stored, std::size_t offset, std::span<std::byte> out) const {
  require(offset <= stored.bytes && out.size() <= stored.bytes - offset, ErrorCode::kFailure,
          "{}: tensor '{}' has {} bytes, {} from {} were asked for", where_, printable(stored.name),
          stored.bytes, out.size(), offset);
  const std::size_t begin = header_.data_begin + stored.begin + offset;
  if (file_) {
    file_->read(begin, out);
  } else if (!out.empty()) {
    std::memcpy(out.data(), bytes_.data() + begin, out.size());
  }
}

OwnedTensor TensorFile::load(const StoredTensor& stored) const {
  if (!stored.dtype || stored.extents.size() > Shape::kMaxRank) {
    fail(ErrorCode::kModel, "{}: tensor '{}' is {}: {} not supported", where_, printable(stored.name),
         stored.describe(), stored.dtype ? "more than four extents are" : "this type is");
  }
  const std::vector<int64_t> scalar = {1};
  const Shape shape(stored.extents.empty() ? std::span(scalar) : std::span(stored.extents));
  OwnedTensor out{Buffer(stored.bytes), {}};
  read(stored, {out.memory.data(), stored.bytes});
  out.tensor = Tensor(out.memory.data(), *stored.dtype, shape);
  return out;
}

}  // namespace darkroom
