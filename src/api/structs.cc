#include "api/structs.h"

namespace darkroom::api {

template <>
darkroom_request defaults<darkroom_request>() {
  darkroom_request out;
  std::memset(&out, 0, sizeof(out));
  out.struct_size = sizeof(out);
  out.guidance = out.strength = -1;
  out.count = 1;
  return out;
}

bool is_zero_after(const void* given, std::size_t known, std::size_t size) {
  const char* const first = static_cast<const char*>(given);
  return size <= known || std::all_of(first + known, first + size, [](char byte) { return byte == 0; });
}

}  // namespace darkroom::api

extern "C" {

void darkroom_options_init_sized(darkroom_options* options, size_t struct_size) {
  darkroom::api::init_sized(options, struct_size);
}

void darkroom_model_files_init_sized(darkroom_model_files* files, size_t struct_size) {
  darkroom::api::init_sized(files, struct_size);
}

void darkroom_request_init_sized(darkroom_request* request, size_t struct_size) {
  darkroom::api::init_sized(request, struct_size);
}

void darkroom_conversion_init_sized(darkroom_conversion* conversion, size_t struct_size) {
  darkroom::api::init_sized(conversion, struct_size);
}

void darkroom_calibration_init_sized(darkroom_calibration* calibration, size_t struct_size) {
  darkroom::api::init_sized(calibration, struct_size);
}

void darkroom_bench_options_init_sized(darkroom_bench_options* options, size_t struct_size) {
  darkroom::api::init_sized(options, struct_size);
}

void darkroom_self_test_options_init_sized(darkroom_self_test_options* options, size_t struct_size) {
  darkroom::api::init_sized(options, struct_size);
}

}  // extern "C"
