#include "convert/convert.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/file_map.h"
#include "base/foreign_file.h"
#include "base/names.h"
#include "base/new_folder.h"
#include "checkpoint/tokenizers.h"
#include "convert/layout.h"
#include "convert/model_files.h"
#include "convert/small_files.h"
#include "convert/smoothed.h"
#include "convert/tensor_writer.h"
#include "memory/budget.h"
#include "options/option.h"
#include "pipeline/loras.h"
#include "weights/requantize.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using SmallFiles = std::map<std::string, std::string>;
using Note = std::function<void(const std::string&)>;

constexpr Named<Layout> kLayouts[] = {
    {Layout::kDiffusers, "diffusers"}, {Layout::kSingle, "single"}, {Layout::kGguf, "gguf"}};
constexpr Named<Part> kPartNames[] = {
    {Part::kTransformer, "transformer"}, {Part::kClip, "clip"}, {Part::kT5, "t5"}, {Part::kVae, "vae"}};

// Without it a folder is no model, so it comes last.
constexpr std::string_view kLastFile = "transformer/config.json";

WeightStorage parse_form(const std::string& name, const std::string& what) {
  const std::optional<WeightStorage> form = parse_storage(name);
  if (!form) {
    fail(ErrorCode::kUsage,
         "{} is '{}'; there are as-stored, bf16, f16, fp8, fp8-scaled and int8, and for GGUF q8_0, q6_k, "
         "q5_k, "
         "q4_k, q3_k, q2_k, q5_1, q5_0, q4_1 and q4_0",
         what, name);
  }
  return *form;
}

// Those that are named, in the order of kParts. Errors: kUsage.
std::vector<Part> parse_parts(const std::string& names) {
  std::vector<Part> found;
  for (std::size_t at = 0; at <= names.size();) {
    const std::size_t comma = std::min(names.find(',', at), names.size());
    const std::string name = names.substr(at, comma - at);
    const std::optional<Part> part = value_named(kPartNames, name);
    if (!part) {
      fail(ErrorCode::kUsage, "the parts are '{}', and '{}' is none; there are transformer, clip, t5 and vae",
           names, name);
    }
    found.push_back(*part);
    at = comma + 1;
  }
  std::vector<Part> out;
  for (const Part part : kParts) {
    if (std::ranges::find(found, part) != found.end()) out.push_back(part);
  }
  return out;
}

std::vector<Part> choose_parts(const Checkpoint& model, const std::string& names, const Note& note) {
  std::vector<Part> out;
  const std::vector<Part> wanted =
      names.empty() ? std::vector<Part>(kParts.begin(), kParts.end()) : parse_parts(names);
  for (const Part part : wanted) {
    if (model.has_part(part)) {
      out.push_back(part);
    } else if (!names.empty()) {
      fail(ErrorCode::kModel, "{}", model.missing(part));
    } else {
      note(fmt::format("{}; what is written lacks this part, too", model.missing(part)));
    }
  }
  return out;
}

LayoutOptions layout_options(const Checkpoint& model, const ConvertOptions& options, const Note& note) {
  LayoutOptions out;
  const std::optional<Layout> layout = value_named(kLayouts, options.layout);
  if (!layout) {
    fail(ErrorCode::kUsage, "the layout is '{}'; there are diffusers, single and gguf", options.layout);
  }
  out.layout = *layout;
  out.weights = parse_form(options.weights, "the kind of weights");
  out.strict_weights = out.weights == WeightStorage::kAsStored;
  out.text_weights = out.strict_weights ? WeightStorage::kAsStored : WeightStorage::kBF16;
  if (!options.text_weights.empty()) {
    out.text_weights = parse_form(options.text_weights, "the kind of the text encoders' weights");
  }
  out.strict_text_weights = out.text_weights == WeightStorage::kAsStored;
  require(options.shard_bytes >= 1, ErrorCode::kUsage, "files of 0 bytes hold no weights");
  out.shard_bytes = options.shard_bytes;
  out.parts = choose_parts(model, options.parts, note);
  check_layout(out);
  return out;
}

bool is_of_part(Part part, std::string_view name) {
  const std::string folder = std::string(part_folder(part)) + "/";
  if (name.starts_with(folder)) return true;
  if (part == Part::kClip) return name.starts_with("tokenizer/");
  if (part == Part::kT5) return name.starts_with("tokenizer_2/");
  return part == Part::kTransformer &&
         (name.starts_with("scheduler/") || name == "model_index.json" || name == "darkroom.json");
}

// The files of an encoder's tokenizer, in place of what the model's folder may have.
void take_tokenizer(const Checkpoint& model, Part part, const Note& note, SmallFiles& files) {
  const std::string name = tokenizer_name(part);
  const fs::path folder = tokenizer_folder(model, part);
  if (!folder.empty() && model.is_diffusers() && folder == model.folder() / name) return;
  std::erase_if(files, [&](const auto& file) { return file.first.starts_with(name + "/"); });
  if (!folder.empty()) {
    files.merge(read_small_files(folder.parent_path(), name, note));
    return;
  }
  TokenizerTexts texts = tokenizer_texts(model, part);
  if (texts.empty() && model.is_dummy()) texts = dummy_tokenizer_texts(model.config(), part);
  if (texts.empty()) {
    note(fmt::format("the {} has no tokenizer, and FLUX.1's own has more tokens than it; none is written",
                     part_title(part)));
  }
  for (auto& [file, text] : texts) files[name + "/" + file] = std::move(text);
}

// What a folder in diffusers layout of these parts of the model holds beside weights.
SmallFiles all_small_files(const Checkpoint& model, const std::vector<Part>& parts, const Note& note) {
  SmallFiles files;
  SmallFiles configs = config_files(model.config());
  if (model.is_diffusers()) {
    files = read_small_files(model.folder(), note);
    // A part from elsewhere has another config.
    for (const Part part : kParts) {
      const PartFiles* of_part = model.part_files(part);
      const std::string name = std::string(part_folder(part)) + "/config.json";
      if (of_part && of_part->config != model.folder() / name) files[name] = configs.at(name);
    }
  } else if (const json settings = to_json(model.settings()); !settings.empty()) {
    files["darkroom.json"] = settings.dump(2) + "\n";
  }
  files.merge(configs);
  for (const Part part : parts) {
    if (part == Part::kClip || part == Part::kT5) take_tokenizer(model, part, note, files);
  }
  return files;
}

bool is_licence(std::string_view name) { return name.starts_with("LICENSE") || name.starts_with("NOTICE"); }

// Those that the layout has.
SmallFiles written_small_files(const SmallFiles& all, const LayoutOptions& options) {
  SmallFiles out;
  for (const auto& [name, text] : all) {
    const bool of_others = std::ranges::any_of(kParts, [&, &name = name](Part part) {
      return is_of_part(part, name) && std::ranges::find(options.parts, part) == options.parts.end();
    });
    const bool kept = options.layout == Layout::kDiffusers ? !of_others : is_licence(name);
    if (kept && !options.one_file()) out[name] = text;
  }
  return out;
}

TokenizerTexts tokenizer_of(const SmallFiles& all, Part part) {
  TokenizerTexts out;
  for (const char* name : kTokenizerFiles) {
    if (const auto found = all.find(tokenizer_name(part) + "/" + name); found != all.end())
      out[name] = found->second;
  }
  return out;
}

// What files of other layouts say of a part (checkpoint/own_config.h).
json about_part(const Checkpoint& model, Part part, const SmallFiles& all) {
  const ModelConfig& config = model.config();
  json out = {{std::string(part_folder(part)), part_config(config, part)}};
  const auto add = [&](const char* entry, const json& value) {
    if (!value.empty()) out[entry] = value;
  };
  if (part == Part::kTransformer) {
    add("scheduler", scheduler_settings(config));
    add("darkroom", to_json(model.settings()));
  }
  if (part != Part::kClip && part != Part::kT5) return out;
  const TokenizerTexts texts = tokenizer_of(all, part);
  const std::string name = tokenizer_name(part);
  const bool whole =
      texts.contains("tokenizer.json") || (part == Part::kClip && texts.contains("vocab.json"));
  if (whole && !is_built_in_tokenizer(part, texts, (model.folder() / name).string()))
    add(name.c_str(), texts);
  return out;
}

std::size_t files_with(const std::vector<PlannedFile>& files, Part part) {
  return static_cast<std::size_t>(std::ranges::count_if(files, [&](const PlannedFile& file) {
    return std::ranges::any_of(file.targets, [&](const Target& target) { return target.part == part; });
  }));
}

std::size_t bytes_of(const std::vector<Target>& targets) {
  std::size_t bytes = 0;
  for (const Target& target : targets) bytes += target.bytes();
  return bytes;
}

void check_room(const std::vector<PlannedFile>& files, const SmallFiles& texts, const NewFolder& folder,
                const fs::path& out) {
  std::size_t bytes = 0;
  for (const auto& [name, text] : texts) bytes += text.size();
  for (const PlannedFile& file : files) bytes += file.bytes;
  require(bytes <= folder.free_bytes(), ErrorCode::kOutput,
          "{}: needs {}, but only {} are free there; make room or choose another disk", out.string(),
          memory::byte_text(bytes), memory::byte_text(folder.free_bytes()));
}

void check_out(const Checkpoint& model, const fs::path& out) {
  require(!out.empty(), ErrorCode::kUsage, "the name of what is to be written is empty");
  std::error_code ignored;
  require(model.is_dummy() || !fs::equivalent(model.folder(), out, ignored), ErrorCode::kUsage,
          "{}: this is the model itself, which is not converted in place; choose another name", out.string());
}

// Tells the listener how far it is, part after part.
class Progress {
 public:
  Progress(const ConvertListeners& listeners, const std::vector<PlannedFile>& files,
           std::map<Part, std::size_t> part_bytes)
      : listeners_(listeners), files_(files), part_bytes_(std::move(part_bytes)) {
    for (const auto& [part, bytes] : part_bytes_) now_.bytes_all += bytes;
  }
  void begin(Part part) {
    if (begun_ && part == now_.part) return;
    finish();
    begun_ = true;
    now_.part = part;
    now_.files = files_with(files_, part);
    now_.part_bytes = part_bytes_.at(part);
    now_.finished = false;
  }
  void add(std::size_t bytes) {
    now_.bytes_written += bytes;
    report();
  }
  void finish() {
    if (!begun_) return;
    now_.finished = true;
    report();
  }

 private:
  void report() const {
    if (listeners_.on_progress) listeners_.on_progress(now_);
  }
  const ConvertListeners& listeners_;
  const std::vector<PlannedFile>& files_;
  std::map<Part, std::size_t> part_bytes_;
  ConvertProgress now_;
  bool begun_ = false;
};

LoraUses open_loras(const Checkpoint& model, const ConvertOptions& options, const LayoutOptions& layout,
                    const Note& note) {
  Request request;
  request.loras = options.loras;
  check_ranges(request);
  std::string no_prompt;
  std::vector<std::string> notes;
  const LoraUses loras = uses_of(decide_loras(request, model, no_prompt, notes));
  for (const std::string& text : notes) note(text);
  for (const LoraUse& use : loras) {
    const bool used = std::ranges::any_of(layout.parts, [&](Part part) { return use.lora->touches(part); });
    const std::string where = use.lora->file().where();
    require(used, ErrorCode::kUsage, "{}: this LoRA changes none of the parts that are written", where);
    for (const Part part : kParts) {
      const bool written = std::ranges::find(layout.parts, part) != layout.parts.end();
      if (!written && use.lora->touches(part))
        note(fmt::format("{}: it also changes the {}, which is not written", where, part_title(part)));
    }
  }
  return loras;
}

std::shared_ptr<const Smoothing> open_smoothing(const Checkpoint& model, const ConvertOptions& options,
                                                const LayoutOptions& layout) {
  if (options.smooth.empty()) return nullptr;
  require(layout.layout == Layout::kDiffusers && layout.weights == WeightStorage::kI8, ErrorCode::kUsage,
          "smoothing factors go with int8 weights in the layout diffusers, not with {} in {}",
          storage_name(layout.weights), options.layout);
  require(std::ranges::find(layout.parts, Part::kTransformer) != layout.parts.end(), ErrorCode::kUsage,
          "smoothing factors are for the transformer, which is not among the parts '{}'", options.parts);
  require(!model.is_smoothed(), ErrorCode::kUsage, "{} has smoothing factors already", model.name());
  return std::make_shared<Smoothing>(options.smooth,
                                     [&](const VisitFn& visit) { model.visit(Part::kTransformer, visit); });
}

void write_file(const PlannedFile& planned, NewFolder& folder, TensorWriter& writer, Progress& progress) {
  NewFile file = folder.file(planned.name);
  std::size_t end = planned.head.size();
  for (const Target& target : planned.targets) {
    progress.begin(target.part);
    writer.write(target, file, planned.head.size());
    end = std::max(end, planned.head.size() + target.weight.begin + target.weight.bytes);
    if (target.scale) end = std::max(end, planned.head.size() + target.scale->begin + target.scale->bytes);
  }
  // GGUF pads its last tensor.
  const std::vector<std::byte> padding(planned.bytes - end);
  if (!padding.empty()) file.write(end, padding);
  // Last, so that what a kill leaves is no file of tensors.
  file.write(0, std::as_bytes(std::span(planned.head)));
  file.finish();
}

}  // namespace

void convert(const Checkpoint& model, const ConvertOptions& options, const ConvertListeners& listeners,
             const std::atomic<bool>& cancel) {
  const Note note = [&](const std::string& text) {
    if (listeners.on_note) listeners.on_note(text);
  };
  check_out(model, options.out);
  const LayoutOptions layout = layout_options(model, options, note);
  // All that is not weights is in memory before the first tensor is read: nothing of it can fail afterwards.
  const SmallFiles all_texts = all_small_files(model, layout.parts, note);
  SmallFiles texts = written_small_files(all_texts, layout);
  for (const std::string& text : model.notes()) note(text);

  const LoraUses loras = open_loras(model, options, layout, note);

  const std::shared_ptr<const Smoothing> smoothing = open_smoothing(model, options, layout);

  ThreadPool pool(options.threads);
  std::map<Part, PartSource> sources;
  std::map<Part, std::vector<Target>> targets;
  std::map<Part, json> about;
  std::map<Part, std::size_t> part_bytes;
  for (const Part part : layout.parts) {
    const TargetStyle style = style_of(model, layout, part);
    PartSource& source = sources[part] =
        list_tensors(model, part, style.own_names && style.form != WeightStorage::kAsStored);
    // With the tensors' own names the factors are copied, as all that the files hold.
    if (part == Part::kTransformer && model.is_smoothed() && (!style.own_names || !loras.empty()))
      undo_smoothing(source);
    merge_loras(source, part, loras, pool);
    if (part == Part::kTransformer && smoothing) smooth(source, smoothing);
    targets[part] = plan_targets(source, part, style, model.spelling_sizes());
    about[part] = layout.layout == Layout::kDiffusers ? json() : about_part(model, part, all_texts);
    part_bytes[part] = bytes_of(targets[part]);
    if (!style.own_names && !source.extras.empty()) {
      note(fmt::format("{} tensor(s) of the {} that darkroom does not use are left out, first {}",
                       source.extras.size(), part_title(part),
                       Target{.weight = source.extras[0].stored, .extra = &source.extras[0]}.place()));
    }
  }
  const std::vector<PlannedFile> files =
      plan_files(model, layout, std::move(targets), about, tokenizer_of(all_texts, Part::kT5));
  if (layout.layout == Layout::kDiffusers) texts.merge(index_files(files));
  for (const AbandonedFolder& left : abandoned_folders(options.out)) {
    note(fmt::format("{}: {} left behind by a run that was killed; nothing needs them, remove the folder",
                     left.path.string(), memory::byte_text(left.bytes)));
  }
  NewFolder folder(options.out, layout.one_file() ? NewFolder::Becomes::kFile : NewFolder::Becomes::kFolder);
  check_room(files, texts, folder, options.out);

  Progress progress(listeners, files, std::move(part_bytes));
  TensorWriter writer(pool, cancel, [&](std::size_t bytes) { progress.add(bytes); });
  for (const PlannedFile& file : files) write_file(file, folder, writer, progress);
  progress.finish();
  if (writer.clamped_tensors() > 0) {
    note(clamped_note(writer.clamped_dtype(), writer.clamped_tensors(), writer.first_clamped()));
  }
  for (const auto& [name, text] : texts) {
    if (name != kLastFile) folder.write(name, text);
  }
  if (const auto last = texts.find(std::string(kLastFile)); last != texts.end())
    folder.write(last->first, last->second);
  folder.finish();
}

}  // namespace darkroom
