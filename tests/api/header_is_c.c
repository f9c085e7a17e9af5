/* The public header is C, and a C program can draw with it. */
#include <stdio.h>

#include "darkroom/darkroom.h"

static int count_pictures(const darkroom_picture* picture, void* user) {
  int* pictures = user;
  *pictures += picture->width == 64 && picture->height == 48 && picture->rgb && picture->latents;
  return 0;
}

int main(void) {
  darkroom_engine* engine = NULL;
  darkroom_model* model = NULL;
  darkroom_request request;
  int pictures = 0;
  darkroom_request_init(&request);
  request.prompt = "a C program";
  request.width = 64;
  request.height = 48;
  request.steps = 1;
  request.max_text_tokens = 16;
  request.on_picture = count_pictures;
  request.user = &pictures;
  if (darkroom_create(NULL, &engine) || darkroom_open_dummy(engine, "tiny", &model) ||
      darkroom_generate(engine, model, &request) || pictures != 1) {
    fprintf(stderr, "%d pictures: %s\n", pictures, darkroom_last_error(engine));
    return 1;
  }
  darkroom_close(model);
  darkroom_destroy(engine);
  return 0;
}
