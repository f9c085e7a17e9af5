// Reading JSON that strangers wrote: bounded size, typed fields, errors that name the file and the field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom {

// Parses text as JSON, at most 64 levels deep. Errors: kModel with `where` in front of the parser's
// position and reason, or of what the text is instead (foreign_file.h). Of a repeated key the last value
// counts, as in Python.
nlohmann::json parse_json(std::string_view text, const std::string& where);

// Reads and parses a file. Errors: kModel when missing, larger than max_bytes or not JSON.
nlohmann::json read_json_file(const std::filesystem::path& path, std::size_t max_bytes);

// Typed access to the fields of one object, e.g. a config.json. Absent or null fields take the
// fallback; a field of another type or outside [low, high] is a kModel error: "PATH: 'num_layers' is
// -3, expected 1 to 1000".
class JsonFields {
 public:
  // Keeps a reference to `object`, which must outlive this. Errors: kModel when it is not an object.
  JsonFields(const nlohmann::json& object, std::string where);

  bool has(const std::string& name) const;
  int64_t integer(const std::string& name, int64_t fallback, int64_t low, int64_t high) const;
  int64_t required_integer(const std::string& name, int64_t low, int64_t high) const;
  double number(const std::string& name, double fallback, double low, double high) const;
  bool boolean(const std::string& name, bool fallback) const;
  std::string text(const std::string& name, const std::string& fallback) const;
  // Each element in [low, high], at most 64 of them.
  std::vector<int64_t> integers(const std::string& name, const std::vector<int64_t>& fallback, int64_t low,
                                int64_t high) const;
  // `count` numbers, each in [low, high]; absent is an error, too.
  std::vector<double> numbers(const std::string& name, std::size_t count, double low, double high) const;
  // At most max_count texts of 1 to max_bytes bytes each; absent: none.
  std::vector<std::string> texts(const std::string& name, std::size_t max_count, std::size_t max_bytes) const;

 private:
  const nlohmann::json* find(const std::string& name) const;  // null when absent or JSON null
  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace darkroom
