#include "convert/convert.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/file_map.h"
#include "base/new_folder.h"
#include "convert/dummy_files.h"
#include "convert/part_writer.h"
#include "memory/budget.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxCopiedBytes = 64 << 20;
// Without it a folder is no model, so it comes last.
constexpr std::string_view kLastFile = "transformer/config.json";

// Configs, tokenizers, the licence: what a model's folder holds beside weights.
bool is_small_file(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.starts_with('.') || name.find(".index.") != std::string::npos) return false;
  if (name.starts_with("LICENSE") || name.starts_with("NOTICE")) return true;
  const std::string ending = path.extension().string();
  return ending == ".json" || ending == ".txt" || ending == ".md" || ending == ".model";
}

std::vector<std::string> small_files(const fs::path& model) {
  std::vector<std::string> names;
  for (const char* folder : {"", "scheduler", "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2",
                             "transformer", "vae"}) {
    std::error_code error, ignored;
    fs::directory_iterator it(model / folder, error);
    for (; !error && it != fs::directory_iterator(); it.increment(error)) {
      if (!it->is_regular_file(ignored) || !is_small_file(it->path())) continue;
      names.push_back((fs::path(folder) / it->path().filename()).string());
    }
    if (error && error != std::errc::no_such_file_or_directory) {
      fail(ErrorCode::kModel, "{}: cannot list the folder: {}", (model / folder).string(), error.message());
    }
  }
  return names;
}

void write_small_files(const Model& model, const fs::path& in, NewFolder& folder) {
  std::map<std::string, std::string> files;
  if (in.empty()) {
    files = dummy_files(model.config());
  } else {
    for (const std::string& name : small_files(in)) files[name] = read_text_file(in / name, kMaxCopiedBytes);
  }
  for (const auto& [name, text] : files) {
    if (name != kLastFile) folder.write(name, text);
  }
  folder.write(kLastFile, files.at(std::string(kLastFile)));
}

std::vector<PartPlan> plan_parts(const Model& model, const ConvertOptions& options, const auto& note) {
  const WeightStorage weights = parse_form(options.weights, "the kind of weights"),
                      text_weights =
                          parse_form(options.text_weights, "the kind of the text encoders' weights");
  require(options.shard_bytes >= 1, ErrorCode::kUsage, "files of 0 bytes hold no weights");
  const auto form_of = [&](Part part) {
    if (part == Part::kVae) return WeightStorage::kAsStored;
    return part == Part::kTransformer ? weights : text_weights;
  };
  std::vector<PartPlan> plans;
  for (const Part part : kParts) {
    if (!model.has_part(part)) {
      note(fmt::format("{}: there is no {}/config.json; the new folder lacks this part, too",
                       options.in.string(), part_folder(part)));
      continue;
    }
    plans.push_back(
        plan_part(part, list_tensors(model, options.in, part), form_of(part), options.shard_bytes));
  }
  return plans;
}

std::size_t bytes_of(const std::vector<PartPlan>& plans) {
  std::size_t bytes = 0;
  for (const PartPlan& plan : plans) bytes += plan.data_bytes();
  return bytes;
}

void check_room(const std::vector<PartPlan>& plans, const NewFolder& folder, const fs::path& out) {
  std::size_t bytes = 0;
  for (const PartPlan& plan : plans) bytes += plan.bytes();
  require(bytes <= folder.free_bytes(), ErrorCode::kOutput,
          "{}: needs {}, but only {} are free there; make room or choose another disk", out.string(),
          memory::byte_text(bytes), memory::byte_text(folder.free_bytes()));
}

void check_out(const fs::path& in, const fs::path& out) {
  require(!out.empty(), ErrorCode::kUsage, "the name of the new folder is empty");
  std::error_code ignored;
  require(in.empty() || !fs::equivalent(in, out, ignored), ErrorCode::kUsage,
          "{}: this is the model itself, which is not converted in place; choose another name", out.string());
}

}  // namespace

void convert(const Model& model, const ConvertOptions& options, const ConvertListeners& listeners,
             const std::atomic<bool>& cancel) {
  const auto note = [&](const std::string& text) {
    if (listeners.on_note) listeners.on_note(text);
  };
  check_out(options.in, options.out);
  const std::vector<PartPlan> plans = plan_parts(model, options, note);
  for (const AbandonedFolder& left : abandoned_folders(options.out)) {
    note(fmt::format("{}: {} left behind by a run that was killed; nothing needs them, remove the folder",
                     left.path.string(), memory::byte_text(left.bytes)));
  }
  NewFolder folder(options.out);
  check_room(plans, folder, options.out);

  ConvertProgress progress{.bytes_all = bytes_of(plans)};
  const auto report = [&] {
    if (listeners.on_progress) listeners.on_progress(progress);
  };
  Requantizer requantizer(options.threads, cancel, [&](std::size_t bytes) {
    progress.bytes_written += bytes;
    report();
  });
  for (const PartPlan& plan : plans) {
    progress.part = plan.part;
    progress.files = plan.shards.size();
    progress.part_bytes = plan.data_bytes();
    progress.finished = false;
    write_part(plan, requantizer, folder);
    progress.finished = true;
    report();
  }
  if (requantizer.clamped_tensors() > 0) {
    note(fmt::format("values beyond 448 became 448 in {} tensor(s), first in {}; fp8-scaled keeps them",
                     requantizer.clamped_tensors(), requantizer.first_clamped()));
  }
  write_small_files(model, options.in, folder);
  folder.finish();
}

}  // namespace darkroom
