// The program `grade`: reads pictures and captions, prints JSON, and turns whatever is thrown into one line.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "grader/arguments.h"
#include "grader/report.h"
#include "image/found_recipe.h"
#include "image/png.h"
#include "streams.h"

namespace darkroom::grader {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Task {
  std::string name = {};  // as the result calls it
  fs::path path = {};
  std::optional<std::string> caption = {};  // nothing: the picture's own
};

std::string own_caption(const fs::path& path) {
  const std::string prompt = read_recipe(path).recipe.prompt;
  require(!prompt.empty(), ErrorCode::kUsage, "{}: its recipe has no prompt; give --caption", path.string());
  return prompt;
}

Grade grade(const Task& task) {
  Grade out;
  out.caption = task.caption ? *task.caption : own_caption(task.path);
  out.claims = parse_caption(out.caption, task.name);
  out.found = look_at(read_png(task.path), task.name);
  out.verdict = judge(out.claims, out.found);
  return out;
}

// The tasks of a list, in the order of the names. Errors: kFailure for a file that is not such a list.
std::vector<Task> tasks_of_list(const fs::path& list, const fs::path& folder) {
  constexpr std::size_t kMostBytes = std::size_t{64} << 20;
  std::vector<Task> tasks;
  const nlohmann::json captions = read_json_file(list, kMostBytes);
  require(captions.is_object(), ErrorCode::kFailure, "{}: expected an object, file name to caption",
          list.string());
  for (const auto& [name, caption] : captions.items()) {
    require(caption.is_string(), ErrorCode::kFailure, "{}: the caption of '{}' is not a text", list.string(),
            name);
    tasks.push_back({name, folder / name, caption.get<std::string>()});
  }
  require(!tasks.empty(), ErrorCode::kFailure, "{}: there is no picture in the list", list.string());
  return tasks;
}

Json grade_all(const std::vector<Task>& tasks) {
  Json pictures = Json::object();
  Summary summary;
  for (const Task& task : tasks) {
    const Grade result = grade(task);
    summary.add(result);
    pictures[task.name] = to_json(result);
  }
  return {{"pictures", pictures}, {"summary", summary.json()}};
}

bool always() { return true; }

void print_text(std::string_view text) {
  require(streams::write_output(text, always), ErrorCode::kOutput, "standard output: cannot be written");
}

// File names and captions may be any bytes; what is not UTF-8 is replaced.
void print(const Json& json) { print_text(json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n"); }

void run(const std::vector<std::string>& words) {
  const Arguments arguments = parse_arguments(words);
  if (arguments.help) return print_text(help_text());
  if (arguments.list) return print(grade_all(tasks_of_list(*arguments.list, arguments.pictures[0])));
  std::vector<Task> tasks;
  for (const fs::path& path : arguments.pictures) tasks.push_back({path.string(), path, arguments.caption});
  if (tasks.size() == 1) return print(to_json(grade(tasks[0])));
  print(grade_all(tasks));
}

int report(ErrorCode code, const std::string& message) {
  constexpr std::size_t kMostBytes = 1000;
  streams::write_error("grade: " + printable(message, kMostBytes) + "\n", always);
  return static_cast<int>(code);
}

}  // namespace
}  // namespace darkroom::grader

int main(int argc, char** argv) {
  using darkroom::ErrorCode;
  streams::open_standard_streams();
  try {
    darkroom::grader::run({argv + (argc > 0 ? 1 : 0), argv + argc});
    return 0;
  } catch (const darkroom::Error& e) {
    // The rooms call an unreadable file a bad model; here it is a failure like any other.
    return darkroom::grader::report(e.code() == ErrorCode::kModel ? ErrorCode::kFailure : e.code(), e.what());
  } catch (const std::exception& e) {
    return darkroom::grader::report(ErrorCode::kFailure, e.what());
  }
}
