/* Where the fields of the header's structs are, and what its enumerators are, one table for each version of
 * the header (layout.c). */
#ifndef DARKROOM_TESTS_LAYOUT_H_
#define DARKROOM_TESTS_LAYOUT_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `at` and `bytes` of a field; of an enumerator its value and 0. The last has the name NULL. */
struct layout_field {
  const char* name;
  size_t at, bytes;
};

extern const struct layout_field layout_272[], layout_288[], layout_296[], layout_today[];

#ifdef __cplusplus
}
#endif

#endif
