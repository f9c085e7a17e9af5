#include "pipeline/loras.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/number_text.h"
#include "base/printable.h"
#include "options/limits.h"

namespace darkroom {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxListed = 10'000;
constexpr int kMaxDepth = 3, kLevelsToRoot = 3;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

bool is_bare(const fs::path& path) { return !path.empty() && path == path.filename(); }

// The LoRAs in a folder and the folders in it, in the order of their paths.
std::vector<fs::path> list_loras(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error, ignored;
  fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error);
  for (std::size_t seen = 0; !error && it != fs::recursive_directory_iterator() && seen < kMaxListed;
       ++seen) {
    if (it.depth() >= kMaxDepth) it.disable_recursion_pending();
    const std::string ending = it->path().extension().string();
    if ((ending == ".safetensors" || ending == ".sft") && it->is_regular_file(ignored))
      out.push_back(it->path());
    it.increment(error);
  }
  std::ranges::sort(out);
  return out;
}

// "film" and "film.safetensors" mean film.safetensors.
std::optional<fs::path> find_by_name(const fs::path& folder, const std::string& name) {
  for (const fs::path& path : list_loras(folder)) {
    if (path.filename().string() == name || path.stem().string() == name) return path;
  }
  return std::nullopt;
}

// Where a LoRA may lie that is named without its folder.
std::vector<fs::path> lora_folders(const Request& request, const Checkpoint& model) {
  std::vector<fs::path> out;
  if (!request.lora_dir.empty()) out.push_back(request.lora_dir);
  if (model.folder().empty()) return out;
  std::error_code ignored;
  fs::path folder = fs::absolute(model.folder(), ignored);
  for (int level = 0; level <= kLevelsToRoot; ++level) {
    if (fs::is_directory(folder / "loras", ignored)) out.push_back(folder / "loras");
    if (!folder.has_parent_path() || folder.parent_path() == folder) break;
    folder = folder.parent_path();
  }
  return out;
}

[[noreturn]] void fail_not_found(const std::string& what, const std::vector<fs::path>& folders) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> places, names;
  for (const fs::path& folder : folders) {
    places.push_back(folder.string());
    for (const fs::path& path : list_loras(folder)) names.push_back(printable(path.stem().string()));
  }
  std::string there =
      names.empty()
          ? ""
          : fmt::format(
                "; there are {}",
                fmt::join(names.begin(),
                          names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShown)), ", "));
  if (names.size() > kShown) there += fmt::format(" and {} more", names.size() - kShown);
  fail(ErrorCode::kUsage, "there is no LoRA {}{}{}", what,
       places.empty() ? "; pass --lora FILE, or --lora-dir DIR"
                      : fmt::format(" in {}", fmt::join(places, ", ")),
       there);
}

void require_digest(const fs::path& path, const std::string& wanted) {
  const std::string found = hex(file_digest(path));
  if (found == wanted) return;
  fail(ErrorCode::kModel,
       "{}: this is not the LoRA of the recipe: its SHA-256 begins with {}, the recipe's with {}; pass the "
       "right "
       "one with --lora",
       path.string(), found.substr(0, 12), wanted.substr(0, 12));
}

fs::path locate(const LoraChoice& choice, const std::vector<fs::path>& folders) {
  const bool of_recipe = !choice.sha256.empty();
  if (!of_recipe && is_file(choice.path)) return choice.path;
  if (is_bare(choice.path)) {
    for (const fs::path& folder : folders) {
      if (const auto found = find_by_name(folder, choice.path.string())) return *found;
    }
  }
  if (is_file(choice.path)) return choice.path;
  fail_not_found(fmt::format("'{}'", printable(choice.path.string())),
                 is_bare(choice.path) ? folders : std::vector<fs::path>());
}

// Takes "<lora:NAME:STRENGTH>" out of the text; the strength may be left out.
std::vector<LoraChoice> take_tags(std::string& text, const fs::path& folder) {
  constexpr std::string_view kBegin = "<lora:";
  std::vector<LoraChoice> out;
  for (std::size_t at = 0; (at = text.find(kBegin, at)) != text.npos;) {
    const std::size_t end = text.find_first_of("<>\n", at + 1);
    if (end == text.npos || text[end] != '>') {
      at += kBegin.size();
      continue;
    }
    const std::string tag = text.substr(at, end + 1 - at);
    std::string name = tag.substr(kBegin.size(), tag.size() - kBegin.size() - 1);
    LoraChoice choice;
    if (const std::size_t colon = name.find(':'); colon != name.npos) {
      const std::optional<double> strength =
          number_in(std::string_view(name).substr(colon + 1), -kMaxLoraStrength, kMaxLoraStrength);
      require(strength.has_value(), ErrorCode::kUsage,
              "'{}' in the prompt: the strength must be a number from {} to {}", printable(tag),
              -kMaxLoraStrength, kMaxLoraStrength);
      choice.strength = *strength;
      name.resize(colon);
    }
    const std::optional<fs::path> found = find_by_name(folder, name);
    if (!found) fail_not_found(fmt::format("'{}', which the prompt names,", printable(name)), {folder});
    choice.path = *found;
    out.push_back(std::move(choice));
    text.erase(at, tag.size());
    // Of the blanks on both sides one stays.
    if (at > 0 && text[at - 1] == ' ' && (at == text.size() || text[at] == ' ' || text[at] == '\n')) {
      text.erase(--at, 1);
    } else if (at == 0 && text.starts_with(' ')) {
      text.erase(0, 1);
    }
  }
  return out;
}

}  // namespace

std::vector<JobLora> decide_loras(const Request& request, const Checkpoint& model, std::string& prompt,
                                  std::vector<std::string>& notes) {
  std::vector<LoraChoice> choices = request.loras;
  if (request.lora_dir.empty()) {
    if (prompt.find("<lora:") != prompt.npos) {
      notes.emplace_back("the <lora:...> in the prompt is taken as text; --lora-dir says where its LoRA is");
    }
  } else {
    std::error_code ignored;
    require(fs::is_directory(request.lora_dir, ignored), ErrorCode::kUsage,
            "lora-dir: there is no folder '{}'", request.lora_dir.string());
    std::ranges::move(take_tags(prompt, request.lora_dir), std::back_inserter(choices));
    require(choices.size() <= kMaxLoras, ErrorCode::kUsage, "{} LoRAs, at most {} are allowed",
            choices.size(), kMaxLoras);
  }
  std::vector<JobLora> out;
  const std::vector<fs::path> folders =
      choices.empty() ? std::vector<fs::path>() : lora_folders(request, model);
  for (const LoraChoice& choice : choices) {
    const fs::path path = locate(choice, folders);
    if (!choice.sha256.empty()) require_digest(path, choice.sha256);
    const std::shared_ptr<const Lora> lora = Lora::open(path, model);
    std::ranges::copy(lora->notes(), std::back_inserter(notes));
    if (choice.strength == 0) continue;
    out.push_back({path, {lora, choice.strength}});
  }
  return out;
}

LoraUses uses_of(const std::vector<JobLora>& loras) {
  LoraUses out;
  for (const JobLora& lora : loras) out.push_back(lora.use);
  return out;
}

}  // namespace darkroom
