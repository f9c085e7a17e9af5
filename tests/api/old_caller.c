/* A program as it was written against an older header, which is the one that it is compiled with. It draws a
 * picture and looks at what lies after its structs. Usage: old_caller FILE.png, for the picture. */
#include <stdio.h>
#include <string.h>

#include "darkroom/darkroom.h"

enum { kMargin = 64, kMark = 0xA5 };

/* A struct of ours and the memory after it, which nobody else may write. AddressSanitizer watches that memory
 * itself. */
#if defined(__SANITIZE_ADDRESS__)
#define WITH_MARGIN(type) \
  struct {                \
    type value;           \
  }
#define UNTOUCHED(s) ((void)untouched, 1)
#else
#define WITH_MARGIN(type)          \
  struct {                         \
    type value;                    \
    unsigned char margin[kMargin]; \
  }
#define UNTOUCHED(s) untouched((s).margin)
#endif

static int failures = 0;

static void expect(int condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "failed: %s\n", what);
  failures++;
}

static int untouched(const unsigned char* margin) {
  int i;
  for (i = 0; i < kMargin; i++) {
    if (margin[i] != kMark) return 0;
  }
  return 1;
}

#define EXPECT_INIT_STAYS_INSIDE(type)                                                     \
  do {                                                                                     \
    WITH_MARGIN(type) s;                                                                   \
    memset(&s, kMark, sizeof s);                                                           \
    type##_init(&s.value);                                                                 \
    expect(UNTOUCHED(s), #type "_init writes past the struct");                            \
    expect(s.value.struct_size > sizeof(size_t) && s.value.struct_size <= sizeof(s.value), \
           #type "_init gives a size that is not the struct's");                           \
  } while (0)

struct Drawn {
  darkroom_engine* engine;
  const char* path;
  int pictures, events;
};

static int on_progress(const darkroom_progress* event, void* user) {
  ((struct Drawn*)user)->events += event->struct_size >= sizeof *event;
  return 0;
}

static int on_picture(const darkroom_picture* picture, void* user) {
  struct Drawn* drawn = user;
  const char* path = drawn->path;
  darkroom_picture copy;
  drawn->pictures++;
  /* The caller's own struct, of the caller's size. */
  memset(&copy, 0, sizeof copy);
  memcpy(&copy, picture, sizeof copy);
  copy.struct_size = sizeof copy;
  expect(darkroom_save_png(drawn->engine, &copy, path, 1, 1) == DARKROOM_OK, "darkroom_save_png");
  /* One from before the latents were there. */
  copy.struct_size = offsetof(darkroom_picture, latents);
  expect(darkroom_save_png(drawn->engine, &copy, path, 1, 1) == DARKROOM_OK, "darkroom_save_png, short");
  expect(darkroom_save_latents(drawn->engine, &copy, path, 1) == DARKROOM_USAGE, "it has no latents");
  return 0;
}

static void draw(darkroom_engine* engine, darkroom_model* model, const char* path) {
  WITH_MARGIN(darkroom_request) r;
  struct Drawn drawn = {NULL, NULL, 0, 0};
  char* plan = NULL;
  drawn.engine = engine;
  drawn.path = path;
  memset(&r, kMark, sizeof r);
  darkroom_request_init(&r.value);
  r.value.prompt = "an older program";
  r.value.width = r.value.height = 32;
  r.value.steps = 2;
  r.value.max_text_tokens = 8;
  r.value.has_seed = 1;
  r.value.seed = 7;
  r.value.sampler = "heun";
  r.value.on_progress = on_progress;
  r.value.on_picture = on_picture;
  r.value.user = &drawn;
  expect(darkroom_plan(engine, model, &r.value, &plan) == DARKROOM_OK, "darkroom_plan");
  expect(plan != NULL && strstr(plan, "\"width\":32") != NULL, "the plan's width");
  darkroom_free(plan);
  expect(darkroom_generate(engine, model, &r.value) == DARKROOM_OK, darkroom_last_error(engine));
  expect(drawn.pictures == 1 && drawn.events > 0, "one picture and events");
  /* The last field that every served layout has is read. */
  r.value.strength = 2;
  r.value.init_path = "nowhere.png";
  expect(darkroom_generate(engine, model, &r.value) == DARKROOM_USAGE, "strength 2 is refused");
  expect(UNTOUCHED(r), "drawing writes past the request");
}

int main(int argc, char** argv) {
  WITH_MARGIN(darkroom_options) o;
  darkroom_engine* engine = NULL;
  darkroom_model* model = NULL;
  if (argc != 2) return 2;
  EXPECT_INIT_STAYS_INSIDE(darkroom_options);
  EXPECT_INIT_STAYS_INSIDE(darkroom_request);
  EXPECT_INIT_STAYS_INSIDE(darkroom_conversion);
  EXPECT_INIT_STAYS_INSIDE(darkroom_bench_options);
  memset(&o, kMark, sizeof o);
  darkroom_options_init(&o.value);
  o.value.threads = 1;
  expect(darkroom_create(&o.value, &engine) == DARKROOM_OK, "darkroom_create");
  expect(darkroom_open_dummy(engine, "tiny", &model) == DARKROOM_OK, "darkroom_open_dummy");
  if (model) draw(engine, model, argv[1]);
  darkroom_close(model);
  darkroom_destroy(engine);
  if (failures == 0) puts(darkroom_version());
  return failures != 0;
}
