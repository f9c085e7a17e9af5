// safetensors files for tests, made from JSON text and bytes without the writer under test.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace darkroom {

// Length, header, then `data`.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i));
  return out + header + data;
}

template <typename T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// A file with one F32 tensor of each name, [1], holding 1, 2, 3 …
inline std::string scalars_file(const std::vector<std::string>& names) {
  std::string header;
  std::vector<float> values;
  for (const std::string& name : names) {
    const std::size_t begin = values.size() * 4;
    header += (header.empty() ? "{\"" : ",\"") + name +
              "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" + std::to_string(begin) + "," +
              std::to_string(begin + 4) + "]}";
    values.push_back(static_cast<float>(values.size() + 1));
  }
  header = header.empty() ? "{}" : header + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return safetensors_bytes(header, raw(values));
}

}  // namespace darkroom
