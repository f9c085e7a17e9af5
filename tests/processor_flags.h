// What the kernel says that the processor has.
#pragma once

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

namespace darkroom {

// By the names of /proc/cpuinfo; none under an emulator, which shows its host's file, where the line has another
// name.
inline std::set<std::string> processor_flags() {
#if defined(__aarch64__)
  const std::string begins = "Features";
#else
  const std::string begins = "flags";
#endif
  std::ifstream info("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with(begins)) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    flags.insert(std::istream_iterator<std::string>(words), {});
  }
  return flags;
}

}  // namespace darkroom
