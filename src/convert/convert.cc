#include "convert/convert.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/file_map.h"
#include "base/new_folder.h"
#include "convert/dummy_files.h"
#include "convert/part_writer.h"
#include "convert/small_files.h"
#include "memory/budget.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

// Without it a folder is no model, so it comes last.
constexpr std::string_view kLastFile = "transformer/config.json";

using SmallFiles = std::map<std::string, std::string>;

void write_small_files(const SmallFiles& files, NewFolder& folder) {
  for (const auto& [name, text] : files) {
    if (name != kLastFile) folder.write(name, text);
  }
  folder.write(kLastFile, files.at(std::string(kLastFile)));
}

std::vector<PartPlan> plan_parts(const Checkpoint& model, const ConvertOptions& options, const auto& note) {
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
                       model.folder().string(), part_folder(part)));
      continue;
    }
    plans.push_back(
        plan_part(part, list_tensors(model, model.folder(), part), form_of(part), options.shard_bytes));
  }
  return plans;
}

std::size_t bytes_of(const std::vector<PartPlan>& plans) {
  std::size_t bytes = 0;
  for (const PartPlan& plan : plans) bytes += plan.data_bytes();
  return bytes;
}

void check_room(const std::vector<PartPlan>& plans, const SmallFiles& files, const NewFolder& folder,
                const fs::path& out) {
  std::size_t bytes = 0;
  for (const auto& [name, text] : files) bytes += text.size();
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

void convert(const Checkpoint& model, const ConvertOptions& options, const ConvertListeners& listeners,
             const std::atomic<bool>& cancel) {
  const auto note = [&](const std::string& text) {
    if (listeners.on_note) listeners.on_note(text);
  };
  check_out(model.folder(), options.out);
  // All that is not weights is in memory before the first tensor is read: nothing of it can fail afterwards.
  const SmallFiles files =
      options.in.empty() ? dummy_files(model.config()) : read_small_files(model.folder(), note);
  for (const std::string& text : model.notes()) note(text);
  const std::vector<PartPlan> plans = plan_parts(model, options, note);
  for (const AbandonedFolder& left : abandoned_folders(options.out)) {
    note(fmt::format("{}: {} left behind by a run that was killed; nothing needs them, remove the folder",
                     left.path.string(), memory::byte_text(left.bytes)));
  }
  NewFolder folder(options.out);
  check_room(plans, files, folder, options.out);

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
  write_small_files(files, folder);
  folder.finish();
}

}  // namespace darkroom
