darkroom_room(pipeline SOURCES model_settings.cc prompt_words.cc model.cc request.cc phases.cc plan.cc pipeline.cc latents_file.cc inspect.cc
  DEPS memory models sampling image text backends/dry_run)
