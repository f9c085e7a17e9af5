#include "convert/part_source.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/printable.h"
#include "tensor/buffer.h"
#include "weights/catalog.h"
#include "weights/scales.h"
#include "weights/source.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

// Of a tensor that darkroom does not use; the second name of T5's embedding is no matrix.
bool looks_like_matrix(const StoredTensor& tensor) {
  return tensor.extents.size() == 2 && tensor.name.ends_with(".weight") &&
         !tensor.name.ends_with("embed_tokens.weight") && !tensor.name.ends_with("shared.weight");
}

void check_scale(const SourceTensor& tensor) {
  const StoredTensor& scale = *tensor.scale;
  const bool fits = tensor.matrix && is_scale_shape(scale.extents, tensor.stored.extents[0]);
  if (fits && scale.dtype && is_float(*scale.dtype)) return;
  fail(ErrorCode::kModel,
       "{} is {} and its scale '{}' {}; a scale must be one number or one for each row, in "
       "floating-point; scales of blocks are not supported",
       tensor.place(), tensor.stored.describe(), printable(scale.name), scale.describe());
}

std::vector<SourceTensor> list_files(const Checkpoint& model, const fs::path& folder, Part part) {
  const auto source = std::make_shared<const CatalogSource>(Catalog(folder));
  std::map<std::string, Param> params;  // by their names in the files
  const VisitFn note = [&](const Param& param, Tensor&) { params[source->locate(param).name] = param; };
  model.visit(part, note);
  const Catalog& catalog = source->catalog();
  const auto reader = [&](const std::string& name) -> ReadFn {
    return [source, name](std::size_t offset, std::span<std::byte> out) {
      source->catalog().read(name, offset, out);
    };
  };
  std::vector<SourceTensor> tensors;
  for (const std::string_view view : catalog.names()) {
    const std::string name(view), where = catalog.where(name);
    if (is_matrix_scale_name(name) && !scaled_weight(catalog, name)) {
      fail(ErrorCode::kModel, "{}: tensor '{}' is a scale, but the matrix that it belongs to is not there",
           where, printable(name));
    }
    if (is_scale_name(name)) continue;
    SourceTensor tensor{where, *catalog.stored(name), reader(name)};
    const auto param = params.find(name);
    tensor.matrix =
        param == params.end() ? looks_like_matrix(tensor.stored) : param->second.role == Role::kMatrix;
    tensor.sensitive = param != params.end() && param->second.sensitive;
    if (const auto scale = scale_name(catalog, name)) {
      tensor.scale = *catalog.stored(*scale);
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

std::vector<SourceTensor> list_dummy(const Checkpoint& model, Part part) {
  const DType dtype = model.part_dtype(part);
  const auto made = std::make_shared<MadeTensor>(dtype);
  std::vector<SourceTensor> tensors;
  const VisitFn add = [&](const Param& param, Tensor&) {
    const Shape& shape = param.shape;
    StoredTensor stored;
    stored.name = param.name;
    stored.type = stored_type_name(dtype);
    stored.dtype = dtype;
    for (int i = 0; i < shape.rank(); ++i) stored.extents.push_back(shape[i]);
    stored.elements = shape.numel();
    stored.bytes = static_cast<std::size_t>(shape.numel()) * dtype_bytes(dtype);
    const auto read = [made, param, bytes = stored.bytes](std::size_t offset, std::span<std::byte> out) {
      if (made->name != param.name) {
        made->bytes = Buffer();  // before the next one is there
        made->bytes = Buffer(bytes);
        made->source.read(param, {made->bytes.data(), bytes});
        made->name = param.name;
      }
      std::memcpy(out.data(), made->bytes.data() + offset, out.size());
    };
    SourceTensor tensor{model.name(), std::move(stored), read};
    tensor.matrix = param.role == Role::kMatrix;
    tensor.sensitive = param.sensitive;
    tensors.push_back(std::move(tensor));
  };
  model.visit(part, add);
  if (part == Part::kVae) model.visit_encoder(add);
  return tensors;
}

}  // namespace

std::string SourceTensor::place() const { return where + ": tensor '" + printable(stored.name) + "'"; }

std::vector<SourceTensor> list_tensors(const Checkpoint& model, const fs::path& folder, Part part) {
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
