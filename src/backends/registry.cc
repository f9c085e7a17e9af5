#include "backends/registry.h"

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#include "base/error.h"

namespace darkroom {

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.name == "reference") return make_reference_backend();
  require(options.name == "cpu", ErrorCode::kUsage, "unknown backend '{}'; there are cpu and reference",
          options.name);
  return make_cpu_backend({.threads = options.threads, .isa = parse_isa(options.isa)});
}

std::vector<std::string> supported_isa_names() {
  std::vector<std::string> names;
  for (const CpuIsa isa : supported_isas()) names.emplace_back(isa_name(isa));
  return names;
}

std::string processor_name() { return cpu_model_name(); }

}  // namespace darkroom
