#include "convert/part_source.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/file_map.h"
#include "base/printable.h"
#include "tensor/buffer.h"
#include "weights/catalog.h"
#include "weights/scales.h"
#include "weights/source.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWeight = ".weight";
void check_scale(const SourceTensor& tensor) {
  const StoredTensor& scale = *tensor.scale;
  const bool fits = is_matrix(tensor.stored) && is_scale_shape(scale.extents, tensor.stored.extents[0]);
  if (fits && scale.dtype && is_float(*scale.dtype)) return;
  fail(ErrorCode::kModel,
       "{} is {} and its scale '{}' {}; a scale must be one number or one for each row, in "
       "floating-point; scales of blocks are not supported",
       tensor.place(), tensor.stored.describe(), printable(scale.name), scale.describe());
}

// A file's header, and its bytes as pread() gives them: unlike the catalog's views they cost no memory, and a
// file that is cut short meanwhile is an error.
class PartFile {
 public:
  explicit PartFile(const std::string& path) : map_(path), header_(map_.bytes(), path) {
    const std::vector<StoredTensor>& tensors = header_.tensors();
    const std::size_t data_bytes = tensors.empty() ? 0 : tensors.back().begin + tensors.back().bytes;
    data_begin_ = map_.bytes().size() - data_bytes;
  }
  const StoredTensor& stored(const std::string& name) const {
    const StoredTensor* found = header_.find(name);
    if (!found) fail(ErrorCode::kModel, "{}: replaced while in use; start again", header_.where());
    return *found;
  }
  void read(const StoredTensor& tensor, std::size_t offset, std::span<std::byte> out) const {
    map_.read(data_begin_ + tensor.begin + offset, out);
  }

 private:
  FileMap map_;
  SafetensorsFile header_;
  std::size_t data_begin_ = 0;
};

std::vector<SourceTensor> list_files(const Model& model, const fs::path& folder, Part part) {
  const CatalogSource source{Catalog(folder)};
  model.visit(part,
              [&](const std::string& name, Tensor&, const Shape& shape) { source.locate(name, shape); });
  const Catalog& catalog = source.catalog();
  std::map<std::string, std::shared_ptr<const PartFile>> files;
  for (const SafetensorsFile& file : catalog.files()) {
    files[file.where()] = std::make_shared<const PartFile>(file.where());
  }
  const auto reader = [&](const std::string& name) -> ReadFn {
    const std::shared_ptr<const PartFile> file = files.at(catalog.where(name));
    const StoredTensor* stored = &file->stored(name);
    return [file, stored](std::size_t offset, std::span<std::byte> out) { file->read(*stored, offset, out); };
  };
  std::vector<SourceTensor> tensors;
  for (const std::string_view view : catalog.names()) {
    const std::string name(view), where = catalog.where(name);
    if (is_matrix_scale_name(name) && !scaled_weight(catalog, name)) {
      fail(ErrorCode::kModel, "{}: tensor '{}' is a scale, but the matrix that it belongs to is not there",
           where, printable(name));
    }
    if (is_scale_name(name)) continue;
    SourceTensor tensor{where, files.at(where)->stored(name), reader(name)};
    if (const auto scale = scale_name(catalog, name)) {
      tensor.scale = files.at(catalog.where(*scale))->stored(*scale);
      tensor.read_scale = reader(*scale);
      check_scale(tensor);
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

// The tensor of a dummy that is in work.
struct MadeTensor {
  explicit MadeTensor(DType dtype) : source(dtype) {}
  DummySource source;
  std::string name;
  Buffer bytes;
};

std::vector<SourceTensor> list_dummy(const Model& model, Part part) {
  const DType dtype = model.part_dtype(part);
  const auto made = std::make_shared<MadeTensor>(dtype);
  std::vector<SourceTensor> tensors;
  const VisitFn add = [&](const std::string& name, Tensor&, const Shape& shape) {
    StoredTensor stored;
    stored.name = name;
    stored.type = stored_type_name(dtype);
    stored.dtype = dtype;
    for (int i = 0; i < shape.rank(); ++i) stored.extents.push_back(shape[i]);
    stored.elements = shape.numel();
    stored.bytes = static_cast<std::size_t>(shape.numel()) * dtype_bytes(dtype);
    const auto read = [made, name, shape, bytes = stored.bytes](std::size_t offset,
                                                                std::span<std::byte> out) {
      if (made->name != name) {
        made->bytes = Buffer();  // before the next one is there
        made->bytes = Buffer(bytes);
        made->source.read(name, shape, {made->bytes.data(), bytes});
        made->name = name;
      }
      std::memcpy(out.data(), made->bytes.data() + offset, out.size());
    };
    tensors.push_back({model.name(), std::move(stored), read});
  };
  model.visit(part, add);
  if (part == Part::kVae) model.visit_encoder(add);
  return tensors;
}

}  // namespace

std::string SourceTensor::place() const { return where + ": tensor '" + printable(stored.name) + "'"; }

bool is_matrix(const StoredTensor& tensor) {
  static constexpr std::array<std::string_view, 4> kEmbeddings = {
      "embed_tokens.weight", "shared.weight", "embedding.weight", "relative_attention_bias.weight"};
  return tensor.extents.size() == 2 && tensor.name.ends_with(kWeight) &&
         std::ranges::none_of(kEmbeddings,
                              [&](std::string_view ending) { return tensor.name.ends_with(ending); });
}

std::vector<SourceTensor> list_tensors(const Model& model, const fs::path& folder, Part part) {
  std::vector<SourceTensor> tensors;
  if (folder.empty()) {
    tensors = list_dummy(model, part);
  } else {
    tensors = list_files(model, folder / part_folder(part), part);
  }
  std::ranges::sort(tensors, {},
                    [](const SourceTensor& tensor) -> std::string_view { return tensor.stored.name; });
  return tensors;
}

}  // namespace darkroom
