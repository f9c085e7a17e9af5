// Symbols for programs that were compiled when the header's *_init were functions of the library, without a
// size. Such a program's structs may be of any layout since the oldest that is served, and nothing says
// which: so no more than the oldest is filled, and struct_size says so. That layout is darkroom_request up to
// `strength`, 272 bytes where pointers have 64 bits; the other structs have not grown since.
//
// What such a program loses: fields after the oldest layout are not read (on_preview, preview_every), until
// it is compiled again. Layouts before that one had other orders of fields; they are not served.
//
// New fields change nothing here.

// The header's inline functions get other names in this file, so that theirs are free.
#define darkroom_options_init inline_options_init
#define darkroom_request_init inline_request_init
#define darkroom_conversion_init inline_conversion_init
#define darkroom_bench_options_init inline_bench_options_init
#include "darkroom/darkroom.h"
#undef darkroom_options_init
#undef darkroom_request_init
#undef darkroom_conversion_init
#undef darkroom_bench_options_init

namespace {

// Where the first byte after a field is.
#define END_OF(type, field) (offsetof(type, field) + sizeof(static_cast<type*>(nullptr)->field))

constexpr size_t kOptionsBytes = END_OF(darkroom_options, embed_cache_size);
constexpr size_t kRequestBytes = END_OF(darkroom_request, strength);
constexpr size_t kConversionBytes = END_OF(darkroom_conversion, user);
constexpr size_t kBenchOptionsBytes = END_OF(darkroom_bench_options, model);

static_assert(sizeof(void*) != 8 || (kOptionsBytes == 48 && kRequestBytes == 272 && kConversionBytes == 64 &&
                                     kBenchOptionsBytes == 32),
              "programs are compiled with these sizes");

}  // namespace

extern "C" {

DARKROOM_API void darkroom_options_init(darkroom_options* options) {
  darkroom_options_init_sized(options, kOptionsBytes);
}

DARKROOM_API void darkroom_request_init(darkroom_request* request) {
  darkroom_request_init_sized(request, kRequestBytes);
}

DARKROOM_API void darkroom_conversion_init(darkroom_conversion* conversion) {
  darkroom_conversion_init_sized(conversion, kConversionBytes);
}

DARKROOM_API void darkroom_bench_options_init(darkroom_bench_options* options) {
  darkroom_bench_options_init_sized(options, kBenchOptionsBytes);
}

}  // extern "C"
